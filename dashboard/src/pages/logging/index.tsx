import { Alert, Anchor, Button, Group, Paper, Radio, Skeleton, Stack, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import { Link } from 'wouter';
import { api } from '../../api/client';
import { useAction, useApi } from '../../api/hooks';
import type { Schemas } from '../../api/types';
import { ErrorNote, PageHeader } from '../../components';
import { useT } from '../../i18n';

type Logging = Schemas['Logging'];

const KNOWN = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency', 'none'] as const;
type Known = (typeof KNOWN)[number];
const isKnown = (level: string): level is Known => (KNOWN as readonly string[]).includes(level);

/** Levels at which a busy broker writes more than it does. */
const LOUD = ['debug', 'info'];

export default function LoggingPage() {
  const t = useT();
  const logging = useApi<Logging>('logging', { live: true });
  const [chosen, setChosen] = useState<string | null>(null);
  const now = logging.data?.level;
  const level = chosen ?? now ?? '';
  const set = useAction<string, Logging>({
    run: (wanted) => api.put<Logging>('logging', { level: wanted }),
    done: (_, wanted) => t('logging.saved', { level: wanted }),
    changes: ['logging'],
    onDone: () => setChosen(null),
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (level !== now) set.mutate(level);
  };
  return (
    <>
      <PageHeader title={t('menu.logging')} text={t('logging.intro')} />
      {logging.error && !logging.data ? <ErrorNote error={logging.error} onRetry={() => void logging.refetch()} /> : null}
      {!logging.data && !logging.error ? <Skeleton height={320} /> : null}
      {logging.data ? (
        <Paper withBorder p="md" maw={640}>
          <form onSubmit={submit}>
            <Radio.Group label={t('logging.level')} description={t('logging.now', { level: now ?? '' })} value={level} onChange={setChosen}>
              <Stack gap="xs" mt="sm">
                {logging.data.levels.map((one) => (
                  <Radio key={one} value={one} label={one} description={isKnown(one) ? t(`logging.${one}`) : undefined} />
                ))}
              </Stack>
            </Radio.Group>
            {LOUD.includes(level) && level !== now ? (
              <Alert color="orange" variant="light" mt="md" icon={<IconAlertTriangle size={18} />}>
                {t('logging.loud')}
              </Alert>
            ) : null}
            <Group mt="md">
              <Button type="submit" disabled={level === now} loading={set.isPending}>
                {t('common.save')}
              </Button>
            </Group>
            <Text size="xs" c="dimmed" mt="md">
              {t('logging.holds')}
            </Text>
            <Text size="xs" c="dimmed" mt={4}>
              {t('logging.trace')}{' '}
              <Anchor component={Link} href="/traces" size="xs">
                {t('menu.traces')}
              </Anchor>
            </Text>
          </form>
        </Paper>
      ) : null}
    </>
  );
}
