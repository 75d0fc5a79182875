import { Group, SegmentedControl, Text } from '@mantine/core';
import { useMemo, useState } from 'react';
import { bytes, CopyButton, count } from '../../components';
import { useT, type PlainKey } from '../../i18n';
import { DUMPED, looksOf, SHOWN, type View } from './payload';
import classes from './payload.module.css';

const VIEWS: Record<View, PlainKey> = { json: 'retained.json', text: 'retained.text', hex: 'retained.hex', base64: 'retained.base64' };

/** A payload as text, JSON, hex or Base64. It is shown, never run: whoever may publish wrote it. */
export function PayloadView({ base64 }: { base64: string }) {
  const t = useT();
  const looks = useMemo(() => looksOf(base64), [base64]);
  const [wanted, setWanted] = useState<View | null>(null);
  const view = wanted !== null && looks.views.includes(wanted) ? wanted : (looks.views[0] ?? 'hex');
  const shown = useMemo(() => looks.of(view), [looks, view]);
  const whole = useMemo(() => looks.whole(view), [looks, view]);
  if (looks.size === 0) return <Text c="dimmed">{t('retained.empty-payload')}</Text>;
  return (
    <div>
      <Group justify="space-between" mb="xs" gap="xs">
        <SegmentedControl
          size="xs"
          value={view}
          onChange={(next) => setWanted(next as View)}
          data={looks.views.map((name) => ({ value: name, label: t(VIEWS[name]) }))}
          aria-label={t('retained.show-as')}
        />
        <Group gap="xs">
          <Text size="xs" c="dimmed">
            {bytes(looks.size)}
          </Text>
          <CopyButton text={whole} label={t('retained.copy')} />
        </Group>
      </Group>
      <pre className={classes.payload} data-kept={view === 'hex' || undefined} tabIndex={0} role="region" aria-label={t('retained.payload')} dir={view === 'text' ? 'auto' : 'ltr'}>
        {shown.text}
      </pre>
      {shown.cut ? (
        <Text size="xs" c="dimmed" mt={4}>
          {view === 'hex' ? t('retained.cut-bytes', { shown: bytes(DUMPED) }) : t('retained.cut-text', { n: count(SHOWN) })}
        </Text>
      ) : null}
    </div>
  );
}
