import { expect, it } from 'vitest';
import { ratesOf } from './rates';

it('knows nothing from one look', () => {
  expect(ratesOf(undefined, { at: 0, counters: { a: 1 } })).toEqual({});
});

it('gives growth a second', () => {
  expect(ratesOf({ at: 1000, counters: { a: 10, b: 0 } }, { at: 3000, counters: { a: 30, b: 0 } })).toEqual({ a: 10, b: 0 });
});

it('leaves out what began anew or was not there', () => {
  expect(ratesOf({ at: 0, counters: { a: 9 } }, { at: 1000, counters: { a: 1, b: 2 } })).toEqual({});
});

it('does not divide by nearly nothing', () => {
  expect(ratesOf({ at: 0, counters: { a: 0 } }, { at: 5, counters: { a: 1 } })).toEqual({});
});
