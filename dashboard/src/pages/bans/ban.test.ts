import { expect, it } from 'vitest';
import { isAddress, isIp, secondsOf, wrongValue } from './ban';

it('counts seconds', () => {
  expect(secondsOf(10, 'minutes')).toBe(600);
  expect(secondsOf('1.5', 'hours')).toBe(5400);
  expect(secondsOf(2, 'days')).toBe(172_800);
  expect(secondsOf('', 'forever')).toBeNull();
});

it('refuses spans that are none', () => {
  for (const amount of ['', 'x', 0, -1, Number.POSITIVE_INFINITY, 99_999_999]) expect(secondsOf(amount, 'days')).toBeUndefined();
});

it('knows addresses and nets', () => {
  for (const good of ['10.0.0.1', '10.0.0.0/8', '::', '::1', 'fe80::1/64', '2001:db8:0:0:0:0:0:1', '::ffff:10.0.0.1'])
    expect(isAddress(good), good).toBe(true);
  for (const bad of ['', '10.0.0', '10.0.0.256', '10.0.0.0/33', '10.0.0.0/8/8', '1::2::3', 'fe80::1/129', '12345::', 'host', '01.2.3.4', '1:2:3', '10.0.0.0/'])
    expect(isAddress(bad), bad).toBe(false);
});

it('knows addresses alone', () => {
  for (const good of ['127.0.0.1', '::1', '2001:db8::1', '::ffff:192.0.2.1']) expect(isIp(good), good).toBe(true);
  for (const bad of ['', 'localhost', '256.1.1.1', '1.2.3', ':::', '1:2', '::1]', '::1%eth0', '10.0.0.0/8']) expect(isIp(bad), bad).toBe(false);
});

it('says what is wrong with a value', () => {
  expect(wrongValue('client_id', ' ')).toBe('empty');
  expect(wrongValue('client_id', 'a/b')).toBeNull();
  expect(wrongValue('ip', 'a')).toBe('address');
  expect(wrongValue('ip', ' ::1 ')).toBeNull();
});
