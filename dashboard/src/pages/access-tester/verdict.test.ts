import { describe, expect, it } from 'vitest';
import { answerWord, isAddress, isAllowed, isSuperuser } from './verdict';

describe('verdicts', () => {
  it('read what modules answer', () => {
    expect(['allow', 'allow (superuser)', 'deny', 'ignore', 'unavailable', 'hm'].map(answerWord)).toEqual(['allow', 'superuser', 'deny', 'ignore', 'unavailable', undefined]);
  });

  it('are what the broker says', () => {
    const steps = [{ module: 'emq_auth_username', answer: 'allow (superuser)', detail: '' }];
    expect(isAllowed({ result: 'allow', steps })).toBe(true);
    expect(isSuperuser({ result: 'allow', steps })).toBe(true);
    expect(isAllowed({ result: 'deny', steps: [] })).toBe(false);
    expect(isSuperuser({ result: 'deny', steps: [] })).toBe(false);
  });
});

describe('addresses', () => {
  it('are of IPv4 or IPv6', () => {
    for (const good of ['127.0.0.1', '::1', '2001:db8::1', '::ffff:192.0.2.1']) expect(isAddress(good), good).toBe(true);
    for (const bad of ['', 'localhost', '256.1.1.1', '1.2.3', ':::', '1:2', '::1]', '::1%eth0']) expect(isAddress(bad), bad).toBe(false);
  });
});
