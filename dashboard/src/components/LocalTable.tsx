import { Group, Paper } from '@mantine/core';
import { useState, type ReactNode } from 'react';
import { locale, useT } from '../i18n';
import { count } from './format';
import { Grid } from './Grid';
import { nextSort, readSort, type Column, type Sort } from './table';
import { Footer, SearchBox } from './TableParts';

interface Props<R> {
  /** The table's accessible name. */
  label: string;
  columns: Column<R>[];
  /** All rows; `undefined` while they are not there yet. */
  rows: R[] | undefined;
  rowKey: (row: R) => string;
  /** What the search box (over the columns' `value`s) is called; none by default. */
  search?: string | boolean;
  /** The order at first: a column's `sort`, `-` before it for descending. */
  sort?: string;
  filters?: ReactNode;
  toolbar?: ReactNode;
  actions?: (row: R) => ReactNode;
  empty?: ReactNode;
  error?: unknown;
  onRetry?: () => void;
  /** Rows on a page; default 50. */
  size?: number;
}

/** A table of rows that are all here: sorted, searched and paged in the browser. */
export function LocalTable<R>(props: Props<R>) {
  const { label, columns, rows, rowKey, search = false } = props;
  const t = useT();
  const [typed, setTyped] = useState('');
  const [sort, setSort] = useState<Sort | null>(readSort(props.sort));
  const [size, setSize] = useState(props.size ?? 50);
  const [page, setPage] = useState(0);

  const found = rows && sorted(matching(rows, columns, typed), columns, sort);
  const last = Math.max(0, Math.ceil((found?.length ?? 0) / size) - 1);
  const at = Math.min(page, last);
  const bar = search || props.filters || props.toolbar;
  return (
    <Paper withBorder>
      {bar ? (
        <Group p="sm" gap="sm" justify="space-between">
          <Group gap="sm" style={{ flex: '1 1 auto' }}>
            {search ? (
              <SearchBox
                label={typeof search === 'string' ? search : t('table.search')}
                value={typed}
                onChange={(text) => {
                  setTyped(text);
                  setPage(0);
                }}
              />
            ) : null}
            {props.filters}
          </Group>
          {props.toolbar ? <Group gap="sm">{props.toolbar}</Group> : null}
        </Group>
      ) : null}
      <Grid
        label={label}
        columns={columns}
        rows={found?.slice(at * size, (at + 1) * size)}
        rowKey={rowKey}
        actions={props.actions}
        sort={sort}
        onSort={(by) => setSort(nextSort(sort, by))}
        sortable={(column) => (column.value ? (column.sort ?? column.key) : undefined)}
        error={props.error}
        onRetry={props.onRetry}
        empty={typed ? t('table.no-match') : props.empty}
        flush={!bar}
      />
      {found && (found.length > size || size !== (props.size ?? 50)) ? (
        <Footer
          summary={t('table.total', { total: count(found.length) })}
          question={typed}
          page={at + 1}
          size={size}
          onSize={(next) => {
            setSize(next);
            setPage(0);
          }}
          onPrevious={at > 0 ? () => setPage(at - 1) : undefined}
          onNext={at < last ? () => setPage(at + 1) : undefined}
        />
      ) : null}
    </Paper>
  );
}

/** Rows in which a column's value holds `text`, whatever its case. */
export function matching<R>(rows: R[], columns: Column<R>[], text: string): R[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return rows;
  return rows.filter((row) =>
    columns.some((column) =>
      String(column.value?.(row) ?? '')
        .toLowerCase()
        .includes(wanted),
    ),
  );
}

/** A copy in order: numbers as numbers, texts as the language sorts them, what is absent last. */
export function sorted<R>(rows: R[], columns: Column<R>[], sort: Sort | null): R[] {
  const value = sort && columns.find((column) => (column.sort ?? column.key) === sort.by)?.value;
  if (!sort || !value) return rows;
  const collator = new Intl.Collator(locale(), { numeric: true });
  const sign = sort.descending ? -1 : 1;
  return [...rows].sort((left, right) => {
    const a = value(left);
    const b = value(right);
    if (a === b) return 0;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    if (typeof a === 'string' || typeof b === 'string') return sign * collator.compare(String(a), String(b));
    return sign * (Number(a) - Number(b));
  });
}
