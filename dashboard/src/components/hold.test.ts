import { expect, it } from 'vitest';
import { inPlace } from './hold';

interface Row {
  id: string;
  n: number;
}
const keyOf = (row: Row): string => row.id;

it('keeps places, takes new values, and tells who went', () => {
  const stood = [{ id: 'a', n: 1 }, { id: 'b', n: 1 }, { id: 'c', n: 1 }];
  const fresh = [{ id: 'new', n: 9 }, { id: 'c', n: 2 }, { id: 'a', n: 2 }];
  const { rows, gone } = inPlace(stood, fresh, keyOf);
  expect(rows).toEqual([{ id: 'a', n: 2 }, { id: 'b', n: 1 }, { id: 'c', n: 2 }]);
  expect([...gone]).toEqual(['b']);
});

it('has nothing where nothing stood', () => {
  expect(inPlace<Row>([], [{ id: 'a', n: 1 }], keyOf)).toEqual({ rows: [], gone: new Set() });
});
