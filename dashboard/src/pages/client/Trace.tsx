import { Button, Group, Stack, Text } from '@mantine/core';
import { api, segment } from '../../api/client';
import { useAction, useApi } from '../../api/hooks';
import { bytes, ErrorNote } from '../../components';
import { useT } from '../../i18n';
import { SHOWN, type Trace as Row, type TraceLog } from '../traces/trace';
import { TraceText } from '../traces/TraceText';

/** Starts and stops a trace of the client, and shows its log as it grows. */
export function Trace({ id }: { id: string }) {
  const t = useT();
  const traces = useApi<Row[]>('traces', { live: true });
  const running = traces.data?.find((trace) => trace.kind === 'client' && trace.name === id);
  const log = useApi<TraceLog>(`traces/client/${segment(id)}/log`, { query: { bytes: SHOWN }, live: 2000, enabled: running?.readable === true });
  const start = useAction({ run: () => api.post('traces', { kind: 'client', name: id }), done: t('client.trace-started'), changes: ['traces'] });
  const stop = useAction({ run: () => api.del(`traces/client/${segment(id)}`), done: t('client.trace-stopped'), changes: ['traces'] });

  if (traces.error && !traces.data) return <ErrorNote error={traces.error} onRetry={() => void traces.refetch()} />;
  return (
    <Stack gap="sm">
      <Group justify="space-between" gap="sm">
        <Text size="sm" c="dimmed" style={{ flex: '1 1 16rem' }}>
          {!running ? t('client.trace-text') : running.readable ? t('client.trace-running', { file: running.file }) : t('client.trace-elsewhere', { file: running.file })}
        </Text>
        {running ? (
          <Button size="xs" variant="light" color="red" loading={stop.isPending} onClick={() => stop.mutate()}>
            {t('client.trace-stop')}
          </Button>
        ) : (
          <Button size="xs" variant="light" loading={start.isPending} disabled={!traces.data} onClick={() => start.mutate()}>
            {t('client.trace-start')}
          </Button>
        )}
      </Group>
      {running && log.error && !log.data ? <ErrorNote error={log.error} onRetry={() => void log.refetch()} /> : null}
      {log.data && (running || log.data.text !== '') ? (
        <>
          <TraceText log={log.data} empty={t('client.trace-empty')} label={t('client.trace-log')} />
          <Text size="xs" c="dimmed">
            {log.data.size > SHOWN ? t('client.trace-tail', { shown: bytes(SHOWN), size: bytes(log.data.size) }) : t('client.trace-size', { size: bytes(log.data.size) })}
          </Text>
        </>
      ) : null}
    </Stack>
  );
}
