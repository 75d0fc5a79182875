import { describe, expect, it } from 'vitest';
import { curlOf, headerOf, isExpired, isScope, scopesOf, secondsOf } from './key';

describe('API keys', () => {
  it('have scopes in a fixed order, and admin alone', () => {
    expect(scopesOf(['manage', 'read'])).toEqual(['read', 'manage']);
    expect(scopesOf(['read', 'admin'])).toEqual(['admin']);
    expect(scopesOf(['root'])).toEqual([]);
    expect(isScope('publish')).toBe(true);
    expect(isScope('root')).toBe(false);
  });

  it('live for days or for ever', () => {
    expect(secondsOf('30')).toBe(2_592_000);
    expect(secondsOf('')).toBeUndefined();
    expect(isExpired({ expires_at: null }, 1e15)).toBe(false);
    expect(isExpired({ expires_at: 100 }, 99_999)).toBe(false);
    expect(isExpired({ expires_at: 100 }, 100_000)).toBe(true);
  });

  it('are used as a bearer or with Basic', () => {
    const key = { id: 'ak_1', secret: 's' };
    expect(headerOf(key)).toBe('Authorization: Bearer ak_1.s');
    expect(curlOf(key, 'http://h/api/v2/overview')).toBe('curl -u ak_1:s http://h/api/v2/overview');
  });
});
