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

/** What both forms begin with: where to, and how surely. `faultOf` says why it cannot be that. */
function useDraft<F extends string>(faultOf: (topic: string) => F | undefined, ready: boolean) {
  const [topic, setTopic] = useState('/World');
  const [qos, setQos] = useState<Qos>(0);
  const [tried, setTried] = useState(false);
  const fault = faultOf(topic);
  /** Handles a form: `act` is done if nothing is wrong. */
  const submits = (act: () => void) => (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (!fault && ready) act();
  };
  return { topic, setTopic, qos, setQos, fault: tried ? fault : undefined, submits };
}

interface DraftProps {
  draft: ReturnType<typeof useDraft<'topicMissing' | 'topicWildcard' | 'filterWrong'>>;
  /** Names for who does not see which form it is. */
  names: [topic: string, qos: string];
}

function DraftFields({ draft, names }: DraftProps) {
  const t = useT();
  return (
    <>
      <TextInput
        label={t('ws.topic')}
        aria-label={names[0]}
        value={draft.topic}
        onChange={(event) => draft.setTopic(event.currentTarget.value)}
        error={draft.fault ? t(`ws.fault.${draft.fault}`) : undefined}
        autoComplete="off"
        spellCheck={false}
        style={{ flex: '1 1 140px' }}
      />
      <NativeSelect label={t('ws.qos')} aria-label={names[1]} value={String(draft.qos)} onChange={(event) => draft.setQos(Number(event.currentTarget.value) as Qos)} data={QOS} w={72} />
    </>
  );
}

export function SubscribeForm({ state }: { state: State }) {
  const t = useT();
  const say = useNote();
  const ready = state.phase === 'connected';
  const draft = useDraft(filterFault, ready);
  const { note } = state;
  return (
    <Paper withBorder p="md" component="section" aria-labelledby="ws-subscribe">
      <Title order={2} size="h5" mb="sm" id="ws-subscribe">
        {t('ws.subscriptions')}
      </Title>
      <form onSubmit={draft.submits(() => tool.subscribe(draft.topic, draft.qos))} noValidate>
        <Group align="flex-start" gap="sm">
          <DraftFields draft={draft} names={[t('ws.subTopic'), t('ws.subQos')]} />
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
  const [payload, setPayload] = useState('Hello world!');
  const [retain, setRetain] = useState(false);
  const ready = state.phase === 'connected';
  const draft = useDraft(topicFault, ready);
  return (
    <Paper withBorder p="md" component="section" aria-labelledby="ws-publish">
      <Title order={2} size="h5" mb="sm" id="ws-publish">
        {t('ws.publish')}
      </Title>
      <form onSubmit={draft.submits(() => tool.publish(draft.topic, payload, draft.qos, retain))} noValidate>
        <Group align="flex-start" gap="sm">
          <DraftFields draft={draft} names={[t('ws.pubTopic'), t('ws.pubQos')]} />
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
