import { Button, Group, NativeSelect, Text, TextInput } from '@mantine/core';
import { useState, type FormEvent } from 'react';
import { api } from '../../api/client';
import { useAction } from '../../api/hooks';
import { LocalTable, type Column } from '../../components';
import { useT } from '../../i18n';
import { Name } from '../clients/Name';
import { visible } from '../clients/text';
import type { SubscriptionRow } from '../clients/types';
import { Share } from '../subscriptions/Share';
import { fullFilter, isTopicFilter } from '../subscriptions/topic';
import { useUnsubscribe } from '../subscriptions/unsubscribe';

/** What a client has subscribed to; more can be added, and each taken away. */
export function Subscriptions({ id, rows }: { id: string; rows: SubscriptionRow[] }) {
  const t = useT();
  const unsubscribe = useUnsubscribe();
  const columns: Column<SubscriptionRow>[] = [
    { key: 'topic', header: t('topics.topic'), cell: (s) => <Name text={s.topic} />, value: (s) => s.topic, mono: true },
    { key: 'qos', header: t('subs.qos'), cell: (s) => s.qos, value: (s) => s.qos, align: 'right' },
    { key: 'share', header: t('subs.share'), cell: (s) => <Share row={s} />, value: (s) => s.share },
  ];
  return (
    <LocalTable
      label={t('menu.subscriptions')}
      columns={columns}
      rows={rows}
      rowKey={fullFilter}
      sort="topic"
      size={20}
      empty={t('client.no-subscriptions')}
      filters={<Subscribe id={id} />}
      actions={(s) => (
        <Button
          size="compact-xs"
          variant="light"
          color="red"
          aria-label={t('subs.remove-name', { name: visible(id), topic: visible(fullFilter(s)) })}
          onClick={() => void unsubscribe.ask(s)}
        >
          {t('subs.remove')}
        </Button>
      )}
    />
  );
}

function Subscribe({ id }: { id: string }) {
  const t = useT();
  const [topic, setTopic] = useState('');
  const [qos, setQos] = useState('0');
  const [tried, setTried] = useState(false);
  const subscribe = useAction({
    run: (body: { client_id: string; topic: string; qos: number }) => api.post('mqtt/subscribe', body),
    done: (_, body) => t('subs.added', { topic: visible(body.topic) }),
    changes: ['search', 'clients', 'subscriptions', 'sessions', 'overview'],
    onDone: () => {
      setTopic('');
      setTried(false);
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (isTopicFilter(topic)) subscribe.mutate({ client_id: id, topic, qos: Number(qos) });
  };
  const wrong = tried && !isTopicFilter(topic);
  return (
    <form onSubmit={submit} noValidate style={{ flex: '1 1 auto' }}>
      <Group gap="sm" align="flex-end">
        <TextInput
          size="xs"
          label={t('client.subscribe-topic')}
          placeholder={t('client.subscribe-hint')}
          value={topic}
          onChange={(event) => setTopic(event.currentTarget.value)}
          error={wrong}
          aria-describedby={wrong ? 'subscribe-error' : undefined}
          autoComplete="off"
          spellCheck={false}
          style={{ flex: '1 1 200px', maxWidth: 360 }}
        />
        <NativeSelect size="xs" w={80} label={t('subs.qos')} value={qos} data={['0', '1', '2']} onChange={(event) => setQos(event.currentTarget.value)} />
        <Button size="xs" type="submit" variant="light" loading={subscribe.isPending}>
          {t('client.subscribe')}
        </Button>
      </Group>
      {wrong ? (
        <Text id="subscribe-error" size="xs" c="var(--mantine-color-error)" mt={4} role="alert">
          {t('subs.filter-wrong')}
        </Text>
      ) : null}
    </form>
  );
}
