import { expect, test } from 'vitest';
import { dictionaries } from '.';
import { fill } from './format';

test('params stand where the text names them', () => {
  expect(fill('{n} of {total}', { n: 3, total: '1,000' })).toBe('3 of 1,000');
  expect(fill('{n} {n|alarm|alarms}', { n: 1 })).toBe('1 alarm');
  expect(fill('{n} {n|alarm|alarms}', { n: 0 })).toBe('0 alarms');
  expect(fill('{unknown} stays', { n: 1 })).toBe('{unknown} stays');
  expect(fill('{a}', { a: '{b}', b: 'x' })).toBe('{b}');
});

const names = (text: string): string[] => [...new Set([...text.matchAll(/\{([^{}|]+)/g)].map((match) => match[1] ?? ''))].sort();

test('Chinese has every text, and none names a parameter that English does not give', () => {
  const { en, zh } = dictionaries;
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  for (const key of Object.keys(en) as (keyof typeof en)[]) {
    expect(zh[key].trim(), key).not.toBe('');
    expect(names(en[key]), key).toEqual(expect.arrayContaining(names(zh[key])));
  }
});
