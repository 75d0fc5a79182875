import { expect, it } from 'vitest';
import { fullFilter, isTopicFilter, isTopicName, plainFilter, sharedOf } from './topic';

it('knows topic names', () => {
  for (const good of ['a', '/', 'a/b', '/a/', '$SYS/x', '温度', 'a b']) expect(isTopicName(good), good).toBe(true);
  for (const bad of ['', 'a/+', '#', 'a+b', 'a\0', 'x'.repeat(65_536)]) expect(isTopicName(bad), bad.slice(0, 9)).toBe(false);
});

it('knows topic filters', () => {
  for (const good of ['#', '+', 'a/#', '+/a/+', '/#', '/', '$share/g/a/+']) expect(isTopicFilter(good), good).toBe(true);
  for (const bad of ['', 'a#', 'a/#/b', 'a+/b', '#/', 'b/+c']) expect(isTopicFilter(bad), bad).toBe(false);
});

it('takes shared filters apart', () => {
  expect(sharedOf('$share/g/a/b')).toEqual({ group: 'g', topic: 'a/b' });
  expect(sharedOf('$queue/a/#')).toEqual({ group: '$queue', topic: 'a/#' });
  expect(sharedOf('$share/g')).toEqual({ group: null, topic: '$share/g' });
  expect(sharedOf('a/b')).toEqual({ group: null, topic: 'a/b' });
});

it('leaves the prefix of local routes away', () => {
  expect(plainFilter('$local/a')).toBe('a');
  expect(plainFilter('a/$local')).toBe('a/$local');
});

it('writes filters as clients do', () => {
  for (const filter of ['a/b', '$share/g/a/#', '$queue/a']) {
    const { group, topic } = sharedOf(filter);
    expect(fullFilter({ topic, share: group, local: false })).toBe(filter);
  }
  expect(fullFilter({ topic: 'a', share: null, local: true })).toBe('$local/a');
});
