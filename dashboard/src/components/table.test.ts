import { expect, test } from 'vitest';
import { matching, sorted } from './LocalTable';
import { nextSort, readSort, writeSort, type Column } from './table';

interface Row {
  name: string;
  size: number | null;
}
const columns: Column<Row>[] = [
  { key: 'name', header: 'Name', cell: (row) => row.name, value: (row) => row.name },
  { key: 'size', header: 'Size', cell: (row) => row.size, value: (row) => row.size },
];
const rows: Row[] = [
  { name: 'node10', size: 9 },
  { name: 'Node2', size: null },
  { name: 'other', size: 10 },
];

test('an order is written as the API takes it, and a click turns it', () => {
  expect(readSort('-name')).toEqual({ by: 'name', descending: true });
  expect(writeSort({ by: 'name', descending: false })).toBe('name');
  expect(readSort('')).toBeNull();
  const up = nextSort(null, 'name');
  const down = nextSort(up, 'name');
  expect([writeSort(up), writeSort(down), nextSort(down, 'name')]).toEqual(['name', '-name', null]);
  expect(writeSort(nextSort(down, 'size'))).toBe('size');
});

test('rows are sorted as people read them, what is absent last', () => {
  const names = (sort: string): string[] => sorted(rows, columns, readSort(sort)).map((row) => row.name);
  expect(names('name')).toEqual(['Node2', 'node10', 'other']);
  expect(names('size')).toEqual(['node10', 'other', 'Node2']);
  expect(names('-size')).toEqual(['other', 'node10', 'Node2']);
  expect(names('unknown')).toEqual(rows.map((row) => row.name));
});

test('rows are found by any value, whatever its case', () => {
  const found = (text: string): number => matching(rows, columns, text).length;
  expect([found(''), found('NODE'), found(' other '), found('10'), found('nothing')]).toEqual([3, 2, 1, 2, 0]);
});
