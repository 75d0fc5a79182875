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
let current: Session | null = read();

function storages(): Storage[] {
  return typeof localStorage === 'undefined' ? [] : [sessionStorage, localStorage];
}

function read(): Session | null {
  try {
    for (const storage of storages()) {
      const text = storage.getItem(STORED);
      if (!text) continue;
      const session = JSON.parse(text) as Session;
      if (typeof session.token === 'string' && session.expiresAt > Date.now()) return session;
      storage.removeItem(STORED);
    }
  } catch {
    // Unreadable or forbidden storage: log in again.
  }
  return null;
}

function write(session: Session | null, remember: boolean): void {
  try {
    for (const storage of storages()) storage.removeItem(STORED);
    if (session) (remember ? localStorage : sessionStorage).setItem(STORED, JSON.stringify(session));
  } catch {
    // It holds until the page is closed.
  }
}

function remembered(): boolean {
  try {
    return localStorage.getItem(STORED) !== null;
  } catch {
    return false;
  }
}

function tell(): void {
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

export const session = {
  get: (): Session | null => current,
  /** Without `remember` it is kept the way the session before was. */
  set(next: Session, remember: boolean = remembered()): void {
    current = next;
    write(next, remember);
    tell();
  },
  clear(): void {
    if (!current) return;
    current = null;
    write(null, false);
    tell();
  },
  subscribe(listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

// Another tab renewed the token, or logged out.
if (typeof window !== 'undefined') {
  window.addEventListener('storage', (event) => {
    if (event.storageArea !== localStorage || event.key !== STORED) return;
    const next = read();
    if (next || event.oldValue) {
      current = next;
      tell();
    }
  });
}

export function useSession(): Session | null {
  return useSyncExternalStore(session.subscribe, session.get);
}
