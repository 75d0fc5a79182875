import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { stream } from './events';
import { session, sessionOf } from './session';

const login = (token: string) => sessionOf({ token, expires_in: 9000, username: 'admin', tags: '', must_change_password: false }, Date.now());
let asked = 0;
let respond: () => Response;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  asked = 0;
  vi.stubGlobal('fetch', async () => {
    asked += 1;
    return respond();
  });
  session.set(login('first'));
});
afterEach(() => {
  session.clear();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('a stream that ends as soon as it is open is not asked for without end', async () => {
  respond = () => new Response('');
  const stop = stream.add({ kinds: ['alarms'], listener: () => undefined });
  await vi.advanceTimersByTimeAsync(30_000);
  stop();
  await vi.advanceTimersByTimeAsync(10_000);
  // After 0.5, 1, 2, 4 s, and each 5 to 6 s then.
  expect(asked).toBeGreaterThan(5);
  expect(asked).toBeLessThan(12);
});

test('a refusal that comes late does not end the login that took the place', async () => {
  respond = () => {
    session.set(login('second'));
    respond = () => new Response(new ReadableStream({ start: (it) => it.enqueue(new TextEncoder().encode(': \n\n')) }));
    return new Response('', { status: 401 });
  };
  const stop = stream.add({ kinds: ['alarms'], listener: () => undefined });
  await vi.advanceTimersByTimeAsync(200);
  expect(asked).toBe(1);
  expect(session.get()?.token).toBe('second');
  stop();
  await vi.advanceTimersByTimeAsync(100);
});
