import { Button, Group, Paper, Switch, Text, Title } from '@mantine/core';
import { IconDownload, IconX } from '@tabler/icons-react';
import { useState } from 'react';
import { api, segment } from '../../api/client';
import { useAction, useApi } from '../../api/hooks';
import { bytes, ErrorNote } from '../../components';
import { useT } from '../../i18n';
import { fileName, SAVED, SHOWN, type Trace, type TraceLog, wholeLines } from './trace';
import { TraceText } from './TraceText';

/** How often the end of a log is asked for, in milliseconds. */
const EVERY = 2000;

/** The end of a trace's log, as it grows. */
export function LogView({ trace, onClose }: { trace: Trace; onClose: () => void }) {
  const t = useT();
  const [follow, setFollow] = useState(true);
  const path = `traces/${trace.kind}/${segment(trace.name)}/log`;
  const log = useApi<TraceLog>(path, { query: { bytes: SHOWN }, live: follow ? EVERY : false, keep: true });

  const save = useAction<void, TraceLog>({
    run: () => api.get<TraceLog>(path, { bytes: SAVED }),
    changes: [],
    onDone: (all) => download(fileName(trace, new Date()), wholeLines(all)),
  });
  return (
    <Paper withBorder p="md" component="section" aria-labelledby="trace-log">
      <Group justify="space-between" mb="xs" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Title order={2} size="h5" id="trace-log" style={{ overflowWrap: 'anywhere' }}>
            {t('traces.log', { name: trace.name })}
          </Title>
          {log.data ? (
            <Text size="xs" c="dimmed">
              {t('traces.tail', { shown: bytes(Math.min(SHOWN, log.data.size)), size: bytes(log.data.size) })}
            </Text>
          ) : null}
        </div>
        <Group gap="sm">
          <Switch label={t('traces.follow')} checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} />
          <Button
            size="xs"
            variant="default"
            leftSection={<IconDownload size={14} aria-hidden />}
            title={t('traces.downloadHelp')}
            loading={save.isPending}
            onClick={() => save.mutate()}
          >
            {t('traces.download')}
          </Button>
          <Button size="xs" variant="subtle" color="gray" leftSection={<IconX size={14} aria-hidden />} onClick={onClose}>
            {t('common.close')}
          </Button>
        </Group>
      </Group>
      {log.error ? <ErrorNote error={log.error} onRetry={() => void log.refetch()} mb="xs" /> : null}
      <TraceText log={log.data} label={t('traces.log', { name: trace.name })} empty={t('traces.empty')} still={!follow} />
    </Paper>
  );
}

function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/plain;charset=utf-8' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
