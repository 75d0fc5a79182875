import { useSyncExternalStore } from 'react';
import type { Login } from './types';

/** Who is logged in here. Times are of this machine's clock, in milliseconds. */
export interface Session {
  token: string;
  expiresAt: number;
  /** From when on a new token should be asked for. */
  renewAt: number;
  username: string;
  tags: string;
  mustChangePassword: boolean;
}

const STORED = 'emqttd.session';
const listeners = new Set<() => void>();
const leaving = new Set<() => void>();

/** The session is kept on this device, for all tabs, rather than with this tab. */
let lasting = false;
let current: Session | null = read(false);
if (!current) {
  current = read(true);
  lasting = current !== null;
}

function storage(long: boolean): Storage | undefined {
  if (typeof localStorage === 'undefined') return undefined;
  return long ? localStorage : sessionStorage;
}

function read(long: boolean): Session | null {
  try {
    const text = storage(long)?.getItem(STORED);
    if (!text) return null;
    const session = JSON.parse(text) as Session;
    if (typeof session.token === 'string' && session.expiresAt > Date.now()) return session;
    storage(long)?.removeItem(STORED);
  } catch {
    // Unreadable or forbidden storage: log in again.
  }
  return null;
}

function write(session: Session | null): void {
  try {
    // Other tabs see each step: what is replaced is never taken away first.
    if (session) storage(lasting)?.setItem(STORED, JSON.stringify(session));
    else storage(lasting)?.removeItem(STORED);
  } catch {
    // It holds until the page is closed.
  }
}

function become(next: Session | null): void {
  const left = current !== null && next?.username !== current.username;
  current = next;
  if (left) for (const listener of leaving) listener();
  for (const listener of listeners) listener();
}

/** A login's or a renewal's answer as a session; a token is renewed after two thirds of its life. */
export function sessionOf(login: Login, now: number): Session {
  const life = login.expires_in * 1000;
  return {
    token: login.token,
    expiresAt: now + life,
    renewAt: now + (life * 2) / 3,
    username: login.username,
    tags: login.tags,
    mustChangePassword: login.must_change_password,
  };
}

const subscribed = (to: Set<() => void>) => (listener: () => void): (() => void) => {
  to.add(listener);
  return () => to.delete(listener);
};

export const session = {
  get: (): Session | null => current,
  /** Whether the login outlives this tab. */
  lasting: (): boolean => lasting,
  /** Without `remember` it is kept the way the session before was. */
  set(next: Session, remember: boolean = lasting): void {
    if (remember !== lasting) write(null);
    lasting = remember;
    write(next);
    become(next);
  },
  clear(): void {
    if (!current) return;
    write(null);
    lasting = false;
    become(null);
  },
  /** The broker refused this token. Only the session that has it ends: another may have taken its place meanwhile. */
  refused(token: string): void {
    if (current?.token === token) this.clear();
  },
  subscribe: subscribed(listeners),
  /** Calls `listener` when whoever was logged in is so no more: nothing of theirs may be left for the next. */
  onLeave: subscribed(leaving),
};

// Another tab renewed the token, or logged out. A login of this tab alone is no business of other tabs.
if (typeof window !== 'undefined') {
  window.addEventListener('storage', (event) => {
    if (event.storageArea !== localStorage || event.key !== STORED || (current && !lasting)) return;
    const next = read(true);
    lasting = next !== null;
    if (next || current) become(next);
  });
}

export function useSession(): Session | null {
  return useSyncExternalStore(session.subscribe, session.get);
}
