import { Badge, Button, Group, Paper, Text, Title, UnstyledButton } from '@mantine/core';
import { memo, useState } from 'react';
import { clock, count } from '../../components';
import { useT } from '../../i18n';
import { visible } from '../clients/text';
import { type Entry, KEPT, readable, SHOWN_BYTES } from './session';
import classes from './Tool.module.css';

interface Props {
  name: 'sent' | 'received';
  entries: readonly Entry[];
  onClear: () => void;
}

/** The newest messages of one direction, the newest first. */
export function Messages({ name, entries, onClear }: Props) {
  const t = useT();
  const sent = name === 'sent';
  return (
    <Paper withBorder p="md" component="section" aria-labelledby={`ws-${name}`}>
      <Group justify="space-between" mb="sm">
        <Group gap="xs">
          <Title order={2} size="h5" id={`ws-${name}`}>
            {sent ? t('ws.sent') : t('ws.received')}
          </Title>
          <Badge variant="light" color="gray">
            {count(entries.length)}
          </Badge>
        </Group>
        <Button size="compact-xs" variant="default" disabled={entries.length === 0} aria-label={sent ? t('ws.clearSent') : t('ws.clearReceived')} onClick={onClear}>
          {t('ws.clear')}
        </Button>
      </Group>
      {entries.length === 0 ? (
        <Text size="sm" c="dimmed">
          {sent ? t('ws.noSent') : t('ws.noReceived')}
        </Text>
      ) : (
        // Reached by the keyboard to be scrolled.
        <ol className={classes.messages} tabIndex={0} aria-labelledby={`ws-${name}`}>
          {entries.map((entry) => (
            <Message key={entry.id} entry={entry} />
          ))}
        </ol>
      )}
      {entries.length >= KEPT ? (
        <Text size="xs" c="dimmed" mt="xs">
          {t('ws.listFull', { n: count(KEPT) })}
        </Text>
      ) : null}
    </Paper>
  );
}

const Message = memo(function Message({ entry }: { entry: Entry }) {
  const t = useT();
  const [all, setAll] = useState(false);
  const { text, binary, cut } = readable(entry.payload, all ? Infinity : SHOWN_BYTES);
  const size = entry.payload.length;
  return (
    <li>
      <div className={classes.head}>
        <span className={classes.topic}>{visible(entry.topic)}</span>
        <span className={classes.facts}>
          {entry.retain ? <Badge size="xs" variant="outline">{t('ws.retained')}</Badge> : null}
          <span>
            {t('ws.qos')} {entry.qos}
          </span>
          <time dateTime={new Date(entry.at).toISOString()}>{clock(entry.at, true)}</time>
        </span>
      </div>
      {binary ? (
        <Text size="xs" c="dimmed">
          {t('ws.binary', { n: count(size) })}
        </Text>
      ) : null}
      <div className={classes.payload}>{size === 0 ? t('ws.empty') : text}</div>
      {cut ? (
        <UnstyledButton className={classes.more} onClick={() => setAll(true)}>
          {t('ws.showAll', { n: count(size) })}
        </UnstyledButton>
      ) : null}
    </li>
  );
});
