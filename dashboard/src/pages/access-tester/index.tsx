import { Alert, Badge, Button, Group, Input, Paper, PasswordInput, SegmentedControl, SimpleGrid, Stack, Tabs, TextInput, Title } from '@mantine/core';
import { IconCircleCheck, IconCircleX } from '@tabler/icons-react';
import { type FormEvent, useRef, useState } from 'react';
import { useSearchParams } from 'wouter';
import { api } from '../../api/client';
import { words } from '../../api/errors';
import { useAction } from '../../api/hooks';
import { type Column, LocalTable, PageHeader } from '../../components';
import { useT } from '../../i18n';
import { isIp } from '../bans/ban';
import { answerWord, isAllowed, isSuperuser, type Step, type Verdict } from './verdict';

type Question = 'acl' | 'auth';

interface Form {
  clientId: string;
  username: string;
  password: string;
  ip: string;
  access: 'publish' | 'subscribe';
  topic: string;
}

export default function AccessTester() {
  const t = useT();
  // A client's page links here with its names filled in.
  const [place] = useSearchParams();
  const [question, setQuestion] = useState<Question>(place.get('test') === 'auth' ? 'auth' : 'acl');
  const [form, setForm] = useState<Form>({
    clientId: place.get('client_id') ?? '',
    username: place.get('username') ?? '',
    password: '',
    ip: place.get('ip') ?? '',
    access: place.get('access') === 'subscribe' ? 'subscribe' : 'publish',
    topic: place.get('topic') ?? '',
  });
  const [tried, setTried] = useState(false);
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  /** Counts the states of the form: an answer to one that was left meanwhile is not shown. */
  const version = useRef(0);
  const test = useAction<number, Verdict>({
    run: () => ask(question, form),
    changes: [],
    quiet: true,
    onDone: (answer, asked) => {
      if (asked === version.current) setVerdict(answer);
    },
  });

  const change = (part: Partial<Form>): void => {
    // An answer to another question would mislead.
    version.current += 1;
    setVerdict(null);
    test.reset();
    setForm((before) => ({ ...before, ...part }));
  };
  const faults = {
    clientId: form.clientId === '' ? t('tester.fault.clientId') : undefined,
    ip: form.ip !== '' && !isIp(form.ip.trim()) ? t('tester.fault.ip') : undefined,
    topic: question === 'acl' && form.topic === '' ? t('tester.fault.topic') : undefined,
  };
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (!faults.clientId && !faults.ip && !faults.topic) test.mutate(version.current);
  };

  const fields = (
    <form onSubmit={submit} noValidate>
      <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="md">
        <TextInput
          label={t('tester.clientId')}
          value={form.clientId}
          onChange={(event) => change({ clientId: event.currentTarget.value })}
          error={tried ? faults.clientId : undefined}
          autoComplete="off"
          spellCheck={false}
        />
        <TextInput
          label={t('tester.ip')}
          placeholder="127.0.0.1"
          description={t('tester.ipHelp')}
          inputWrapperOrder={['label', 'input', 'description', 'error']}
          value={form.ip}
          onChange={(event) => change({ ip: event.currentTarget.value })}
          error={tried ? faults.ip : undefined}
          autoComplete="off"
          spellCheck={false}
        />
        <TextInput
          label={t('tester.username')}
          description={t('tester.noUser')}
          inputWrapperOrder={['label', 'input', 'description', 'error']}
          value={form.username}
          onChange={(event) => change({ username: event.currentTarget.value })}
          autoComplete="off"
          spellCheck={false}
        />
        {question === 'auth' ? (
          <PasswordInput
            label={t('tester.password')}
            description={t('tester.noPassword')}
            inputWrapperOrder={['label', 'input', 'description', 'error']}
            value={form.password}
            onChange={(event) => change({ password: event.currentTarget.value })}
            autoComplete="off"
          />
        ) : (
          <>
            <TextInput
              label={t('tester.topic')}
              value={form.topic}
              onChange={(event) => change({ topic: event.currentTarget.value })}
              error={tried ? faults.topic : undefined}
              autoComplete="off"
              spellCheck={false}
            />
            <div>
              <Input.Label labelElement="div" display="block" id="tester-access">
                {t('tester.access')}
              </Input.Label>
              <SegmentedControl
                aria-labelledby="tester-access"
                value={form.access}
                onChange={(value) => change({ access: value as Form['access'] })}
                data={[
                  { value: 'publish', label: t('tester.publish') },
                  { value: 'subscribe', label: t('tester.subscribe') },
                ]}
              />
            </div>
          </>
        )}
      </SimpleGrid>
      <Button type="submit" mt="md" loading={test.isPending}>
        {t('tester.test')}
      </Button>
    </form>
  );
  return (
    <>
      <PageHeader title={t('menu.access-tester')} text={t('tester.intro')} />
      <Stack gap="md">
        <Paper withBorder p="md">
          <Tabs
            value={question}
            onChange={(value) => {
              setQuestion(value === 'auth' ? 'auth' : 'acl');
              change({});
              setTried(false);
            }}
            keepMounted={false}
          >
            <Tabs.List mb="md">
              <Tabs.Tab value="acl">{t('tester.acl')}</Tabs.Tab>
              <Tabs.Tab value="auth">{t('tester.auth')}</Tabs.Tab>
            </Tabs.List>
            <Tabs.Panel value={question}>{fields}</Tabs.Panel>
          </Tabs>
        </Paper>
        {test.error ? (
          <Alert color="red" variant="light" role="alert">
            {words(test.error)}
          </Alert>
        ) : null}
        <div aria-live="polite">{verdict ? <Outcome verdict={verdict} /> : null}</div>
      </Stack>
    </>
  );
}

