import {
  IconAlertTriangle,
  IconApi,
  IconBan,
  IconBookmark,
  IconBroadcast,
  IconBug,
  IconDatabase,
  IconDeviceDesktop,
  IconFileText,
  IconGauge,
  IconHierarchy2,
  IconHistory,
  IconKey,
  IconPlug,
  IconPuzzle,
  IconRss,
  IconShieldCheck,
  IconUsers,
} from '@tabler/icons-react';
import { lazy, type ComponentType } from 'react';
import type { PlainKey } from '../i18n';

export interface PageProps {
  /** The named parts of the path, decoded. */
  params: Record<string, string>;
}

type Loaded = Promise<{ default: ComponentType<PageProps> }>;

export interface PageEntry {
  path: string;
  /** Name in the menu and in the title of the window. */
  title: PlainKey;
  component: ComponentType<PageProps>;
  /** In the menu, with this icon; without one the page is reached from another. */
  icon?: ComponentType<{ size?: number | string; stroke?: number | string; 'aria-hidden'?: boolean }>;
  /** Loads its file, which is its own. */
  load: () => Loaded;
  /** Pages of one thing light up the same entry of the menu. */
  under?: string;
}

export interface Group {
  title: PlainKey;
  pages: PageEntry[];
}

const page = (path: string, title: PlainKey, load: () => Loaded, icon?: PageEntry['icon'], under?: string): PageEntry => ({
  path,
  title,
  component: lazy(load),
  load,
  icon,
  under,
});

export const groups: Group[] = [
  {
    title: 'menu.monitoring',
    pages: [
      page('/', 'menu.overview', () => import('../pages/overview'), IconGauge),
      page('/clients', 'menu.clients', () => import('../pages/clients'), IconDeviceDesktop),
      page('/clients/:id', 'menu.client', () => import('../pages/client'), undefined, '/clients'),
      page('/sessions', 'menu.sessions', () => import('../pages/sessions'), IconDatabase),
      page('/topics', 'menu.topics', () => import('../pages/topics'), IconHierarchy2),
      page('/subscriptions', 'menu.subscriptions', () => import('../pages/subscriptions'), IconRss),
      page('/retained', 'menu.retained', () => import('../pages/retained'), IconBookmark),
      page('/alarms', 'menu.alarms', () => import('../pages/alarms'), IconAlertTriangle),
    ],
  },
  {
    title: 'menu.management',
    pages: [
      page('/plugins', 'menu.plugins', () => import('../pages/plugins'), IconPuzzle),
      page('/plugins/:name', 'menu.plugins', () => import('../pages/plugins'), undefined, '/plugins'),
      page('/listeners', 'menu.listeners', () => import('../pages/listeners'), IconPlug),
      page('/bans', 'menu.bans', () => import('../pages/bans'), IconBan),
    ],
  },
  {
    title: 'menu.tools',
    pages: [
      page('/websocket', 'menu.websocket', () => import('../pages/websocket'), IconBroadcast),
      page('/http-api', 'menu.http-api', () => import('../pages/http-api'), IconApi),
      page('/access-tester', 'menu.access-tester', () => import('../pages/access-tester'), IconShieldCheck),
      page('/traces', 'menu.traces', () => import('../pages/traces'), IconBug),
      page('/logging', 'menu.logging', () => import('../pages/logging'), IconFileText),
    ],
  },
  {
    title: 'menu.admin',
    pages: [
      page('/users', 'menu.users', () => import('../pages/users'), IconUsers),
      page('/api-keys', 'menu.api-keys', () => import('../pages/api-keys'), IconKey),
      page('/audit', 'menu.audit', () => import('../pages/audit'), IconHistory),
    ],
  },
];

export const pages: PageEntry[] = groups.flatMap((group) => group.pages);

/** Loads all pages, one after the other and when there is nothing else to do: they open at once then, also while the broker is away. */
export async function loadAhead(): Promise<void> {
  for (const one of pages) {
    await new Promise((resolve) => (window.requestIdleCallback ?? window.setTimeout)(resolve));
    await one.load().catch(() => undefined);
  }
}
