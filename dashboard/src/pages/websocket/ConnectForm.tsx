import { ActionIcon, Button, Checkbox, Fieldset, Group, NativeSelect, NumberInput, Paper, PasswordInput, SimpleGrid, Textarea, TextInput, Title } from '@mantine/core';
import { IconRefresh } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import { useT } from '../../i18n';
import { type Fault, faultsOf, type Login, portFor, type Ports, type Qos, randomClientId, type Version } from './session';
import classes from './Tool.module.css';
import { tool, useTool } from './tool';

const QOS = ['0', '1', '2'];

interface Props {
  login: Login;
  onChange: (part: Partial<Login>) => void;
  ports: Ports;
}

export function ConnectForm({ login, onChange, ports }: Props) {
  const t = useT();
  const { phase } = useTool();
  const [tried, setTried] = useState(false);
  const idle = phase === 'idle';
  const faults = faultsOf(login);
  const fault = (field: Fault['field']): string | undefined => {
    const found = tried ? faults.find((one) => one.field === field) : undefined;
    return found ? t(`ws.fault.${found.why}`) : undefined;
  };
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (faults.length === 0) void tool.connect(login);
  };
  const number = (value: number | string): number | '' => (typeof value === 'number' ? value : '');

  return (
    <Paper withBorder p="md" component="section" aria-labelledby="ws-connection">
      <Title order={2} size="h5" mb="sm" id="ws-connection">
        {t('ws.connection')}
      </Title>
      <form onSubmit={submit} noValidate>
        <Fieldset variant="unstyled" disabled={!idle} className={classes.form}>
          <SimpleGrid cols={{ base: 1, xs: 2, md: 4 }} spacing="sm">
            <TextInput label={t('ws.host')} value={login.host} onChange={(event) => onChange({ host: event.currentTarget.value })} error={fault('host')} autoComplete="off" spellCheck={false} />
            <NumberInput label={t('ws.port')} name="port" value={login.port} onChange={(value) => onChange({ port: number(value) })} error={fault('port')} min={1} max={65535} allowDecimal={false} hideControls clampBehavior="none" />
            <TextInput label={t('ws.path')} value={login.path} onChange={(event) => onChange({ path: event.currentTarget.value })} autoComplete="off" spellCheck={false} />
            <TextInput
              label={t('ws.clientId')}
              value={login.clientId}
              onChange={(event) => onChange({ clientId: event.currentTarget.value })}
              error={fault('clientId')}
              autoComplete="off"
              spellCheck={false}
              rightSection={
                <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t('ws.newId')} disabled={!idle} onClick={() => onChange({ clientId: randomClientId() })}>
                  <IconRefresh size={15} />
                </ActionIcon>
              }
            />
            <TextInput label={t('ws.username')} value={login.username} onChange={(event) => onChange({ username: event.currentTarget.value })} autoComplete="off" spellCheck={false} />
            <PasswordInput label={t('ws.password')} value={login.password} onChange={(event) => onChange({ password: event.currentTarget.value })} error={fault('password')} autoComplete="new-password" />
            <NumberInput label={t('ws.keepalive')} value={login.keepalive} onChange={(value) => onChange({ keepalive: number(value) })} error={fault('keepalive')} min={0} max={65535} allowDecimal={false} hideControls clampBehavior="none" />
            <NativeSelect
              label={t('ws.version')}
              value={String(login.version)}
              onChange={(event) => onChange({ version: Number(event.currentTarget.value) as Version })}
              data={[
                { value: '3', label: '3.1' },
                { value: '4', label: '3.1.1' },
                { value: '5', label: '5.0' },
              ]}
            />
          </SimpleGrid>
          <Group gap="lg" mt="sm">
            <Checkbox label={t('ws.clean')} checked={login.clean} onChange={(event) => onChange({ clean: event.currentTarget.checked })} />
            <Checkbox
              label={t('ws.ssl')}
              checked={login.ssl}
              onChange={(event) => onChange({ ssl: event.currentTarget.checked, port: portFor(event.currentTarget.checked, login.port, ports) })}
            />
            <Checkbox label={t('ws.will')} checked={login.will} onChange={(event) => onChange({ will: event.currentTarget.checked })} aria-expanded={login.will} />
          </Group>
          {login.will ? (
            <SimpleGrid cols={{ base: 1, xs: 2, md: 4 }} spacing="sm" mt="sm">
              <TextInput label={t('ws.willTopic')} value={login.willTopic} onChange={(event) => onChange({ willTopic: event.currentTarget.value })} error={fault('willTopic')} autoComplete="off" spellCheck={false} />
              <Textarea label={t('ws.willPayload')} value={login.willPayload} onChange={(event) => onChange({ willPayload: event.currentTarget.value })} rows={1} />
              <NativeSelect label={t('ws.willQos')} value={String(login.willQos)} onChange={(event) => onChange({ willQos: Number(event.currentTarget.value) as Qos })} data={QOS} />
              <Checkbox mt={{ base: 0, xs: 28 }} label={t('ws.willRetain')} checked={login.willRetain} onChange={(event) => onChange({ willRetain: event.currentTarget.checked })} />
            </SimpleGrid>
          ) : null}
        </Fieldset>
        <Group mt="md" gap="sm">
          {phase === 'connected' ? (
            <Button key="disconnect" color="red" variant="light" onClick={() => tool.end()}>
              {t('ws.disconnect')}
            </Button>
          ) : (
            <Button key="connect" type="submit" loading={phase === 'connecting'}>
              {t('ws.connect')}
            </Button>
          )}
          {phase === 'connecting' ? (
            <Button variant="default" onClick={() => tool.end()}>
              {t('common.cancel')}
            </Button>
          ) : null}
        </Group>
      </form>
    </Paper>
  );
}
