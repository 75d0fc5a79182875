import { Group, Paper, Stack, Text, Title } from '@mantine/core';
import { useEffect, type ReactNode } from 'react';
import { LanguageMenu, ThemeMenu } from '../../app/HeaderMenus';
import { Mark } from '../../app/Mark';
import classes from './Entry.module.css';

/** The card in the middle of the page before one is in. */
export function Entry({ title, text, children }: { title: string; text?: ReactNode; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · emqttd`;
  }, [title]);
  return (
    <div className={classes.page}>
      <Group justify="flex-end" p="sm" gap={6}>
        <LanguageMenu />
        <ThemeMenu />
      </Group>
      <main className={classes.middle}>
        <Paper withBorder className={classes.card}>
          <Stack gap="lg">
            <Stack gap={10}>
              <Mark size={40} />
              <Title order={1} size="h3">
                {title}
              </Title>
              {text ? (
                <Text size="sm" c="dimmed">
                  {text}
                </Text>
              ) : null}
            </Stack>
            {children}
          </Stack>
        </Paper>
      </main>
    </div>
  );
}
