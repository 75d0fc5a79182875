import { Button, Group, Modal, NativeSelect, Stack, Textarea, TextInput } from '@mantine/core';
import { useState, type FormEvent } from 'react';
import { api } from '../../api/client';
import { useAction } from '../../api/hooks';
import { useT } from '../../i18n';
import { visible } from '../clients/text';
import { isTopicName } from '../subscriptions/topic';

interface Props {
  opened: boolean;
  onClose: () => void;
}

/** Publishes a message that is retained. */
export function PublishDialog({ opened, onClose }: Props) {
  const t = useT();
  return (
    <Modal opened={opened} onClose={onClose} title={t('retained.publish-title')} size="lg" closeButtonProps={{ 'aria-label': t('common.close') }}>
      <PublishForm onClose={onClose} />
    </Modal>
  );
}

function PublishForm({ onClose }: { onClose: () => void }) {
  const t = useT();
  const [topic, setTopic] = useState('');
  const [payload, setPayload] = useState('');
  const [qos, setQos] = useState('0');
  const [tried, setTried] = useState(false);
  const publish = useAction({
    run: (body: { topic: string; payload: string; qos: number; retain: boolean }) => api.post('mqtt/publish', body),
    done: (_, body) => t('retained.published', { topic: visible(body.topic) }),
    changes: ['search', 'retained', 'overview'],
    onDone: onClose,
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (isTopicName(topic) && payload !== '') publish.mutate({ topic, payload, qos: Number(qos), retain: true });
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack gap="sm">
        <TextInput
          label={t('topics.topic')}
          value={topic}
          onChange={(event) => setTopic(event.currentTarget.value)}
          error={tried && !isTopicName(topic) ? t('subs.name-wrong') : null}
          autoComplete="off"
          spellCheck={false}
          data-autofocus
        />
        <Textarea
          label={t('retained.payload')}
          value={payload}
          onChange={(event) => setPayload(event.currentTarget.value)}
          error={tried && payload === '' ? t('retained.payload-empty') : null}
          rows={6}
          spellCheck={false}
          styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } }}
        />
        <NativeSelect label={t('subs.qos')} w={100} value={qos} data={['0', '1', '2']} onChange={(event) => setQos(event.currentTarget.value)} />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={publish.isPending}>
            {t('retained.publish')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
