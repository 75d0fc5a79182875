import { Badge, Button, Center, Stack, Text } from '@mantine/core';
import { IconRefresh } from '@tabler/icons-react';
import { type InfiniteData, useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api } from '../../api/client';
import { LIVE } from '../../api/hooks';
import { type Column, ErrorNote, LocalTable, PageHeader, TimeText } from '../../components';
import { SearchBox } from '../../components/TableParts';
import { useT } from '../../i18n';
import { Name } from '../clients/Name';
import { visible } from '../clients/text';
import { type Entry, fits, isVia, nextBefore, readable, verdictOf } from './entry';

const LIMIT = 100;
const KEY = ['audit', 'pages'];

export default function Audit() {
  const t = useT();
  const client = useQueryClient();
  const [wanted, setWanted] = useState('');
  const log = useInfiniteQuery<Entry[], Error, InfiniteData<Entry[]>, string[], number | undefined>({
    queryKey: KEY,
    queryFn: ({ pageParam, signal }) => api.get<Entry[]>('audit', { limit: LIMIT, before: pageParam }, signal),
    initialPageParam: undefined,
    getNextPageParam: (last) => nextBefore(last, LIMIT),
    // The first piece follows what happens; whoever reads further back is left in peace.
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 1) > 1 ? false : LIVE),
  });
  const refresh = (): void => {
    client.setQueryData<InfiniteData<Entry[]>>(KEY, (data) => data && { pages: data.pages.slice(0, 1), pageParams: data.pageParams.slice(0, 1) });
    void log.refetch();
  };
  const entries = log.data?.pages.flat();
  const rows = entries?.filter((entry) => fits(entry, wanted));

  const columns: Column<Entry>[] = [
    { key: 'time', header: t('audit.time'), cell: (entry) => <TimeText value={entry.at} /> },
    { key: 'who', header: t('audit.who'), cell: (entry) => <Name text={entry.who} /> },
    { key: 'from', header: t('audit.from'), cell: (entry) => entry.from, mono: true },
    { key: 'via', header: t('audit.via'), cell: (entry) => (isVia(entry.via) ? t(`audit.via.${entry.via}`) : entry.via) },
    { key: 'action', header: t('audit.action'), cell: (entry) => visible(readable(entry.action)), mono: true, wrap: true, width: 320 },
    { key: 'outcome', header: t('audit.outcome'), cell: (entry) => <Outcome outcome={entry.outcome} /> },
  ];
  return (
    <>
      <PageHeader title={t('menu.audit')} text={t('audit.intro')}>
        <Button variant="default" leftSection={<IconRefresh size={16} aria-hidden />} loading={log.isRefetching && !log.isFetchingNextPage && (log.data?.pages.length ?? 0) > 1} onClick={refresh}>
          {t('common.refresh')}
        </Button>
      </PageHeader>
      <Stack gap="sm">
        <LocalTable
          label={t('menu.audit')}
          columns={columns}
          rows={rows}
          rowKey={(entry) => String(entry.seq)}
          error={log.error}
          onRetry={() => void log.refetch()}
          empty={wanted ? t('audit.noneFits') : t('audit.none')}
          size={200}
          filters={<SearchBox label={t('audit.search')} value={wanted} onChange={setWanted} />}
        />
        {log.isFetchNextPageError ? <ErrorNote error={log.error} onRetry={() => void log.fetchNextPage()} /> : null}
        <Center>
          {log.hasNextPage ? (
            <Button variant="default" loading={log.isFetchingNextPage} onClick={() => void log.fetchNextPage()}>
              {t('audit.more')}
            </Button>
          ) : entries && entries.length > 0 ? (
            <Text size="xs" c="dimmed">
              {t('audit.end')}
            </Text>
          ) : null}
        </Center>
      </Stack>
    </>
  );
}

function Outcome({ outcome }: { outcome: string }) {
  const t = useT();
  const verdict = verdictOf(outcome);
  if (verdict === 'unknown') return <>{outcome}</>;
  const color = { ok: 'teal', refused: 'orange', failed: 'red' }[verdict];
  const word = { ok: t('audit.ok'), refused: t('audit.refused'), failed: t('audit.failed') }[verdict];
  return (
    <Badge variant="light" color={color} tt="none">
      {/^ok$/i.test(outcome) ? word : `${word} (${outcome})`}
    </Badge>
  );
}
