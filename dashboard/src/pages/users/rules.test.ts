import { describe, expect, it } from 'vitest';
import { nameFault, passwordFault } from './rules';

describe('names', () => {
  it('have 2 to 12 characters', () => {
    expect(nameFault('a', [])).toBe('name');
    expect(nameFault('ab', [])).toBeUndefined();
    expect(nameFault('a'.repeat(12), [])).toBeUndefined();
    expect(nameFault('a'.repeat(13), [])).toBe('name');
    expect(nameFault('管理员', [])).toBeUndefined();
  });

  it('can be sent by HTTP Basic, and are not taken', () => {
    expect(nameFault('a:b', [])).toBe('nameForm');
    expect(nameFault('a b', [])).toBe('nameForm');
    expect(nameFault('bob', ['bob'])).toBe('taken');
  });
});

describe('passwords', () => {
  it('have 8 characters, and are others than before', () => {
    expect(passwordFault('1234567')).toBe('short');
    expect(passwordFault('12345678')).toBeUndefined();
    expect(passwordFault('12345678', '12345678')).toBe('same');
  });
});
