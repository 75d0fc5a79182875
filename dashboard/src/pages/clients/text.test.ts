import { describe, expect, it } from 'vitest';
import { protocolOf, usernameOf, visible } from './text';

describe('visible', () => {
  it('leaves what can be seen as it is', () => {
    expect(visible('a/ü 客户端 😀 <b>')).toBe('a/ü 客户端 😀 <b>');
  });
  it('shows what hides or reorders', () => {
    expect(visible('a\u202eb\u0000\n\u200b')).toBe('a\\u202eb\\u0000\\u000a\\u200b');
  });
  it('shows half of a pair', () => {
    expect(visible('x\ud83d')).toBe('x\\ud83d');
  });
});

it('knows the user name that is none', () => {
  expect(usernameOf('undefined')).toBeNull();
  expect(usernameOf(null)).toBeNull();
  expect(usernameOf('')).toBe('');
  expect(usernameOf('bob')).toBe('bob');
});

it('names protocols', () => {
  expect([3, 4, 5, 7].map(protocolOf)).toEqual(['MQTT 3.1', 'MQTT 3.1.1', 'MQTT 5.0', '7']);
});