function ask(question: Question, form: Form): Promise<Verdict> {
  const who = { client_id: form.clientId, username: form.username || undefined, ip: form.ip.trim() || undefined };
  if (question === 'auth') return api.post<Verdict>('test/auth', { ...who, password: form.password || undefined });
  return api.post<Verdict>('test/acl', { ...who, access: form.access, topic: form.topic });
}

function Outcome({ verdict }: { verdict: Verdict }) {
  const t = useT();
  const allowed = isAllowed(verdict);
  const rows = verdict.steps.map((step, at) => ({ ...step, at: at + 1 }));
  const columns: Column<Step & { at: number }>[] = [
    { key: 'at', header: t('tester.step'), cell: (step) => step.at },
    { key: 'module', header: t('tester.module'), cell: (step) => step.module, mono: true },
    { key: 'answer', header: t('tester.answer'), cell: (step) => <Answer answer={step.answer} /> },
    { key: 'detail', header: t('tester.detail'), cell: (step) => step.detail, wrap: true },
  ];
  return (
    <Stack gap="sm">
      <Alert
        color={allowed ? 'teal' : 'red'}
        variant="light"
        icon={allowed ? <IconCircleCheck size={20} /> : <IconCircleX size={20} />}
        title={
          <>
            {t('tester.result')}: <span>{allowed ? t('tester.allowed') : t('tester.denied')}</span>
          </>
        }
      >
        {isSuperuser(verdict) ? t('tester.superuser') : null}
      </Alert>
      <Group>
        <Title order={2} size="h5">
          {t('tester.steps')}
        </Title>
      </Group>
      <LocalTable label={t('tester.steps')} columns={columns} rows={rows} rowKey={(step) => String(step.at)} empty={t('tester.noSteps')} />
    </Stack>
  );
}

function Answer({ answer }: { answer: string }) {
  const t = useT();
  const word = answerWord(answer);
  if (!word) return <>{answer}</>;
  const color = { allow: 'teal', superuser: 'teal', deny: 'red', ignore: 'gray', unavailable: 'orange' }[word];
  return (
    <Badge variant="light" color={color} tt="none">
      {t(`tester.answer.${word}`)}
    </Badge>
  );
}
