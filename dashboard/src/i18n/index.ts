import { useSyncExternalStore } from 'react';
import * as frame from './frame';
import { fill } from './format';
import * as clients from './pages-clients';
import * as manage from './pages-manage';
import * as overview from './pages-overview';
import type { Args, Same } from './types';

// English is the type: a key that Chinese lacks does not compile.
const en = { ...frame.en, ...overview.en, ...clients.en, ...manage.en } as const;
const zh: Same<typeof en> = { ...frame.zh, ...overview.zh, ...clients.zh, ...manage.zh };

export type Language = 'en' | 'zh';
export type Key = keyof typeof en;
/** Keys whose texts have no names in them, so that `t` takes nothing else. */
export type PlainKey = { [K in Key]: Args<(typeof en)[K]> extends [] ? K : never }[Key];
/** Gives the text of a key in the language shown. */
export type Translate = <K extends Key>(key: K, ...args: Args<(typeof en)[K]>) => string;

export const dictionaries: Record<Language, Same<typeof en>> = { en, zh };

const STORED = 'emqttd.language';
const listeners = new Set<() => void>();
let language: Language = initial();

function initial(): Language {
  try {
    const stored = localStorage.getItem(STORED);
    if (stored === 'en' || stored === 'zh') return stored;
  } catch {
    // No storage (private mode, tests): the browser's language decides.
  }
  return typeof navigator !== 'undefined' && navigator.language?.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export function setLanguage(next: Language): void {
  language = next;
  try {
    localStorage.setItem(STORED, next);
  } catch {
    // It holds until the page is closed.
  }
  for (const listener of listeners) listener();
}

/** The tag for `Intl` and the `lang` attribute. */
export function locale(): string {
  return language === 'zh' ? 'zh-CN' : 'en-GB';
}

const translators: Record<Language, Translate> = {
  en: (key, ...args) => fill(en[key], args[0]),
  zh: (key, ...args) => fill(zh[key], args[0]),
};

/** For code outside of components; inside of them use `useT`, which follows the switch. */
export const translate: Translate = (key, ...args) => translators[language](key, ...args);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useLanguage(): Language {
  return useSyncExternalStore(subscribe, () => language);
}

/** `const t = useT(); t('clients.title')`, `t('frame.of', { n: 3 })`. */
export function useT(): Translate {
  return translators[useLanguage()];
}
