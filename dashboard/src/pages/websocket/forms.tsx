import { ActionIcon, Alert, Button, Checkbox, Group, NativeSelect, Paper, Text, Textarea, TextInput, Title } from '@mantine/core';
import { IconX } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import { useT } from '../../i18n';
import { visible } from '../clients/text';
import { filterFault, type Qos, topicFault } from './session';
import { type State, tool } from './tool';
import classes from './Tool.module.css';
import { useNote } from './words';

const QOS = ['0', '1', '2'];

export function SubscribeForm({ state }: { state: State }) {
  const t = useT();
  const say = useNote();
  const [filter, setFilter] = useState('/World');
  const [qos, setQos] = useState<Qos>(0);
  const [tried, setTried] = useState(false);
  const ready = state.phase === 'connected';
  const fault = filterFault(filter);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (!fault && ready) tool.subscribe(filter, qos);
  };
  const { note } = state;
  return (
    <Paper withBorder p="md" component="section" aria-labelledby="ws-subscribe">
      <Title order={2} size="h5" mb="sm" id="ws-subscribe">
        {t('ws.subscriptions')}
      </Title>
      <form onSubmit={submit} noValidate>
        <Group align="flex-start" gap="sm">
          <TextInput
            label={t('ws.topic')}
            aria-label={t('ws.subTopic')}
            value={filter}
            onChange={(event) => setFilter(event.currentTarget.value)}
            error={tried && fault ? t(`ws.fault.${fault}`) : undefined}
            autoComplete="off"
            spellCheck={false}
            style={{ flex: '1 1 140px' }}
          />
          <NativeSelect label={t('ws.qos')} aria-label={t('ws.subQos')} value={String(qos)} onChange={(event) => setQos(Number(event.currentTarget.value) as Qos)} data={QOS} w={72} />
          <Button type="submit" mt={24} disabled={!ready} title={ready ? undefined : t('ws.needConnection')}>
            {t('ws.subscribe')}
          </Button>
        </Group>
      </form>
      <div aria-live="polite">
        {note && note.kind !== 'pubRefused' ? (
          <Text size="sm" mt="xs" c={note.kind === 'subRefused' ? 'red' : 'dimmed'} role={note.kind === 'subRefused' ? 'alert' : undefined} style={{ overflowWrap: 'anywhere' }}>
            {say(note)}
          </Text>
        ) : null}
      </div>
      {state.subscriptions.length === 0 ? (
        <Text size="sm" c="dimmed" mt="sm">
          {t('ws.noSubscriptions')}
        </Text>
      ) : (
        <ul className={classes.subscriptions}>
          {state.subscriptions.map((one) => (
            <li key={one.filter}>
              <span className={classes.topic}>{visible(one.filter)}</span>
              <Text span size="xs" c="dimmed">
                {t('ws.qos')} {one.qos}
              </Text>
              <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t('ws.unsubscribe', { topic: one.filter })} onClick={() => tool.unsubscribe(one.filter)}>
                <IconX size={15} />
              </ActionIcon>
            </li>
          ))}
        </ul>
      )}
    </Paper>
  );
}

export function PublishForm({ state }: { state: State }) {
  const t = useT();
  const say = useNote();
  const [topic, setTopic] = useState('/World');
  const [payload, setPayload] = useState('Hello world!');
  const [qos, setQos] = useState<Qos>(0);
  const [retain, setRetain] = useState(false);
  const [tried, setTried] = useState(false);
  const ready = state.phase === 'connected';
  const fault = topicFault(topic);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (!fault && ready) tool.publish(topic, payload, qos, retain);
  };
  return (
    <Paper withBorder p="md" component="section" aria-labelledby="ws-publish">
      <Title order={2} size="h5" mb="sm" id="ws-publish">
        {t('ws.publish')}
      </Title>
      <form onSubmit={submit} noValidate>
        <Group align="flex-start" gap="sm">
          <TextInput
            label={t('ws.topic')}
            aria-label={t('ws.pubTopic')}
            value={topic}
            onChange={(event) => setTopic(event.currentTarget.value)}
            error={tried && fault ? t(`ws.fault.${fault}`) : undefined}
            autoComplete="off"
            spellCheck={false}
            style={{ flex: '1 1 140px' }}
          />
          <NativeSelect label={t('ws.qos')} aria-label={t('ws.pubQos')} value={String(qos)} onChange={(event) => setQos(Number(event.currentTarget.value) as Qos)} data={QOS} w={72} />
        </Group>
        <Textarea label={t('ws.payload')} value={payload} onChange={(event) => setPayload(event.currentTarget.value)} autosize minRows={2} maxRows={10} mt="xs" spellCheck={false} />
        <Group mt="sm" justify="space-between">
          <Checkbox label={t('ws.retain')} checked={retain} onChange={(event) => setRetain(event.currentTarget.checked)} />
          <Button type="submit" disabled={!ready} title={ready ? undefined : t('ws.needConnection')}>
            {t('ws.publish')}
          </Button>
        </Group>
      </form>
      {state.note?.kind === 'pubRefused' ? (
        <Alert color="red" variant="light" role="alert" mt="sm" py="xs">
          {say(state.note)}
        </Alert>
      ) : null}
    </Paper>
  );
}
