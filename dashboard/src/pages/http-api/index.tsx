import { Accordion, Badge, Button, Code, Group, Paper, Skeleton, Stack, Text, Title } from '@mantine/core';
import { IconDownload, IconKey } from '@tabler/icons-react';
import { useState } from 'react';
import { Link } from 'wouter';
import { apiUrl } from '../../api/client';
import { useApi } from '../../api/hooks';
import { CopyButton, ErrorNote, PageHeader } from '../../components';
import { SearchBox } from '../../components/TableParts';
import { useT } from '../../i18n';
import classes from './Api.module.css';
import { type Document, fullPath, type Group as Operations, groupsOf, matches, type Operation } from './openapi';
import { OperationView } from './OperationView';

export default function HttpApi() {
  const t = useT();
  const doc = useApi<Document>('openapi.json');
  const [wanted, setWanted] = useState('');
  const groups = doc.data
    ? groupsOf(doc.data)
        .map((group) => ({ ...group, operations: group.operations.filter((operation) => matches(operation, wanted.trim())) }))
        .filter((group) => group.operations.length > 0)
    : [];
  const count = groups.reduce((sum, group) => sum + group.operations.length, 0);
  return (
    <>
      <PageHeader title={t('menu.http-api')} text={t('http.intro')}>
        <Button component={Link} href="/api-keys" variant="default" leftSection={<IconKey size={16} aria-hidden />}>
          {t('menu.api-keys')}
        </Button>
        <Button component="a" href={apiUrl('openapi.json')} download="openapi.json" variant="default" leftSection={<IconDownload size={16} aria-hidden />}>
          {t('http.file')}
        </Button>
      </PageHeader>
      {doc.error && !doc.data ? <ErrorNote error={doc.error} onRetry={() => void doc.refetch()} /> : null}
      {!doc.data && !doc.error ? <Skeleton height={400} /> : null}
      {doc.data ? (
        <Stack gap="lg">
          <Paper withBorder p="md">
            <Group justify="space-between" gap="sm">
              <SearchBox label={t('http.search')} value={wanted} onChange={setWanted} />
              <Text size="xs" c="dimmed" role="status">
                {t('http.count', { n: count })}
              </Text>
            </Group>
            <Group gap={6} mt="sm">
              <Text size="sm" c="dimmed">
                {t('http.base')}
              </Text>
              <Code className={classes.address}>{apiUrl('')}</Code>
              <CopyButton text={apiUrl('')} />
            </Group>
          </Paper>
          {groups.length === 0 ? (
            <Text c="dimmed" role="status">
              {t('http.none')}
            </Text>
          ) : null}
          {groups.map((group) => (
            <Section key={group.tag} doc={doc.data} group={group} />
          ))}
        </Stack>
      ) : null}
    </>
  );
}

function Section({ doc, group }: { doc: Document; group: Operations }) {
  const t = useT();
  const [open, setOpen] = useState<string[]>([]);
  const id = `http-${group.tag.replace(/\W+/g, '-')}`;
  return (
    <section aria-labelledby={id}>
      <Group gap="sm" mb="xs" align="baseline">
        <Title order={2} size="h5" id={id}>
          {group.tag || t('http.other')}
        </Title>
        <Text size="xs" c="dimmed">
          {group.description}
        </Text>
      </Group>
      <Accordion multiple variant="contained" value={open} onChange={setOpen} chevronPosition="left" classNames={{ item: classes.item, content: classes.content }}>
        {group.operations.map((operation) => (
          <Accordion.Item key={operation.id} value={operation.id}>
            <Head doc={doc} operation={operation} />
            <Accordion.Panel>{open.includes(operation.id) ? <OperationView doc={doc} operation={operation} /> : null}</Accordion.Panel>
          </Accordion.Item>
        ))}
      </Accordion>
    </section>
  );
}

const COLORS: Record<string, string> = { GET: 'sea', POST: 'teal', PUT: 'orange', PATCH: 'orange', DELETE: 'red' };

function Head({ doc, operation }: { doc: Document; operation: Operation }) {
  const t = useT();
  const path = fullPath(doc, operation.path);
  // The name is method and path; what it does is read out after that.
  const about = `about-${operation.id}`;
  return (
    <Accordion.Control aria-describedby={about}>
      <div className={classes.head}>
        <Badge radius="sm" variant="light" color={COLORS[operation.method] ?? 'gray'} className={classes.method}>
          {operation.method}
        </Badge>{' '}
        <span className={classes.path}>{path}</span>
        <span className={classes.summary} id={about} aria-hidden>
          {operation.summary}
          {operation.open ? ` · ${t('http.open')}` : ''}
        </span>
      </div>
    </Accordion.Control>
  );
}

