import { Button, Group, Loader, Modal, Stack, Text } from '@mantine/core';
import { segment } from '../../api/client';
import { ApiError } from '../../api/errors';
import { useApi } from '../../api/hooks';
import { bytes, ErrorNote, TimeText } from '../../components';
import { useT } from '../../i18n';
import { Facts } from '../client/Facts';
import { ClientLink, Name } from '../clients/Name';
import type { RetainedMessage } from '../clients/types';
import { PayloadView } from './PayloadView';

interface Props {
  topic: string | null;
  onClose: () => void;
  onDelete: (topic: string) => void;
}

/** One retained message with its payload. */
export function MessageDialog({ topic, onClose, onDelete }: Props) {
  const t = useT();
  return (
    <Modal opened={topic !== null} onClose={onClose} title={t('retained.message')} size="xl" closeButtonProps={{ 'aria-label': t('common.close') }}>
      {topic === null ? null : <Message topic={topic} onDelete={() => onDelete(topic)} />}
    </Modal>
  );
}

function Message({ topic, onDelete }: { topic: string; onDelete: () => void }) {
  const t = useT();
  const answer = useApi<RetainedMessage>(`retained/${segment(topic)}`, { live: true });
  const message = answer.data;
  if (answer.error) {
    // It was replaced by nothing, or its time was over, while one looked.
    if (answer.error instanceof ApiError && answer.error.status === 404) return <Text role="status">{t('retained.gone')}</Text>;
    if (!message) return <ErrorNote error={answer.error} onRetry={() => void answer.refetch()} />;
  }
  if (!message) return <Loader size="sm" aria-label={t('common.loading')} />;
  return (
    <Stack gap="md">
      <Facts
        facts={[
          [t('topics.topic'), <Name key="t" text={message.topic} />],
          [t('subs.qos'), message.qos],
          [t('retained.size'), bytes(message.payload_size)],
          [t('retained.published-at'), <TimeText key="p" value={message.published_at} />],
          [t('retained.from'), message.from === null ? t('retained.broker') : <ClientLink key="f" id={message.from} />],
          [t('retained.expires'), message.expires_at === null ? t('common.never') : <TimeText key="e" value={message.expires_at} relative />],
        ]}
      />
      {message.payload_base64 === null ? <Text c="dimmed">{t('retained.too-large')}</Text> : <PayloadView base64={message.payload_base64} />}
      <Group justify="flex-end">
        <Button variant="light" color="red" onClick={onDelete}>
          {t('common.delete')}
        </Button>
      </Group>
    </Stack>
  );
}
