import { Alert, Badge, Button, Group, Input, Paper, SegmentedControl, Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useSearchParams } from 'wouter';
import { api, segment } from '../../api/client';
import { words } from '../../api/errors';
import { useAction, useApi } from '../../api/hooks';
import { bytes, type Column, confirm, LocalTable, PageHeader } from '../../components';
import { useT } from '../../i18n';
import { Name } from '../clients/Name';
import { LogView } from './LogView';
import type { Kind, Trace } from './trace';

const same = (a: Pick<Trace, 'kind' | 'name'>, b: Pick<Trace, 'kind' | 'name'>): boolean => a.kind === b.kind && a.name === b.name;

export default function Traces() {
  const t = useT();
  const traces = useApi<Trace[]>('traces', { live: true });
  const [shown, setShown] = useState<Pick<Trace, 'kind' | 'name'> | null>(null);
  const stop = useAction<Trace>({
    run: (trace) => api.del(`traces/${trace.kind}/${segment(trace.name)}`),
    done: (_, trace) => t('traces.stopped', { name: trace.name }),
    changes: ['traces'],
    onDone: (_, trace) => setShown((now) => (now && same(now, trace) ? null : now)),
  });
  const ask = async (trace: Trace): Promise<void> => {
    const title = t('traces.stopTitle', { name: trace.name });
    if (await confirm({ title, text: t('traces.stopText', { file: trace.file }), action: t('traces.stop') })) stop.mutate(trace);
  };

  const columns: Column<Trace>[] = [
    {
      key: 'kind',
      header: t('traces.kind'),
      value: (trace) => trace.kind,
      cell: (trace) => (
        <Badge variant="light" color="gray">
          {trace.kind === 'client' ? t('traces.client') : t('traces.topic')}
        </Badge>
      ),
    },
    { key: 'name', header: t('traces.name'), value: (trace) => trace.name, cell: (trace) => <Name text={trace.name} />, mono: true },
    { key: 'file', header: t('traces.file'), value: (trace) => trace.file, cell: (trace) => trace.file, mono: true },
    { key: 'size', header: t('traces.size'), value: (trace) => trace.size, cell: (trace) => bytes(trace.size), align: 'right' },
  ];
  const running = shown && traces.data?.find((trace) => same(trace, shown));
  return (
    <>
      <PageHeader title={t('menu.traces')} text={t('traces.intro')} />
      <Stack gap="md">
        <StartForm onStarted={setShown} />
        <LocalTable
          label={t('menu.traces')}
          columns={columns}
          rows={traces.data}
          rowKey={(trace) => `${trace.kind} ${trace.name}`}
          error={traces.error}
          onRetry={() => void traces.refetch()}
          empty={t('traces.none')}
          actions={(trace) => (
            <>
              {!trace.readable ? (
                <Text size="xs" c="dimmed" maw={240} style={{ whiteSpace: 'normal' }}>
                  {t('traces.elsewhere')}
                </Text>
              ) : (
                <Button
                  size="compact-xs"
                  variant="default"
                  aria-label={t('traces.showName', { name: trace.name })}
                  onClick={() => setShown(trace)}
                >
                  {t('traces.show')}
                </Button>
              )}
              <Button
                size="compact-xs"
                variant="light"
                color="red"
                aria-label={t('traces.stopName', { name: trace.name })}
                loading={stop.isPending && same(stop.variables, trace)}
                onClick={() => void ask(trace)}
              >
                {t('traces.stop')}
              </Button>
            </>
          )}
        />
        {running ? <LogView key={`${running.kind} ${running.name}`} trace={running} onClose={() => setShown(null)} /> : null}
      </Stack>
    </>
  );
}

function StartForm({ onStarted }: { onStarted: (trace: Trace) => void }) {
  const t = useT();
  // A client's page links here with its name filled in.
  const [place] = useSearchParams();
  const [kind, setKind] = useState<Kind>(place.get('kind') === 'topic' ? 'topic' : 'client');
  const [name, setName] = useState(place.get('name') ?? '');
  const [tried, setTried] = useState(false);
  const start = useAction<void, Trace>({
    run: () => api.post<Trace>('traces', { kind, name }),
    done: () => t('traces.started', { name }),
    changes: ['traces'],
    quiet: true,
    onDone: (trace) => {
      setName('');
      setTried(false);
      onStarted(trace);
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (name !== '') start.mutate();
  };
  return (
    <Paper withBorder p="md">
      <form onSubmit={submit} noValidate>
        <Group align="flex-start" gap="sm">
          <Input.Wrapper labelElement="div" label={t('traces.kind')} labelProps={{ id: 'trace-kind' }}>
            <SegmentedControl
              display="flex"
              aria-labelledby="trace-kind"
              value={kind}
              onChange={(value) => setKind(value as Kind)}
              data={[
                { value: 'client', label: t('traces.client') },
                { value: 'topic', label: t('traces.topic') },
              ]}
            />
          </Input.Wrapper>
          <TextInput
            label={kind === 'client' ? t('traces.clientName') : t('traces.topicName')}
            value={name}
            onChange={(event) => {
              setName(event.currentTarget.value);
              start.reset();
            }}
            error={tried && name === '' ? t('traces.fault.name') : undefined}
            autoComplete="off"
            spellCheck={false}
            style={{ flex: '1 1 220px' }}
          />
          <Button type="submit" loading={start.isPending} mt={24}>
            {t('traces.start')}
          </Button>
        </Group>
        {start.error ? (
          <Alert color="red" variant="light" role="alert" mt="sm" py="xs">
            {words(start.error)}
          </Alert>
        ) : null}
        <Text size="xs" c="dimmed" mt="xs">
          {t('traces.privacy')}
        </Text>
      </form>
    </Paper>
  );
}
