import { Alert, Badge, Button, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { api, segment } from '../../api/client';
import { ApiError, words } from '../../api/errors';
import { useEvents } from '../../api/events';
import { useAction, useApi } from '../../api/hooks';
import { type Column, confirm, count, LocalTable, PageHeader } from '../../components';
import { useT } from '../../i18n';
import { type Listener, nameOf, used } from './listener';

type State = 'running' | 'stopped' | 'restarted';

interface Wish {
  listener: Listener;
  state: State;
  /** Also if this page came by it. */
  force: boolean;
}

export default function Listeners() {
  const t = useT();
  const listeners = useApi<Listener[]>('listeners', { live: true });
  const client = useQueryClient();
  useEvents(['listeners'], () => void client.invalidateQueries({ queryKey: ['listeners'] }));
  const all = listeners.data ?? [];
  const said = { running: 'listeners.started', stopped: 'listeners.stoppedNow', restarted: 'listeners.restarted' } as const;

  const action = useAction<Wish>({
    run: ({ listener, state, force }) =>
      api.put(`listeners/${segment(listener.protocol)}/${segment(listener.listen)}`, { state }, force ? { force } : undefined),
    done: (_, { listener, state }) => t(said[state], { name: nameOf(listener) }),
    changes: ['listeners', 'clients', 'search'],
    quiet: true,
  });

  const isUsed = (listener: Listener) => used(listener, window.location, all);
  const act = async (listener: Listener, state: State): Promise<void> => {
    const own = isUsed(listener);
    if (state !== 'running' && !(await ask(listener, state, own))) return;
    try {
      await action.mutateAsync({ listener, state, force: own === 'yes' });
    } catch (error) {
      // Only the broker knows for sure by which listener the request came.
      if (error instanceof ApiError && error.status === 409 && own !== 'yes' && state !== 'running') {
        if (await ask(listener, state, 'yes')) action.mutate({ listener, state, force: true }, { onError: tell });
      } else tell(error);
    }
  };
  const tell = (error: unknown): void => {
    notifications.show({ message: words(error), color: 'red', autoClose: 8000 });
  };
  const ask = (listener: Listener, state: State, own: 'yes' | 'maybe' | 'no'): Promise<boolean> => {
    const name = nameOf(listener);
    const stopping = state === 'stopped';
    const ends =
      listener.current_clients > 0 ? t('listeners.stopText', { n: listener.current_clients }) : t('listeners.stopTextNone');
    return confirm({
      title: stopping ? t('listeners.stopTitle', { name }) : t('listeners.restartTitle', { name }),
      text: (
        <Stack gap="sm">
          <Text size="sm">{stopping ? ends : t('listeners.restartText')}</Text>
          {own === 'no' ? null : (
            <Alert color="orange" variant="light" icon={<IconAlertTriangle size={18} />} title={own === 'yes' ? t('listeners.ownTitle') : undefined}>
              {own === 'maybe' ? t('listeners.ownMay') : stopping ? t('listeners.ownStop') : t('listeners.ownRestart')}
            </Alert>
          )}
        </Stack>
      ),
      action: own === 'yes' && stopping ? t('listeners.anyway') : stopping ? t('listeners.stop') : t('listeners.restart'),
    });
  };

  const columns: Column<Listener>[] = [
    {
      key: 'protocol',
      header: t('listeners.protocol'),
      value: (one) => one.protocol,
      cell: (one) => (
        <Stack gap={2} align="flex-start">
          {one.protocol}
          {isUsed(one) === 'yes' ? (
            <Badge size="xs" variant="outline">
              {t('listeners.used')}
            </Badge>
          ) : null}
        </Stack>
      ),
    },
    { key: 'listen', header: t('listeners.listen'), value: (one) => one.listen, cell: (one) => one.listen, mono: true },
    {
      key: 'state',
      header: t('listeners.state'),
      value: (one) => (one.running ? 1 : 0),
      cell: (one) => (
        <Badge variant="light" color={one.running ? 'teal' : 'gray'}>
          {one.running ? t('listeners.running') : t('listeners.stopped')}
        </Badge>
      ),
    },
    { key: 'acceptors', header: t('listeners.acceptors'), value: (one) => one.acceptors, cell: (one) => count(one.acceptors), align: 'right' },
    { key: 'max', header: t('listeners.max'), value: (one) => one.max_clients, cell: (one) => count(one.max_clients), align: 'right' },
    { key: 'current', header: t('listeners.current'), value: (one) => one.current_clients, cell: (one) => count(one.current_clients), align: 'right' },
    {
      key: 'shutdown',
      header: t('listeners.shutdown'),
      cell: (one) => <Shutdowns counts={one.shutdown_count} />,
      wrap: true,
    },
  ];

  const busy = (one: Listener): boolean => action.isPending && nameOf(action.variables.listener) === nameOf(one);
  return (
    <>
      <PageHeader title={t('menu.listeners')} text={t('listeners.intro')} />
      <LocalTable
        label={t('menu.listeners')}
        columns={columns}
        rows={listeners.data}
        rowKey={nameOf}
        error={listeners.error}
        onRetry={() => void listeners.refetch()}
        empty={t('listeners.none')}
        actions={(one) =>
          one.running ? (
            <>
              <Button size="compact-xs" variant="default" loading={busy(one)} aria-label={t('listeners.restartName', { name: nameOf(one) })} onClick={() => void act(one, 'restarted')}>
                {t('listeners.restart')}
              </Button>
              <Button size="compact-xs" variant="light" color="red" loading={busy(one)} aria-label={t('listeners.stopName', { name: nameOf(one) })} onClick={() => void act(one, 'stopped')}>
                {t('listeners.stop')}
              </Button>
            </>
          ) : (
            <Button size="compact-xs" variant="light" loading={busy(one)} aria-label={t('listeners.startName', { name: nameOf(one) })} onClick={() => void act(one, 'running')}>
              {t('listeners.start')}
            </Button>
          )
        }
      />
    </>
  );
}

/** How connections ended, the most frequent first. */
function Shutdowns({ counts }: { counts: Record<string, number> }) {
  const t = useT();
  const reasons = Object.entries(counts).sort(([, a], [, b]) => b - a);
  if (reasons.length === 0) {
    return (
      <Text span size="xs" c="dimmed">
        {t('listeners.noneEnded')}
      </Text>
    );
  }
  return (
    <Text span size="xs" title={t('listeners.shutdownHelp')}>
      {reasons.map(([reason, times]) => `${reason}: ${count(times)}`).join(', ')}
    </Text>
  );
}
