import { Badge, Paper, SimpleGrid, Skeleton, Stack, Text, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import { ApiError } from '../../api/errors';
import { useApi } from '../../api/hooks';
import type { Overview } from '../../api/types';
import { ErrorNote } from '../../components/ErrorNote';
import { bytes, count, duration, short } from '../../components/format';
import { LocalTable } from '../../components/LocalTable';
import { PageHeader } from '../../components/PageHeader';
import type { Column } from '../../components/table';
import { useT, type PlainKey, type Translate } from '../../i18n';
import { Charts } from './Charts';
import { Metrics } from './Metrics';
import classes from './overview.module.css';

export default function OverviewPage() {
  const t = useT();
  const overview = useApi<Overview>('overview', { live: 5000 });
  const node = overview.data;
  if (!node) {
    return (
      <>
        <PageHeader title={t('menu.overview')} />
        {overview.error ? <ErrorNote error={overview.error} onRetry={() => void overview.refetch()} /> : <Waiting />}
      </>
    );
  }
  return (
    <>
      <PageHeader title={t('menu.overview')} />
      {overview.error && !(overview.error instanceof ApiError && overview.error.unreachable) ? <ErrorNote error={overview.error} onRetry={() => void overview.refetch()} mb="md" /> : null}
      <Stack gap="lg">
        <Cards node={node} />
        <Tiles node={node} />
        <Charts />
        <Nodes node={node} />
        <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="lg">
          <Levels node={node} />
          <Store node={node} />
        </SimpleGrid>
        <Metrics metrics={node.metrics} rates={node.rates} />
      </Stack>
    </>
  );
}

function Waiting() {
  return (
    <Stack gap="lg" aria-hidden>
      {[64, 84, 200, 200].map((height, at) => (
        <Skeleton key={at} height={height} />
      ))}
    </Stack>
  );
}

/** The broker in four facts, as EMQ showed them. */
function Cards({ node }: { node: Overview }) {
  const t = useT();
  const facts: [PlainKey, string][] = [
    ['overview.system-name', node.sysdescr],
    ['overview.version', node.version],
    ['overview.os', node.os],
    ['overview.uptime', duration(node.uptime_seconds)],
    ['overview.system-time', node.datetime],
  ];
  return (
    <Paper withBorder component="dl" className={classes.facts} aria-label={t('overview.broker')}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{t(name)}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </Paper>
  );
}

/** The numbers one looks for first; each leads to its list. */
function Tiles({ node }: { node: Overview }) {
  const t = useT();
  const rate = (name: string): number => node.rates[name] ?? 0;
  const tiles: [PlainKey, string, string, string | undefined][] = [
    ['overview.clients', count(node.stats['clients/count']), t('overview.max', { n: count(node.stats['clients/max']) }), '/clients'],
    ['overview.sessions', count(node.stats['sessions/count']), t('overview.max', { n: count(node.stats['sessions/max']) }), '/sessions'],
    ['overview.subscriptions', count(node.stats['subscriptions/count']), t('overview.max', { n: count(node.stats['subscriptions/max']) }), '/subscriptions'],
    ['overview.messages-in', t('overview.per-second', { n: short(rate('messages/received')) }), bytesPerSecond(rate('bytes/received'), t), undefined],
    ['overview.messages-out', t('overview.per-second', { n: short(rate('messages/sent')) }), bytesPerSecond(rate('bytes/sent'), t), undefined],
    ['overview.alarms', count(node.alarms), node.alarms > 0 ? t('overview.alarms.some') : t('overview.alarms.none'), '/alarms'],
  ];
  return (
    <div className={classes.tiles}>
      {tiles.map(([name, value, more, to]) => {
        const inside: ReactNode = (
          <>
            <span className={classes.tileName}>{t(name)}</span>
            <span className={classes.tileValue}>{value}</span>
            <span className={classes.tileMore}>{more}</span>
          </>
        );
        const alarmed = name === 'overview.alarms' && node.alarms > 0;
        return to ? (
          <Link key={name} href={to} className={classes.tile} data-alarmed={alarmed || undefined}>
            {inside}
          </Link>
        ) : (
          <div key={name} className={classes.tile}>
            {inside}
          </div>
        );
      })}
    </div>
  );
}

function bytesPerSecond(rate: number, t: Translate): string {
  return t('overview.per-second', { n: bytes(rate) });
}

function Nodes({ node }: { node: Overview }) {
  const t = useT();
  const columns: Column<Overview>[] = [
    { key: 'name', header: t('overview.name'), cell: (row) => row.node, mono: true },
    { key: 'status', header: t('overview.status'), cell: () => <Badge variant="light" color="teal" size="sm">{t('overview.running')}</Badge> },
    { key: 'loops', header: t('overview.loops'), cell: (row) => t('overview.of', { used: row.event_loops, total: row.cores }) },
    { key: 'cpu', header: t('overview.cpu'), cell: (row) => `${short(row.cpu_percent)} %` },
    { key: 'load', header: t('overview.load'), cell: (row) => (row.load.length > 0 ? row.load.map((load) => load.toFixed(2)).join(' / ') : '–') },
    { key: 'memory', header: t('overview.memory'), cell: (row) => `${bytes(row.memory.rss)} / ${bytes(row.memory.total)}` },
    { key: 'fds', header: t('overview.fds'), cell: (row) => `${count(row.fds.used)} / ${count(row.fds.max)}` },
  ];
  return (
    <section aria-labelledby="nodes">
      <Title order={2} size="h5" mb="xs" id="nodes">
        {t('overview.nodes')}
      </Title>
      <LocalTable label={t('overview.nodes')} columns={columns} rows={[node]} rowKey={(row) => row.node} />
    </section>
  );
}

interface Level {
  name: PlainKey;
  count: number | undefined;
  max: number | undefined;
}

function Levels({ node }: { node: Overview }) {
  const t = useT();
  const level = (name: PlainKey, key: string): Level => ({ name, count: node.stats[`${key}/count`], max: node.stats[`${key}/max`] });
  const rows = [
    level('overview.clients', 'clients'),
    level('overview.sessions', 'sessions'),
    level('overview.topics', 'topics'),
    level('overview.routes', 'routes'),
    level('overview.subscribers', 'subscribers'),
    level('overview.subscriptions', 'subscriptions'),
    level('overview.retained', 'retained'),
  ].filter((row) => row.count !== undefined);
  const columns: Column<Level>[] = [
    { key: 'name', header: t('overview.name'), cell: (row) => t(row.name) },
    { key: 'count', header: t('overview.count'), cell: (row) => count(row.count), align: 'right' },
    { key: 'max', header: t('overview.maximum'), cell: (row) => count(row.max), align: 'right' },
  ];
  return (
    <section aria-labelledby="stats">
      <Title order={2} size="h5" mb="xs" id="stats">
        {t('overview.stats')}
      </Title>
      <LocalTable label={t('overview.stats')} columns={columns} rows={rows} rowKey={(row) => row.name} />
    </section>
  );
}

function Store({ node }: { node: Overview }) {
  const t = useT();
  const store = node.store;
  const facts: [PlainKey, ReactNode][] = store
    ? [
        ['overview.store.state', <StoreState key="s" state={store.state} />],
        ['overview.store.bytes', bytes(store.bytes)],
        ['overview.store.live', bytes(store.live_bytes)],
        ['overview.store.owed', count(store.owed)],
        ['overview.store.syncs', count(store.syncs)],
        ['overview.store.sync-time', t('overview.ms', { n: `${short(store.sync_p50_ms)} / ${short(store.sync_p99_ms)}` })],
      ]
    : [];
  return (
    <section aria-labelledby="store">
      <Title order={2} size="h5" mb="xs" id="store">
        {t('overview.store')}
      </Title>
      <Paper withBorder>
        {store ? (
          <dl className={classes.pairs}>
            {facts.map(([name, value]) => (
              <div key={name}>
                <dt>{t(name)}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        ) : (
          <Text size="sm" c="dimmed" p="md">
            {t('overview.store.off')}
          </Text>
        )}
        {store?.error ? (
          <Text size="sm" c="red" px="sm" pb="sm" style={{ overflowWrap: 'anywhere' }}>
            {store.error}
          </Text>
        ) : null}
      </Paper>
    </section>
  );
}

function StoreState({ state }: { state: string }) {
  const t = useT();
  const known: Record<string, [PlainKey, string]> = {
    good: ['overview.store.good', 'teal'],
    behind: ['overview.store.behind', 'orange'],
    full: ['overview.store.full', 'red'],
    failing: ['overview.store.failing', 'red'],
  };
  const [key, color] = known[state] ?? [undefined, 'gray'];
  return (
    <Badge variant="light" color={color} size="sm">
      {key ? t(key) : state}
    </Badge>
  );
}
