import { Skeleton, Text, UnstyledButton } from '@mantine/core';
import { IconArrowDown, IconArrowsSort, IconArrowUp } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { ApiError } from '../api/errors';
import { useT } from '../i18n';
import { ErrorNote } from './ErrorNote';
import classes from './Grid.module.css';
import type { Column, Sort } from './table';

interface Props<R> {
  label: string;
  columns: Column<R>[];
  rows: R[] | undefined;
  rowKey: (row: R) => string;
  actions?: (row: R) => ReactNode;
  sort: Sort | null;
  onSort: (by: string) => void;
  /** The name a column is sorted by; `undefined`: it is not. */
  sortable: (column: Column<R>) => string | undefined;
  error?: unknown;
  onRetry?: () => void;
  /** The rows are those of the question before. */
  stale?: boolean;
  empty?: ReactNode;
  /** Keys of rows that are shown though they are not there, or not here, any more. */
  gone?: ReadonlySet<string>;
  /** Nothing stands above it in its box. */
  flush?: boolean;
}

/**
 * The table itself, in a box that scrolls sideways and that the keyboard can reach. On a narrow screen a row is a card
 * instead; styles that take a table apart take its meaning away too, so that the roles are written out.
 */
export function Grid<R>(props: Props<R>) {
  const { label, columns, rows, rowKey, actions, sort, error } = props;
  const t = useT();
  if (error && !rows) return <ErrorNote error={error} onRetry={props.onRetry} m="sm" />;
  // That the broker is away is said above all pages.
  const silent = !error || (error instanceof ApiError && error.unreachable);
  return (
    <>
      {silent ? null : <ErrorNote error={error} onRetry={props.onRetry} m="sm" />}
      <div className={classes.box} tabIndex={0} role="region" aria-label={t('table.scroll', { name: label })} data-flush={props.flush || undefined}>
        <table className={classes.table} role="table" aria-label={label} aria-busy={!rows} data-stale={props.stale || undefined}>
          <thead role="rowgroup">
            <tr role="row">
              {columns.map((column) => {
                const by = props.sortable(column);
                const here = by !== undefined && sort?.by === by;
                return (
                  <th
                    key={column.key}
                    scope="col"
                    role="columnheader"
                    data-align={column.align}
                    data-sortable={by !== undefined || undefined}
                    style={{ minWidth: column.width }}
                    aria-sort={here ? (sort.descending ? 'descending' : 'ascending') : undefined}
                  >
                    {by === undefined ? (
                      column.header
                    ) : (
                      <UnstyledButton className={classes.sort} data-here={here || undefined} title={t('table.sort', { column: column.header })} onClick={() => props.onSort(by)}>
                        <span>{column.header}</span>
                        {!here ? <IconArrowsSort size={13} aria-hidden /> : sort.descending ? <IconArrowDown size={13} aria-hidden /> : <IconArrowUp size={13} aria-hidden />}
                      </UnstyledButton>
                    )}
                  </th>
                );
              })}
              {actions ? (
                <th scope="col" role="columnheader" className={classes.actions}>
                  <span className="visually-hidden">{t('common.actions')}</span>
                </th>
              ) : null}
            </tr>
          </thead>
          <tbody role="rowgroup">
            {rows?.map((row) => (
              <tr role="row" key={rowKey(row)} data-gone={props.gone?.has(rowKey(row)) || undefined}>
                {columns.map((column) => (
                  <td role="cell" key={column.key} data-name={column.header} data-align={column.align} data-wrap={column.wrap || undefined} data-mono={column.mono || undefined}>
                    {column.cell(row)}
                  </td>
                ))}
                {actions ? (
                  <td role="cell" className={classes.actions}>
                    <div>{actions(row)}</div>
                  </td>
                ) : null}
              </tr>
            ))}
            {rows ? null : <Waiting columns={columns.length + (actions ? 1 : 0)} />}
          </tbody>
        </table>
        {rows?.length === 0 ? (
          <Text c="dimmed" size="sm" className={classes.empty} role="status">
            {props.empty ?? t('table.empty')}
          </Text>
        ) : null}
      </div>
    </>
  );
}

function Waiting({ columns }: { columns: number }) {
  return [0, 1, 2].map((row) => (
    <tr key={row} aria-hidden>
      {Array.from({ length: columns }, (_, column) => (
        <td key={column}>
          <Skeleton height={10} my={5} maw={column === 0 ? 180 : 90} />
        </td>
      ))}
    </tr>
  ));
}
