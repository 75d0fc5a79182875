import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

// A blue-green that keeps 4.5 : 1 against white from shade 7 on, and against the dark page up to shade 4.
const sea: MantineColorsTuple = ['#e9f6f9', '#d3eaf0', '#a6d6e1', '#76c1d2', '#4fafc5', '#2f9fb8', '#158aa5', '#0b7189', '#085c70', '#054757'];

export const theme = createTheme({
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
});

/** The few colours of our own, for both themes; use these rather than shades in style sheets. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
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
