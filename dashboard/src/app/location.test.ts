import { expect, test } from 'vitest';
import { segment } from '../api/client';
import { decode, matches, pathOf, searchOf } from './location';

test('a place is a path and a query', () => {
  expect(pathOf('/clients?search=a%3Fb')).toBe('/clients');
  expect(searchOf('/clients?search=a%3Fb')).toBe('?search=a%3Fb');
  expect([pathOf('/'), searchOf('/')]).toEqual(['/', '']);
});

test('a place belongs to one route, whatever stands in an id', () => {
  for (const id of ['a', 'a/b', '%', 'a%2Fb', '设备', '?x=#y', '..']) {
    const place = `/clients/${segment(id)}`;
    expect(matches('/clients/:id', place), id).toBe(true);
    expect(matches('/clients', place), id).toBe(false);
    expect(decode(pathOf(place).split('/')[2] ?? ''), id).toBe(id);
  }
  expect(matches('/clients', '/clients/')).toBe(true);
  expect(matches('/', '/')).toBe(true);
  expect(matches('/clients/:id', '/plugins/a')).toBe(false);
  expect(decode('50%')).toBe('50%');
});
