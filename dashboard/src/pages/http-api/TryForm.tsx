import { Alert, Badge, Button, Group, NativeSelect, SimpleGrid, Text, Textarea, TextInput, Title } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useId, useState } from 'react';
import { useApi } from '../../api/hooks';
import { useSession } from '../../api/session';
import { bytes, confirm, CopyButton } from '../../components';
import { useT } from '../../i18n';
import classes from './Api.module.css';
import { curlOf, type Document, exampleOf, filled, fullPath, type Operation, type Parameter, pretty, resolve } from './openapi';
import { addressOf, type Answer, MOST, send, STREAM_SECONDS } from './send';

/** Why nothing was sent, or what went wrong then. */
type Trouble = 'missing' | 'failed' | { notJson: string };

export function TryForm({ doc, operation }: { doc: Document; operation: Operation }) {
  const t = useT();
  const client = useQueryClient();
  const username = useSession()?.username ?? 'admin';
  // Most paths name a node, and there is one.
  const nodes = useApi<{ name: string }[]>('management/nodes', { enabled: operation.parameters.some(isNode) });
  const [typed, setTyped] = useState<Record<string, string>>({});
  const [body, setBody] = useState(() => (operation.body ? bodyOf(doc, operation) : ''));
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [busy, setBusy] = useState(false);
  const answerId = useId();

  const node = nodes.data?.[0]?.name ?? '';
  const values = { ...(operation.parameters.some(isNode) && node ? { 'path:node': node } : {}), ...typed };
  const path = filled({ ...operation, path: fullPath(doc, operation.path) }, values);
  const sent = operation.body ? body : undefined;
  const curl = curlOf({
    method: operation.method,
    url: addressOf(path ?? fullPath(doc, operation.path)),
    username,
    open: operation.open,
    body: sent,
    type: operation.body?.type,
  });

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setTrouble(null);
    if (path === undefined) {
      setTrouble('missing');
      return;
    }
    const wrong = sent !== undefined && operation.body?.type === 'application/json' ? faultOf(sent) : undefined;
    if (wrong !== undefined) {
      setTrouble({ notJson: wrong });
      return;
    }
    const changes = operation.method !== 'GET';
    if (changes) {
      const text = (
        <Text size="sm" ff="monospace" style={{ overflowWrap: 'anywhere' }}>
          {operation.method} {path}
        </Text>
      );
      if (!(await confirm({ title: t('http.sendChange'), text, action: t('http.sendConfirm'), danger: operation.method === 'DELETE' }))) return;
    }
    setBusy(true);
    setAnswer(null);
    try {
      setAnswer(await send({ method: operation.method, path, open: operation.open, body: sent, type: operation.body?.type }));
    } catch {
      setTrouble('failed');
    }
    setBusy(false);
    if (changes) void client.invalidateQueries();
  };

  return (
    <section className={classes.try} aria-label={`${t('http.tryTitle')}: ${operation.method} ${operation.path}`}>
      <Title order={3} size="h6" mb={6}>
        {t('http.tryTitle')}
      </Title>
      <form onSubmit={(event) => void submit(event)} noValidate>
        {operation.parameters.length > 0 ? (
          <SimpleGrid cols={{ base: 1, xs: 2, md: 3 }} spacing="sm" mb="sm">
            {operation.parameters.map((parameter) => {
              const key = `${parameter.in}:${parameter.name}`;
              return (
                <ParameterInput
                  key={key}
                  doc={doc}
                  parameter={parameter}
                  value={values[key as keyof typeof values] ?? ''}
                  missing={trouble === 'missing' && (parameter.required ?? false) && !(values[key as keyof typeof values] ?? '')}
                  onChange={(value) => {
                    setTyped((before) => ({ ...before, [key]: value }));
                    setTrouble(null);
                  }}
                />
              );
            })}
          </SimpleGrid>
        ) : null}
        {operation.body ? (
          <Textarea
            label={t('http.body')}
            value={body}
            onChange={(event) => {
              setBody(event.currentTarget.value);
              setTrouble(null);
            }}
            error={typeof trouble === 'object' && trouble ? t('http.notJson', { why: trouble.notJson }) : undefined}
            autosize
            minRows={3}
            maxRows={16}
            spellCheck={false}
            mb="sm"
            classNames={{ input: classes.code }}
          />
        ) : null}
        <Group gap="xs" wrap="nowrap" align="flex-start" className={classes.curl}>
          <code tabIndex={0} role="group" aria-label={t('http.curl')}>
            {curl}
          </code>
          <CopyButton text={curl} label={`${t('common.copy')}: ${t('http.curl')}`} />
        </Group>
        {operation.open ? null : (
          <Text size="xs" c="dimmed" mt={2}>
            {t('http.curlHelp', { user: username })}
          </Text>
        )}
        <Button type="submit" mt="sm" loading={busy} color={operation.method === 'DELETE' ? 'red' : undefined}>
          {t('http.send')}
        </Button>
        {operation.path.endsWith('/events') ? (
          <Text size="xs" c="dimmed" mt={4}>
            {t('http.stream', { n: STREAM_SECONDS })}
          </Text>
        ) : null}
      </form>
      {trouble === 'missing' || trouble === 'failed' ? (
        <Alert color="red" variant="light" role="alert" mt="sm" py="xs">
          {t(`http.${trouble}`)}
        </Alert>
      ) : null}
      <div aria-live="polite">
        {answer ? (
          <div>
            <Group gap="xs" mt="sm" mb={6} justify="space-between">
              <Group gap="xs">
                <Badge radius="sm" variant="light" color={answer.status < 300 ? 'teal' : answer.status < 500 ? 'orange' : 'red'}>
                  {answer.status} {answer.reason}
                </Badge>
                <Text size="sm" id={answerId}>
                  {t('http.status', { status: answer.status, ms: Math.round(answer.ms), size: bytes(answer.size) })}
                </Text>
              </Group>
              <CopyButton text={answer.text} label={`${t('common.copy')}: ${t('http.answer')}`} />
            </Group>
            <pre className={classes.result} tabIndex={0} aria-labelledby={answerId}>
              {answer.text === '' ? t('http.empty') : pretty(answer.text)}
            </pre>
            {answer.cut ? (
              <Text size="xs" c="dimmed">
                {t('http.cut', { size: bytes(MOST) })}
              </Text>
            ) : null}
          </div>
        ) : null}
      </div>
    </section>
  );
}

