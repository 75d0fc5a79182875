import { Button, Group, Stack, Text } from '@mantine/core';
import { api, segment } from '../../api/client';
import { useAction, useApi } from '../../api/hooks';
import { bytes, confirm, count, LocalTable, TimeText, type Column } from '../../components';
import { useT } from '../../i18n';
import { ClientLink, Name } from '../clients/Name';
import { visible } from '../clients/text';
import type { Queue as Answer, QueuedMessage } from '../clients/types';
import { stateText } from './state';

/** Messages of each kind that are asked for. */
const SHOWN = 100;

/** What a session is still to send: in flight and waiting. */
export function Queue({ id }: { id: string }) {
  const t = useT();
  const queue = useApi<Answer>(`sessions/${segment(id)}/queue`, { query: { limit: SHOWN }, live: 3000 });
  const clear = useAction({
    run: () => api.del(`sessions/${segment(id)}/queue`),
    done: t('client.queue-cleared'),
    changes: ['sessions', 'clients', 'search'],
  });
  const ask = async (): Promise<void> => {
    const text = t('client.queue-clear-text', { name: visible(id), n: queue.data?.waiting_len ?? 0 });
    if (await confirm({ title: t('client.queue-clear-title'), text, action: t('client.queue-clear') })) clear.mutate();
  };
  const columns = (flying: boolean): Column<QueuedMessage>[] => [
    ...(flying
      ? [
          { key: 'packet_id', header: t('client.packet-id'), cell: (m: QueuedMessage) => m.packet_id ?? '–', align: 'right' as const },
          { key: 'state', header: t('client.state'), cell: (m: QueuedMessage) => stateText(m.state, t) },
        ]
      : []),
    { key: 'topic', header: t('topics.topic'), cell: (m) => (m.topic === null ? '–' : <Name text={m.topic} />), mono: true },
    { key: 'qos', header: t('subs.qos'), cell: (m) => m.qos ?? '–', align: 'right' },
    { key: 'size', header: t('retained.size'), cell: (m) => bytes(m.payload_size), align: 'right' },
    { key: 'from', header: t('retained.from'), cell: (m) => (m.from === null ? '–' : <ClientLink id={m.from} />), mono: true },
    { key: 'at', header: t('client.age'), cell: (m) => (m.at === null ? '–' : <TimeText value={m.at} relative />) },
  ];
  const data = queue.data;
  const numbered = (rows: QueuedMessage[] | undefined) => rows?.map((row, place) => ({ ...row, place }));
  const counted = (shown: number, all: number) => (shown < all ? t('client.queue-part', { shown: count(shown), all: count(all) }) : count(all));

  return (
    <Stack gap="md">
      <div>
        <Text component="h3" size="sm" fw={600} mb={6}>
          {t('client.inflight')} {data ? `· ${counted(data.inflight.length, data.inflight_len)}` : ''}
        </Text>
        <LocalTable
          label={t('client.inflight')}
          columns={columns(true)}
          rows={numbered(data?.inflight)}
          rowKey={(m) => `${m.packet_id ?? ''}-${m.place}`}
          size={10}
          error={queue.error}
          onRetry={() => void queue.refetch()}
          empty={t('client.inflight-none')}
        />
      </div>
      <div>
        <Group justify="space-between" mb={6}>
          <Text component="h3" size="sm" fw={600}>
            {t('client.waiting')} {data ? `· ${counted(data.waiting.length, data.waiting_len)}` : ''}
            {data && data.on_disk > 0 ? (
              <Text span size="sm" c="dimmed" ml="xs">
                {t('client.on-disk', { n: count(data.on_disk) })}
              </Text>
            ) : null}
          </Text>
          <Button size="xs" variant="light" color="red" disabled={!data || data.waiting_len === 0} loading={clear.isPending} onClick={() => void ask()}>
            {t('client.queue-clear')}
          </Button>
        </Group>
        <LocalTable
          label={t('client.waiting')}
          columns={columns(false)}
          rows={numbered(data?.waiting)}
          rowKey={(m) => `${m.at}-${m.place}`}
          size={10}
          empty={t('client.waiting-none')}
        />
      </div>
    </Stack>
  );
}
