import { Alert, Button, Group, Text, type MantineSpacing } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import { words } from '../api/errors';
import { useT } from '../i18n';

interface Props {
  error: unknown;
  onRetry?: () => void;
  m?: MantineSpacing;
  mb?: MantineSpacing;
}

/** An error in words, with a way to try again. */
export function ErrorNote({ error, onRetry, m, mb }: Props) {
  const t = useT();
  return (
    <Alert color="red" variant="light" icon={<IconAlertCircle size={18} />} m={m} mb={mb} role="alert">
      <Group justify="space-between" gap="sm">
        <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
          {words(error)}
        </Text>
        {onRetry ? (
          <Button size="xs" variant="light" color="red" onClick={onRetry}>
            {t('common.retry')}
          </Button>
        ) : null}
      </Group>
    </Alert>
  );
}