const isNode = (parameter: Parameter): boolean => parameter.in === 'path' && parameter.name === 'node';

function bodyOf(doc: Document, operation: Operation): string {
  const { body } = operation;
  if (!body) return '';
  return JSON.stringify(body.example ?? exampleOf(doc, body.schema) ?? {}, null, 2);
}

/** Why a text is not JSON. */
function faultOf(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

interface InputProps {
  doc: Document;
  parameter: Parameter;
  value: string;
  missing: boolean;
  onChange: (value: string) => void;
}

function ParameterInput({ doc, parameter, value, missing, onChange }: InputProps) {
  const t = useT();
  const words = wordsOf(doc, parameter);
  const error = missing ? t('http.missing') : undefined;
  const { name, required = false } = parameter;
  if (words.length > 0) {
    return (
      <NativeSelect label={name} required={required} value={value} onChange={(event) => onChange(event.currentTarget.value)} data={['', ...words]} error={error} />
    );
  }
  return (
    <TextInput
      label={name}
      required={required}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      error={error}
      autoComplete="off"
      spellCheck={false}
    />
  );
}

/** The values a parameter may have, where the document names them. */
function wordsOf(doc: Document, parameter: Parameter): string[] {
  const { schema } = resolve(doc, parameter.schema);
  const choices = schema.oneOf ?? schema.anyOf ?? [schema];
  const words = choices.flatMap((choice) => {
    const at = resolve(doc, choice).schema;
    return at.enum ?? (at.type === 'boolean' || (Array.isArray(at.type) && at.type.includes('boolean')) ? [true, false] : []);
  });
  return words.map(String);
}
