import { Group, Paper } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useEffect, useRef, useState, type ReactNode } from 'react';
import { useSearchParams } from 'wouter';
import type { QueryValues } from '../api/client';
import { useEvents, type Kind } from '../api/events';
import { LIVE, useApi } from '../api/hooks';
import type { Page } from '../api/types';
import { useT } from '../i18n';
import { count } from './format';
import { Grid } from './Grid';
import { useAiming, useHeldRows } from './hold';
import { nextSort, readSort, writeSort, type Column } from './table';
import { Footer, LiveMark, SearchBox, SIZES } from './TableParts';
import parts from './TableParts.module.css';

interface Props<R> {
  /** The table's accessible name. */
  label: string;
  /** A path below `api/v2/` that answers `{objects, cursor, matched, total}`. */
  path: string;
  columns: Column<R>[];
  rowKey: (row: R) => string;
  /** More of the question; a change goes back to the first page. */
  query?: QueryValues;
  /** What the search box is called; `false`: there is none. */
  search?: string | false;
  /** The order at first: `name` or `-name`. */
  sort?: string;
  /** Inputs beside the search box. */
  filters?: ReactNode;
  /** Buttons at the right of the search box. */
  toolbar?: ReactNode;
  /** Buttons of a row, in a last column that stays in sight. */
  actions?: (row: R) => ReactNode;
  /** Said when there is nothing at all (not: nothing found). */
  empty?: ReactNode;
  /** Ask again every 5 s; default yes. */
  live?: boolean;
  /** Ask soon, too, when something of this happens (at most every 2 s). */
  events?: readonly Kind[];
}

/** The least time between two answers because of events, in milliseconds. */
const GENTLY = 2000;
const NO_EVENTS: readonly Kind[] = [];

/**
 * A listing the server searches, sorts and pages. Search, order and page size stand in the address
 * (`?search=…&sort=…&limit=…`), so that they can be linked to and survive a reload.
 */
export function SearchTable<R>(props: Props<R>) {
  const { label, path, columns, rowKey, query, search = '', sort: firstSort, live = true } = props;
  const t = useT();
  const [place, setPlace] = useSearchParams();
  const typedAtFirst = place.get('search') ?? '';
  const [typed, setTyped] = useState(typedAtFirst);
  const [wanted] = useDebouncedValue(typed.trim(), 300);
  const wished = readSort(place.get('sort'));
  // An address may name anything.
  const sort = wished && columns.some((column) => column.sort === wished.by) ? wished : readSort(firstSort);
  const limit = SIZES.includes(Number(place.get('limit'))) ? Number(place.get('limit')) : 20;
  const [paused, setPaused] = useState(false);

  const question = JSON.stringify([path, query ?? {}, wanted, writeSort(sort), limit]);
  // The cursors of the pages before this one; they belong to one question only.
  const [trail, setTrail] = useState<{ question: string; cursors: string[] }>({ question, cursors: [] });
  const cursors = trail.question === question ? trail.cursors : [];

  const change = (values: Record<string, string | undefined>): void =>
    setPlace(
      (before) => {
        const next = new URLSearchParams(before);
        for (const [name, value] of Object.entries(values)) {
          if (value) next.set(name, value);
          else next.delete(name);
        }
        return next;
      },
      { replace: true },
    );

  useEffect(() => {
    if ((place.get('search') ?? '') !== wanted) change({ search: wanted || undefined });
    // Only what was typed moves the address here.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [wanted]);
  // A link into this page may bring another search while it is shown.
  useEffect(() => {
    if (typedAtFirst !== wanted) setTyped(typedAtFirst);
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [typedAtFirst]);

  const answer = useApi<Page<R>>(path, {
    query: { ...query, search: wanted || undefined, sort: writeSort(sort), limit, cursor: cursors.at(-1) },
    live: live && !paused ? LIVE : false,
    keep: true,
  });
  const following = live && !paused;
  const soon = useRef<ReturnType<typeof setTimeout> | null>(null);
  useEffect(() => () => void (soon.current && clearTimeout(soon.current)), []);
  useEvents(following ? (props.events ?? NO_EVENTS) : NO_EVENTS, () => {
    soon.current ??= setTimeout(() => {
      soon.current = null;
      if (!document.hidden) void answer.refetch({ cancelRefetch: false });
    }, Math.max(0, GENTLY - (Date.now() - answer.dataUpdatedAt)));
  });

  const page = answer.data;
  const box = useRef<HTMLDivElement>(null);
  const asked = answer.isPlaceholderData ? null : JSON.stringify([question, cursors.at(-1)]);
  const { rows, gone } = useHeldRows(page?.objects, asked, useAiming(box), rowKey);
  const filtered = wanted !== '' || Object.values(query ?? {}).some((value) => value !== undefined && value !== null && value !== '');

  const summary = !page
    ? ''
    : filtered && page.matched !== null
      ? t('table.matched', { matched: count(page.matched), total: count(page.total) })
      : t('table.total', { total: count(page.total) });

  return (
    <Paper withBorder ref={box}>
      <Group p="sm" gap="sm" justify="space-between" className={parts.bar}>
        <Group gap="sm" style={{ flex: '1 1 auto' }}>
          {search === false ? null : <SearchBox label={search || t('table.search')} value={typed} onChange={setTyped} />}
          {props.filters}
        </Group>
        <Group gap="sm">
          {props.toolbar}
          {live ? <LiveMark paused={paused} busy={answer.isFetching} onToggle={() => setPaused(!paused)} /> : null}
        </Group>
      </Group>
      <Grid
        label={label}
        columns={columns}
        rows={rows}
        gone={gone}
        rowKey={rowKey}
        actions={props.actions}
        sort={sort}
        onSort={(by) => change({ sort: writeSort(nextSort(sort, by)) })}
        error={answer.error}
        onRetry={() => void answer.refetch()}
        stale={answer.isPlaceholderData}
        empty={filtered ? t('table.no-match') : props.empty}
        sortable={(column) => column.sort}
      />
      <Footer
        summary={summary}
        question={asked}
        page={cursors.length + 1}
        size={limit}
        onSize={(size) => change({ limit: String(size) })}
        onPrevious={cursors.length > 0 ? () => setTrail({ question, cursors: cursors.slice(0, -1) }) : undefined}
        onNext={page?.cursor && !answer.isPlaceholderData ? () => setTrail({ question, cursors: [...cursors, page.cursor as string] }) : undefined}
      />
    </Paper>
  );
}
