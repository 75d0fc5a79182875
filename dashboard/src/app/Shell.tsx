import { Alert, AppShell, Badge, Burger, Button, Group, Loader, NavLink, Stack, Text } from '@mantine/core';
import { useDisclosure, useMediaQuery } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { IconPlugConnectedX } from '@tabler/icons-react';
import { Suspense, useEffect, useRef } from 'react';
import { Link, Route, Switch, useLocation } from 'wouter';
import { useConnection, useEvents } from '../api/events';
import { queryClient, useApi } from '../api/hooks';
import { useAway } from '../api/reach';
import type { Overview } from '../api/types';
import { ConfirmHost } from '../components/confirm';
import { PageHeader } from '../components/PageHeader';
import { useT } from '../i18n';
import { Crash } from './Crash';
import { LanguageMenu, ThemeMenu, UserMenu } from './HeaderMenus';
import { decode, matches } from './location';
import { Mark } from './Mark';
import { groups, loadAhead, pages, type PageEntry } from './pages';
import classes from './Shell.module.css';

/** Menu, header, and the page in the middle. */
export function Shell() {
  const t = useT();
  const [place] = useLocation();
  const [open, { toggle, close }] = useDisclosure(false);
  const phone = useMediaQuery('(max-width: 61.99em)', window.matchMedia('(max-width: 61.99em)').matches, { getInitialValueInEffect: false });
  const main = useRef<HTMLElement>(null);
  const burger = useRef<HTMLButtonElement>(null);
  const overview = useApi<Overview>('overview', { live: 10_000 });

  useEvents(['alarms'], (event) => {
    if (!event.startsWith('alarm.')) return;
    void queryClient.invalidateQueries({ queryKey: ['alarms'] });
    void queryClient.invalidateQueries({ queryKey: ['overview'] });
  });
  const here = pages.find((page) => matches(page.path, place));
  const name = here ? t(here.title) : 'emqttd';
  useEffect(() => {
    document.title = overview.data ? `${name} · ${overview.data.node}` : `${name} · emqttd`;
  }, [name, overview.data?.node]);
  useBackAgain();
  useEffect(() => {
    const timer = setTimeout(() => void loadAhead(), 1500);
    return () => clearTimeout(timer);
  }, []);
  const before = useRef(place);
  useEffect(() => {
    window.scrollTo(0, 0);
    if (before.current === place) return;
    before.current = place;
    // The link that led here went with its page: go on with what it led to.
    if (document.activeElement === document.body) main.current?.focus({ preventScroll: true });
  }, [place]);
  useEffect(() => {
    if (!open || !phone) return undefined;
    const escape = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape') return;
      close();
      burger.current?.focus();
    };
    window.addEventListener('keydown', escape);
    return () => window.removeEventListener('keydown', escape);
  }, [open, phone, close]);

  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 216, breakpoint: 'md', collapsed: { mobile: !open } }} padding={{ base: 'sm', sm: 'lg' }} transitionDuration={120}>
      <a
        className={classes.skip}
        href="#content"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        {t('frame.skip')}
      </a>
      <AppShell.Header className={classes.header}>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap" gap="sm">
          <Group gap="sm" wrap="nowrap" style={{ minWidth: 0 }}>
            <Burger ref={burger} opened={open} onClick={toggle} hiddenFrom="md" size="sm" aria-label={t('frame.menu')} aria-expanded={open} />
            <Link href="/" className={classes.brand} aria-label="emqttd">
              <Mark size={24} />
              <span>emqttd</span>
            </Link>
            {overview.data ? (
              <Text size="sm" c="dimmed" truncate visibleFrom="sm" className={classes.node}>
                {overview.data.node}
              </Text>
            ) : null}
          </Group>
          <Group gap={6} wrap="nowrap">
            <ConnectionMark />
            <LanguageMenu />
            <ThemeMenu />
            <UserMenu />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className={classes.navbar} aria-label={t('frame.menu')} style={phone && !open ? { visibility: 'hidden' } : undefined}>
        {groups.map((group) => (
          <div key={group.title} className={classes.group} role="group" aria-labelledby={group.title}>
            <Text id={group.title} className={classes.heading}>
              {t(group.title)}
            </Text>
            {group.pages.map((page) => {
              if (!page.icon) return null;
              const active = here !== undefined && (here.under ?? here.path) === page.path;
              const alarms = page.path === '/alarms' ? (overview.data?.alarms ?? 0) : 0;
              return (
                <div key={page.path} className={classes.entry}>
                  <NavLink
                    component={Link}
                    href={page.path}
                    label={t(page.title)}
                    leftSection={<page.icon size={17} stroke={1.6} aria-hidden />}
                    active={active}
                    aria-current={active ? 'page' : undefined}
                    className={classes.link}
                    onClick={() => {
                      if (!open) return;
                      close();
                      // The menu hides with the link in it.
                      main.current?.focus();
                    }}
                  />
                  {alarms > 0 ? (
                    <Badge size="sm" color="red" variant="filled" className={classes.badge} aria-label={t('frame.alarms', { n: alarms })} role="img">
                      {alarms}
                    </Badge>
                  ) : null}
                </div>
              );
            })}
          </div>
        ))}
      </AppShell.Navbar>
      <AppShell.Main ref={main} id="content" tabIndex={-1} className={classes.main}>
        <AwayBanner />
        <Crash key={place}>
          <Suspense fallback={<Loader size="sm" aria-label={t('common.loading')} />}>
            <Switch>
              {pages.map((page) => (
                <Route key={page.path} path={page.path}>
                  {(params) => <Shown page={page} params={params as Record<string, string>} />}
                </Route>
              ))}
              <Route>
                <Nowhere />
              </Route>
            </Switch>
          </Suspense>
        </Crash>
      </AppShell.Main>
      <ConfirmHost />
    </AppShell>
  );
}

function Shown({ page, params }: { page: PageEntry; params: Record<string, string> }) {
  const decoded: Record<string, string> = {};
  for (const [name, value] of Object.entries(params)) decoded[name] = decode(value);
  const Page = page.component;
  return <Page key={JSON.stringify(decoded)} params={decoded} />;
}

function Nowhere() {
  const t = useT();
  return (
    <Stack align="flex-start">
      <PageHeader title={t('frame.not-found')} />
      <Button component={Link} href="/" variant="default">
        {t('frame.to-overview')}
      </Button>
    </Stack>
  );
}

function ConnectionMark() {
  const t = useT();
  const connection = useConnection();
  const away = useAway();
  const state = away ? 'lost' : connection === 'live' ? 'live' : 'connecting';
  const text = { lost: t('frame.away'), live: t('frame.live'), connecting: t('frame.connecting') }[state];
  return (
    <span className={classes.connection} data-state={state} role="status" title={text}>
      <span className={classes.dot} aria-hidden />
      <span className={classes.word}>{text}</span>
    </span>
  );
}

function AwayBanner() {
  const t = useT();
  if (!useAway()) return null;
  return (
    <Alert color="orange" variant="light" icon={<IconPlugConnectedX size={18} />} mb="md" py="xs" role="alert">
      {t('frame.banner')}
    </Alert>
  );
}

function useBackAgain(): void {
  const t = useT();
  const away = useAway();
  const before = useRef(away);
  useEffect(() => {
    if (before.current && !away) notifications.show({ message: t('frame.back'), color: 'teal' });
    before.current = away;
  }, [away, t]);
}
