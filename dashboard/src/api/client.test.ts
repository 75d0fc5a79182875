import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { setLanguage } from '../i18n';
import { api, apiUrl, keepLogin, logout, request, segment } from './client';
import { ApiError, words } from './errors';
import { isAway } from './reach';
import { session, sessionOf } from './session';

const NOW = 1_700_000_000_000;
const login = (token: string) => ({ token, expires_in: 900, username: 'admin', tags: 'administrator', must_change_password: false });

interface Asked {
  method: string;
  path: string;
  token: string | null;
}
let asked: Asked[] = [];
let respond: (asked: Asked) => Response | Promise<Response>;
const json = (body: unknown, status = 200, headers = {}): Response => new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json', ...headers } });
const good = (result: unknown): Response => json({ code: 0, result });

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
  setLanguage('en');
  asked = [];
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    const one = { method: init.method ?? 'GET', path: new URL(url).pathname.replace('/api/v2/', '') + new URL(url).search, token: new Headers(init.headers).get('Authorization') };
    asked.push(one);
    return respond(one);
  });
  session.set(sessionOf(login('first'), Date.now()));
});

afterEach(() => {
  session.clear();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('ids stay one segment, and empty values are no part of the question', () => {
  expect(apiUrl(`clients/${segment('a/b%c 中')}`, { search: '', limit: 20, cursor: null, clean_sess: false })).toBe('http://localhost/api/v2/clients/a%2Fb%25c%20%E4%B8%AD?limit=20&clean_sess=false');
});

test('what the envelope holds is the answer', async () => {
  respond = () => good([1]);
  await expect(api.get('x')).resolves.toEqual([1]);
  expect(asked).toEqual([{ method: 'GET', path: 'x', token: 'Bearer first' }]);
});

test('a code is an error whatever the status', async () => {
  respond = () => json({ code: 112 });
  const error = await api.del('clients/a').catch((one: unknown) => one);
  expect(error).toMatchObject({ status: 200, code: 112, detail: null });
  expect(words(error)).toBe('The client is not connected.');
  respond = () => json({ code: 102, message: 'the file is not there' }, 404);
  await expect(api.get('x').catch(words)).resolves.toBe('the file is not there');
});

test('a token is renewed once before it ends, for all who ask', async () => {
  respond = ({ path }) => good(path === 'login/refresh' ? login('second') : path);
  vi.setSystemTime(NOW + 601_000);
  await expect(Promise.all([api.get('a'), api.get('b'), api.get('c')])).resolves.toEqual(['a', 'b', 'c']);
  expect(asked.map(({ path, token }) => `${path} ${token}`)).toEqual(['login/refresh Bearer first', 'a Bearer second', 'b Bearer second', 'c Bearer second']);
});

test('a token that cannot be renewed ends the login', async () => {
  respond = ({ token }) => (token ? json({}, 401) : good(null));
  vi.setSystemTime(NOW + 601_000);
  await api.get('a').catch(() => undefined);
  expect(session.get()).toBeNull();
});

test('a broker that is away does not end the login', async () => {
  respond = () => Promise.reject(new TypeError('failed to fetch'));
  vi.setSystemTime(NOW + 601_000);
  const error = await api.get('a').catch((one: unknown) => one);
  expect(error).toBeInstanceOf(ApiError);
  expect((error as ApiError).unreachable).toBe(true);
  expect(isAway()).toBe(true);
  expect(session.get()?.token).toBe('first');
  respond = ({ path }) => good(path === 'login/refresh' ? login('second') : path);
  await expect(api.get('a')).resolves.toBe('a');
  expect(isAway()).toBe(false);
});

test('401 ends the login, but not one that has been renewed meanwhile', async () => {
  respond = () => {
    session.set(sessionOf(login('newer'), Date.now()));
    return json({}, 401);
  };
  await api.get('a').catch(() => undefined);
  expect(session.get()?.token).toBe('newer');
  respond = () => json({}, 401);
  await api.get('a').catch(() => undefined);
  expect(session.get()).toBeNull();
});

test('a login sends no token, and too many say how long to wait', async () => {
  respond = () => json({ code: 103, message: 'Password error' }, 429, { 'Retry-After': '42' });
  const error = await request('POST', 'login', { body: {}, anonymous: true }).catch((one: unknown) => one);
  expect(asked[0]?.token).toBeNull();
  expect(error).toMatchObject({ status: 429, retryAfter: 42 });
  expect(words(error)).toBe('Too many attempts. Try again in 42 seconds.');
  expect(session.get()?.token).toBe('first');
});

test('a page that asks nothing keeps its login', async () => {
  respond = () => good(login('second'));
  keepLogin();
  session.set(sessionOf(login('first'), Date.now()));
  await vi.advanceTimersByTimeAsync(599_000);
  expect(asked).toEqual([]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(session.get()?.token).toBe('second');
  await vi.advanceTimersByTimeAsync(601_000);
  expect(asked.map(({ path }) => path)).toEqual(['login/refresh', 'login/refresh']);
  session.clear();
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(asked).toHaveLength(2);
});

test('logging out waits for nobody, and ends the token it had', async () => {
  respond = () => new Promise<Response>(() => undefined);
  logout();
  expect(session.get()).toBeNull();
  expect(asked).toEqual([{ method: 'POST', path: 'logout', token: 'Bearer first' }]);
});

test("a broker that says it is busy is not away; a proxy's 503 is", async () => {
  respond = () => json({ code: 102, message: 'not now' }, 503);
  await api.get('x').catch(() => undefined);
  expect(isAway()).toBe(false);
  respond = () => new Response('<h1>Unavailable</h1>', { status: 503 });
  await api.get('x').catch(() => undefined);
  expect(isAway()).toBe(true);
  respond = () => good(1);
  await api.get('x');
});

test('what a browser would take for a step between directories is not asked for', async () => {
  respond = () => good(1);
  for (const id of ['.', '..']) {
    await expect(api.del(`clients/${segment(id)}`).catch(words)).resolves.toContain('A browser cannot ask');
  }
  await expect(api.get(`clients/${segment('../x')}`)).resolves.toBe(1);
  expect(asked.map(({ path }) => path)).toEqual(['clients/..%2Fx']);
  expect(isAway()).toBe(false);
});
