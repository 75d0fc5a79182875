import { describe, expect, it } from 'vitest';
import { type Entry, fits, nextBefore, readable, verdictOf } from './entry';

const entry: Entry = { seq: 5, at: 1000, who: 'admin', from: '127.0.0.1', via: 'token', action: 'PUT /api/v2/logging', outcome: '200' };

describe('audit entries', () => {
  it('say what became of them', () => {
    expect(['200', '204', 'ok', '0', '200 0'].map(verdictOf)).toEqual(Array(5).fill('ok'));
    expect(['401', '200 code 112', '200/103', 'code 103', 'error: no such user'].map(verdictOf)).toEqual(Array(5).fill('refused'));
    expect(verdictOf('503')).toBe('failed');
    expect(verdictOf('?')).toBe('unknown');
  });

  it('go on behind the oldest', () => {
    expect(nextBefore([entry, { ...entry, seq: 3 }], 2)).toBe(3);
    expect(nextBefore([entry], 2)).toBeUndefined();
    expect(nextBefore([], 2)).toBeUndefined();
  });

  it('are found by any of their words', () => {
    expect(fits(entry, ' ADMIN ')).toBe(true);
    expect(fits(entry, 'logging')).toBe(true);
    expect(fits(entry, 'bob')).toBe(false);
  });

  it('are read without what paths need', () => {
    expect(readable('PUT /api/v2/listeners/mqtt%3Awss/127.0.0.1%3A8084')).toBe('PUT /api/v2/listeners/mqtt:wss/127.0.0.1:8084');
    expect(readable('DELETE /api/v2/clients/a%2Fb%20c')).toBe('DELETE /api/v2/clients/a%2Fb c');
    expect(readable('users add 100%')).toBe('users add 100%');
  });
});
