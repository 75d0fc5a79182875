import type { ReactNode } from 'react';

/** A column of a table whose rows are `R`. */
export interface Column<R> {
  /** Unique in the table. */
  key: string;
  header: string;
  /** What stands in the cell; text is given by itself. */
  cell: (row: R) => ReactNode;
  /** `SearchTable`: the name the server sorts by. `LocalTable`: anything, with `value`. */
  sort?: string;
  /** `LocalTable`: what rows are compared by (and, of text, searched in). */
  value?: (row: R) => string | number | boolean | null | undefined;
  align?: 'left' | 'right' | 'center';
  /** Least width, in pixels. */
  width?: number;
  /** Breaks lines rather than widening the table (long texts). */
  wrap?: boolean;
  /** Fixed-pitch font: ids, topics, addresses. */
  mono?: boolean;
}

/** `-name` is descending. */
export interface Sort {
  by: string;
  descending: boolean;
}

export function readSort(text: string | null | undefined): Sort | null {
  if (!text) return null;
  return text.startsWith('-') ? { by: text.slice(1), descending: true } : { by: text, descending: false };
}

export function writeSort(sort: Sort | null): string | undefined {
  return sort ? (sort.descending ? '-' : '') + sort.by : undefined;
}

/** What a click on a column's head makes of the order: up, down, none. */
export function nextSort(now: Sort | null, by: string): Sort | null {
  if (now?.by !== by) return { by, descending: false };
  return now.descending ? null : { by, descending: true };
}
