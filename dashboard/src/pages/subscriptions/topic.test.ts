import { expect, it } from 'vitest';
import { fullFilter, isTopicFilter, isTopicName, plainFilter } from './topic';

it('knows topic names', () => {
  for (const good of ['a', '/', 'a/b', '/a/', '$SYS/x', '温度', 'a b']) expect(isTopicName(good), good).toBe(true);
  for (const bad of ['', 'a/+', '#', 'a+b', 'a\0', 'x'.repeat(65_536)]) expect(isTopicName(bad), bad.slice(0, 9)).toBe(false);
});

it('knows topic filters', () => {
  for (const good of ['#', '+', 'a/#', '+/a/+', '/#', '/', '$share/g/a/+']) expect(isTopicFilter(good), good).toBe(true);
  for (const bad of ['', 'a#', 'a/#/b', 'a+/b', '#/', 'b/+c']) expect(isTopicFilter(bad), bad).toBe(false);
});

it('leaves the prefix of local routes away', () => {
  expect(plainFilter('$local/a')).toBe('a');
  expect(plainFilter('a/$local')).toBe('a/$local');
});

it('writes filters as clients do', () => {
  expect(fullFilter({ topic: 'a/b', share: null, local: false })).toBe('a/b');
  expect(fullFilter({ topic: 'a/#', share: 'g', local: false })).toBe('$share/g/a/#');
  expect(fullFilter({ topic: 'a', share: '$queue', local: false })).toBe('$queue/a');
  expect(fullFilter({ topic: 'a', share: null, local: true })).toBe('$local/a');
});
