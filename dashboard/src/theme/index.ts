import { Badge, createTheme, Notification, PasswordInput, type CSSVariablesResolver, type MantineColorsTuple, type MantineThemeOverride } from '@mantine/core';
import type { Translate } from '../i18n';

// A blue-green that keeps 4.5 : 1 against white from shade 7 on, and against the dark page up to shade 4.
const sea: MantineColorsTuple = ['#e9f6f9', '#d3eaf0', '#a6d6e1', '#76c1d2', '#4fafc5', '#2f9fb8', '#158aa5', '#0b7189', '#085c70', '#054757'];

const base = createTheme({
  primaryColor: 'sea',
  primaryShade: { light: 7, dark: 7 },
  colors: {
    sea,
    // A dark page of slate rather than of grey.
    dark: ['#d5dae0', '#b4bcc6', '#949eab', '#6d7885', '#424c58', '#303943', '#242b33', '#1a2027', '#13181e', '#0d1115'],
  },
  defaultRadius: 'sm',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  headings: { fontWeight: '600' },
  cursorType: 'pointer',
  focusRing: 'auto',
  respectReducedMotion: true,
  components: {
    // A state in words: never cut, not shouted.
    Badge: Badge.extend({ defaultProps: { tt: 'none', fw: 600, radius: 'sm' }, styles: { root: { overflow: 'visible', flexShrink: 0 }, label: { overflow: 'visible' } } }),
  },
});

/** What the theme says, in the language shown: the parts of Mantine that bring texts of their own. */
export const themeIn = (t: Translate): MantineThemeOverride =>
  createTheme({
    ...base,
    components: {
      ...base.components,
      Notification: Notification.extend({ defaultProps: { closeButtonProps: { 'aria-label': t('common.close') } } }),
      // Mantine leaves it to the mouse.
      PasswordInput: PasswordInput.extend({ defaultProps: { visibilityToggleButtonProps: { 'aria-label': t('common.see-password'), tabIndex: 0 } } }),
    },
  });

/** Text on a ground of its own colour, at 4.5 : 1 and more: Mantine's are a little short of it, or too loud for a dark page. */
type Pairs = Record<string, [ground: string, text: string]>;

const light: Pairs = {
  teal: ['#ddf4ec', '#05684a'],
  green: ['#e0f4e4', '#1d6b2c'],
  orange: ['#fdeddb', '#953a06'],
  yellow: ['#faf0cf', '#735000'],
  red: ['#fde7e7', '#b02318'],
  blue: ['#e2eefb', '#15549a'],
  gray: ['#ebeff2', '#46525f'],
  violet: ['#efeafc', '#5b33b8'],
};

const dark: Pairs = {
  sea: ['#1c3640', '#a6d6e1'],
  teal: ['#173830', '#7fe3c2'],
  green: ['#1d3826', '#8ce99a'],
  orange: ['#40301f', '#ffc58a'],
  yellow: ['#3c341b', '#ffe066'],
  red: ['#432529', '#ffb3b3'],
  blue: ['#1d3348', '#a5d8ff'],
  gray: ['#2b343e', '#c3ccd5'],
  violet: ['#30294b', '#d0bfff'],
};

function readable(pairs: Pairs, quietText: boolean): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, [ground, text]] of Object.entries(pairs)) {
    variables[`--mantine-color-${name}-light`] = ground;
    variables[`--mantine-color-${name}-light-hover`] = `color-mix(in srgb, ${ground} 90%, ${text})`;
    variables[`--mantine-color-${name}-light-color`] = text;
    if (quietText) variables[`--mantine-color-${name}-text`] = text;
  }
  return variables;
}

const filled = {
  '--mantine-color-red-filled': '#c9302c',
  '--mantine-color-red-filled-hover': '#b02a26',
  '--mantine-color-orange-filled': '#b3470b',
  '--mantine-color-orange-filled-hover': '#9a3c08',
  '--mantine-color-teal-filled': '#087f5b',
  '--mantine-color-teal-filled-hover': '#066b4d',
};

/** The few colours of our own, for both themes; use these rather than shades in style sheets. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    ...filled,
    ...readable(light, true),
    '--mantine-color-error': '#b02318',
    '--page': '#f4f6f8',
    '--line': '#e1e6eb',
    '--quiet': '#5b6775',
    '--raised': '#f8fafb',
    '--hover': '#f3f7f9',
    '--mantine-color-dimmed': '#5b6775',
    '--mantine-color-default-border': '#d3dae1',
    '--mantine-color-text': '#17212b',
    '--mantine-color-placeholder': '#6b7785',
  },
  dark: {
    ...filled,
    ...readable(dark, false),
    '--mantine-color-error': 'var(--mantine-color-red-4)',
    '--page': '#13181e',
    '--line': '#2b333d',
    '--quiet': '#98a3b0',
    '--raised': '#1e252d',
    '--hover': '#20272f',
    '--mantine-color-dimmed': '#98a3b0',
    '--mantine-color-default-border': '#37414c',
    '--mantine-color-placeholder': '#8592a0',
  },
});
