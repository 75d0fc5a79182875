import { afterEach, beforeEach, expect, test, vi } from 'vitest';

/** What several tabs share, and what they are told of it. */
class Store {
  readonly values = new Map<string, string>();
  readonly changes: (string | null)[] = [];
  getItem = (key: string): string | null => this.values.get(key) ?? null;
  setItem = (key: string, value: string): void => {
    this.values.set(key, value);
    this.changes.push(value);
  };
  removeItem = (key: string): void => {
    if (this.values.delete(key)) this.changes.push(null);
  };
}

const KEY = 'emqttd.session';
const of = (username: string, token: string) => ({ token, username, tags: '', expiresAt: Date.now() + 900_000, renewAt: Date.now() + 600_000, mustChangePassword: false });
let device: Store;

/** A tab: a module, and a window, of its own. */
async function tab() {
  const window = new EventTarget();
  const own = new Store();
  vi.stubGlobal('localStorage', device);
  vi.stubGlobal('sessionStorage', own);
  vi.stubGlobal('window', window);
  vi.resetModules();
  const { session } = await import('./session');
  const told = (): void => void window.dispatchEvent(Object.assign(new Event('storage'), { storageArea: device, key: KEY }));
  return { session, own, told };
}

beforeEach(() => {
  device = new Store();
});
afterEach(() => vi.unstubAllGlobals());

test('a renewal never leaves other tabs without a login', async () => {
  const { session } = await tab();
  session.set(of('ann', 'one'), true);
  session.set(of('ann', 'two'));
  expect(device.changes).toHaveLength(2);
  expect(device.changes).not.toContain(null);
});

test('a login of one tab stays out of the one that is kept on the device', async () => {
  device.setItem(KEY, JSON.stringify(of('bob', 'b')));
  const { session, own, told } = await tab();
  expect(session.get()?.username).toBe('bob');
  session.clear();
  session.set(of('ann', 'a'), false);
  device.setItem(KEY, JSON.stringify(of('bob', 'b2')));
  told();
  expect(session.get()?.username).toBe('ann');
  session.set(of('ann', 'a2'));
  expect(JSON.parse(own.getItem(KEY) ?? '')).toMatchObject({ token: 'a2' });
  expect(JSON.parse(device.getItem(KEY) ?? '')).toMatchObject({ token: 'b2' });
  session.clear();
  expect(own.getItem(KEY)).toBeNull();
  expect(device.getItem(KEY)).not.toBeNull();
});

test('what another tab does to the login of the device is followed', async () => {
  const { session, told } = await tab();
  device.setItem(KEY, JSON.stringify(of('ann', 'a')));
  told();
  expect(session.get()?.token).toBe('a');
  device.setItem(KEY, JSON.stringify(of('ann', 'a2')));
  told();
  expect(session.get()?.token).toBe('a2');
  device.removeItem(KEY);
  told();
  expect(session.get()).toBeNull();
});

test('nothing of one user is left for the next, also where one follows the other at once', async () => {
  const { session, told } = await tab();
  let left = 0;
  session.onLeave(() => (left += 1));
  session.set(of('ann', 'a'), true);
  session.set(of('ann', 'a2'));
  expect(left).toBe(0);
  device.setItem(KEY, JSON.stringify(of('bob', 'b')));
  told();
  expect(left).toBe(1);
  session.clear();
  expect(left).toBe(2);
});

test('a refused token ends only its own login', async () => {
  const { session } = await tab();
  session.set(of('ann', 'new'), false);
  session.refused('old');
  expect(session.get()?.token).toBe('new');
  session.refused('new');
  expect(session.get()).toBeNull();
});
