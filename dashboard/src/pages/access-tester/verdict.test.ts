import { describe, expect, it } from 'vitest';
import { answerWord, isAllowed, isSuperuser } from './verdict';

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
