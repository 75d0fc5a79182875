import { beforeEach, expect, test } from 'vitest';
import { setLanguage } from '../i18n';
import { bytes, count, dateTime, duration, moment, short } from './format';

beforeEach(() => setLanguage('en'));

test('bytes are in units of 1024, with as many digits as say something', () => {
  expect([0, 1023, 1024, 10_240, 150_000, 5 * 1024 ** 3].map(bytes)).toEqual(['0 B', '1023 B', '1.00 KiB', '10.0 KiB', '146 KiB', '5.00 GiB']);
  expect(bytes(null)).toBe('–');
  expect(bytes(Number.NaN)).toBe('–');
});

test('numbers', () => {
  expect(count(1234567)).toBe('1,234,567');
  expect(count(undefined)).toBe('–');
  expect([0, 0.25, 3.14, 3, 42.4, 999, 1234, 34_500_000].map(short)).toEqual(['0', '0.25', '3.1', '3', '42', '999', '1.23k', '34.5M']);
});

test('a length of time in its two greatest units', () => {
  expect([0, 59, 60, 3600, 3661, 90_061, 86_400].map(duration)).toEqual(['0 s', '59 s', '1 min', '1 h', '1 h 1 min', '1 d 1 h', '1 d']);
  expect(duration(86_400 + 59)).toBe('1 d');
  expect(duration(-5)).toBe('0 s');
  setLanguage('zh');
  expect(duration(3661)).toBe('1 小时 1 分');
});

test('a moment is read from all that the API gives', () => {
  expect(moment(1_700_000_000)).toBe(1_700_000_000_000);
  expect(moment(1_700_000_000_123)).toBe(1_700_000_000_123);
  expect(moment('2026-11-23T18:00:00Z')).toBe(Date.UTC(2026, 10, 23, 18));
  expect(moment('2026-11-23 18:00:00')).toBe(new Date(2026, 10, 23, 18).getTime());
  expect(moment('')).toBeNull();
  expect(moment('never')).toBeNull();
});

test('what is no number and no time is a dash, and breaks nothing', () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) expect([count(value), short(value), bytes(value), duration(value)]).toEqual(['–', '–', '–', '–']);
  for (const value of [Number.NaN, Number.MAX_SAFE_INTEGER, 1.8e19]) expect([moment(value), dateTime(value)]).toEqual([null, '–']);
});
