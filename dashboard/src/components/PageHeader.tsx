import { Group, Text, Title } from '@mantine/core';
import type { ReactNode } from 'react';

interface Props {
  title: ReactNode;
  /** A sentence below the title. */
  text?: ReactNode;
  /** Buttons at the right. */
  children?: ReactNode;
}

/** The head of each page: its one `h1`, and what can be done on the whole page. */
export function PageHeader({ title, text, children }: Props) {
  return (
    <Group justify="space-between" align="flex-start" mb="md" gap="sm">
      <div style={{ minWidth: 0, flex: '1 1 14rem' }}>
        <Title order={1} size="h3" style={{ overflowWrap: 'anywhere' }}>
          {title}
        </Title>
        {text ? (
          <Text c="dimmed" size="sm" mt={2}>
            {text}
          </Text>
        ) : null}
      </div>
      {children ? <Group gap="xs">{children}</Group> : null}
    </Group>
  );
}
