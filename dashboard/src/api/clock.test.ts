import { afterEach, expect, test, vi } from 'vitest';
import { answered, brokerNow } from './clock';

afterEach(() => void vi.useRealTimers());

test('the clock of the broker counts, not that of the browser', () => {
  vi.useFakeTimers({ now: Date.UTC(2026, 0, 1) });
  const off = (): number => brokerNow() - Date.now();
  expect(off()).toBe(0);
  answered('Thu, 01 Jan 2026 00:00:01 GMT');
  expect(off()).toBe(0);
  answered('Thu, 01 Jan 2026 01:00:00 GMT');
  expect(off()).toBe(3_600_500);
  vi.advanceTimersByTime(60_000);
  expect(off()).toBe(3_600_500);
  // No header, or one of somebody who does not know: what was known stays.
  answered(null);
  answered('now');
  expect(off()).toBe(3_600_500);
  answered('Wed, 31 Dec 2025 00:01:00 GMT');
  expect(off()).toBe(500 - 86_400_000);
  // A clock that was set right.
  answered('Thu, 01 Jan 2026 00:01:00 GMT');
  expect(off()).toBe(0);
});
