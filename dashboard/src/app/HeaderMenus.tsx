import { ActionIcon, Button, Menu, Modal, useMantineColorScheme, type MantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconCheck, IconDeviceLaptop, IconKey, IconLanguage, IconLogout, IconMoon, IconSun, IconUser } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { logout } from '../api/client';
import { useSession } from '../api/session';
import { setLanguage, useLanguage, useT, type Language } from '../i18n';
import { PasswordForm } from '../pages/login/PasswordForm';
import classes from './Shell.module.css';

/** Mantine would give the focus to an element that may not be in a menu; so the first entry has it at once. */
const OPEN = { position: 'bottom-end', withInitialFocusPlaceholder: false, checkIcon: <IconCheck size={14} aria-hidden /> } as const;

/** English and Chinese, each by its own name. */
export function LanguageMenu() {
  const t = useT();
  const language = useLanguage();
  const names: Record<Language, string> = { en: 'English', zh: '中文' };
  return (
    <Menu {...OPEN} width={150}>
      <Menu.Target>
        <Button variant="subtle" color="gray" size="compact-sm" leftSection={<IconLanguage size={17} aria-hidden />} px={6} className={classes.language} aria-label={`${t('frame.language')}: ${names[language]}`}>
          {names[language]}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.RadioGroup value={language} onChange={(one) => setLanguage(one as Language)}>
          {(Object.keys(names) as Language[]).map((one) => (
            <Menu.RadioItem key={one} lang={one} value={one} closeMenuOnClick>
              {names[one]}
            </Menu.RadioItem>
          ))}
        </Menu.RadioGroup>
      </Menu.Dropdown>
    </Menu>
  );
}

export function ThemeMenu() {
  const t = useT();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const choices: [MantineColorScheme, string, ReactNode][] = [
    ['light', t('frame.theme.light'), <IconSun key="l" size={16} aria-hidden />],
    ['dark', t('frame.theme.dark'), <IconMoon key="d" size={16} aria-hidden />],
    ['auto', t('frame.theme.auto'), <IconDeviceLaptop key="a" size={16} aria-hidden />],
  ];
  const now = choices.find(([scheme]) => scheme === colorScheme);
  return (
    <Menu {...OPEN} width={170}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="md" aria-label={`${t('frame.theme')}: ${now?.[1] ?? ''}`}>
          {now?.[2]}
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.RadioGroup value={colorScheme} onChange={(scheme) => setColorScheme(scheme as MantineColorScheme)}>
          {choices.map(([scheme, name, icon]) => (
            <Menu.RadioItem key={scheme} value={scheme} rightSection={icon} closeMenuOnClick>
              {name}
            </Menu.RadioItem>
          ))}
        </Menu.RadioGroup>
      </Menu.Dropdown>
    </Menu>
  );
}

export function UserMenu() {
  const t = useT();
  const login = useSession();
  const [changing, { open, close }] = useDisclosure(false);
  const username = login?.username ?? '';
  return (
    <>
      <Menu {...OPEN} width={200}>
        <Menu.Target>
          <Button variant="subtle" color="gray" size="compact-sm" px={6} leftSection={<IconUser size={17} aria-hidden />} aria-label={t('frame.account', { name: username })}>
            <span className={classes.account}>{username}</span>
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>{login?.tags ? `${username} · ${login.tags}` : username}</Menu.Label>
          <Menu.Item leftSection={<IconKey size={16} aria-hidden />} onClick={open}>
            {t('frame.change-password')}
          </Menu.Item>
          <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={logout}>
            {t('frame.log-out')}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Modal opened={changing} onClose={close} title={t('password.title')} size="sm" closeButtonProps={{ 'aria-label': t('common.close') }}>
        <PasswordForm username={username} onDone={close} />
      </Modal>
    </>
  );
}
