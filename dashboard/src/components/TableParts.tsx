import { ActionIcon, Group, NativeSelect, Text, TextInput, Tooltip } from '@mantine/core';
import { IconChevronLeft, IconChevronRight, IconPlayerPause, IconPlayerPlay, IconSearch, IconX } from '@tabler/icons-react';
import { useRef } from 'react';
import { useT } from '../i18n';
import classes from './TableParts.module.css';

export function SearchBox({ label, value, onChange }: { label: string; value: string; onChange: (text: string) => void }) {
  const t = useT();
  return (
    <TextInput
      type="search"
      aria-label={label}
      placeholder={label}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      leftSection={<IconSearch size={15} aria-hidden />}
      rightSection={
        value ? (
          <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t('table.clear-search')} onClick={() => onChange('')}>
            <IconX size={14} />
          </ActionIcon>
        ) : null
      }
      className={classes.search}
      autoComplete="off"
      spellCheck={false}
    />
  );
}

/** Says that the rows follow the broker, and lets them be held still. */
export function LiveMark({ paused, busy, onToggle }: { paused: boolean; busy: boolean; onToggle: () => void }) {
  const t = useT();
  const does = paused ? t('table.resume') : t('table.pause');
  return (
    <Group gap={6} wrap="nowrap" className={classes.live}>
      <span className={classes.dot} data-paused={paused || undefined} data-busy={busy || undefined} aria-hidden />
      <Text size="xs" c="dimmed">
        {paused ? t('table.paused') : t('table.live')}
      </Text>
      <Tooltip label={does}>
        <ActionIcon variant="subtle" color="gray" size="sm" aria-label={does} onClick={onToggle}>
          {paused ? <IconPlayerPlay size={14} /> : <IconPlayerPause size={14} />}
        </ActionIcon>
      </Tooltip>
    </Group>
  );
}

/** Rows on a page. */
export const SIZES = [10, 20, 50, 100, 200];

interface FooterProps {
  summary: string;
  /** What the summary answers; null: nothing yet. Its answer is read out once, not each time the rows follow the broker. */
  question: string | null;
  page: number;
  size: number;
  onSize: (size: number) => void;
  onPrevious?: () => void;
  onNext?: () => void;
}

export function Footer({ summary, question, page, size, onSize, onPrevious, onNext }: FooterProps) {
  const t = useT();
  const said = useRef<{ question: string; text: string } | null>(null);
  if (question !== null && summary !== '' && said.current?.question !== question) said.current = { question, text: summary };
  return (
    <Group className={classes.footer} justify="space-between" px="sm" py={6} gap="xs">
      <Text size="xs" c="dimmed">
        {summary}
      </Text>
      <span className="visually-hidden" role="status">
        {said.current?.text}
      </span>
      <Group gap="xs" wrap="nowrap">
        <NativeSelect size="xs" aria-label={t('table.page-size')} value={String(size)} data={[...new Set([...SIZES, size])].sort((a, b) => a - b).map(String)} onChange={(event) => onSize(Number(event.currentTarget.value))} />
        <ActionIcon variant="default" aria-label={t('table.previous')} disabled={!onPrevious} onClick={onPrevious}>
          <IconChevronLeft size={16} />
        </ActionIcon>
        <Text size="xs" c="dimmed" style={{ whiteSpace: 'nowrap' }}>
          {t('table.page', { page })}
        </Text>
        <ActionIcon variant="default" aria-label={t('table.next')} disabled={!onNext} onClick={onNext}>
          <IconChevronRight size={16} />
        </ActionIcon>
      </Group>
    </Group>
  );
}
