import { Alert, Button, Checkbox, Group, NativeSelect, Stack, TextInput } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import { api, apiUrl } from '../../api/client';
import { words } from '../../api/errors';
import { useAction } from '../../api/hooks';
import { CopyButton } from '../../components';
import { useT } from '../../i18n';
import classes from './Key.module.css';
import { type CreatedKey, curlOf, headerOf, type Life, LIVES, SCOPES, scopesOf, secondsOf } from './key';

export function CreateForm({ onCancel, onDone }: { onCancel: () => void; onDone: (key: CreatedKey) => void }) {
  const t = useT();
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<string[]>(['read']);
  const [life, setLife] = useState<Life>('90');
  const [tried, setTried] = useState(false);
  const scopes = scopesOf(chosen);
  const create = useAction<void, CreatedKey>({
    run: () => api.post<CreatedKey>('api_keys', { name: name.trim(), scopes, expires_in: secondsOf(life) }),
    changes: ['api_keys'],
    onDone,
    quiet: true,
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (name.trim() !== '' && scopes.length > 0) create.mutate();
  };
  const lives: Record<Life, string> = {
    '': t('common.never'),
    '1': t('keys.for1'),
    '30': t('keys.for30'),
    '90': t('keys.for90'),
    '365': t('keys.for365'),
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack gap="sm">
        <TextInput
          label={t('keys.name')}
          description={t('keys.nameHelp')}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={tried && name.trim() === '' ? t('keys.fault.name') : undefined}
          maxLength={64}
          autoComplete="off"
          required
          withAsterisk={false}
          data-autofocus
        />
        <Checkbox.Group
          label={t('keys.scopes')}
          value={chosen}
          onChange={setChosen}
          error={tried && scopes.length === 0 ? t('keys.fault.scopes') : undefined}
        >
          <Stack gap="xs" mt={6} mb={4}>
            {SCOPES.map((scope) => (
              <Checkbox
                key={scope}
                value={scope}
                label={t(`keys.scope.${scope}`)}
                description={t(`keys.scope.${scope}Help`)}
                disabled={scope !== 'admin' && chosen.includes('admin')}
              />
            ))}
          </Stack>
        </Checkbox.Group>
        <NativeSelect
          label={t('keys.expires')}
          value={life}
          onChange={(event) => setLife(event.currentTarget.value as Life)}
          data={LIVES.map((value) => ({ value, label: lives[value] }))}
        />
        {create.error ? (
          <Alert color="red" variant="light" role="alert" py="xs">
            {words(create.error)}
          </Alert>
        ) : null}
        <Group justify="flex-end" gap="xs" mt="xs">
          <Button variant="default" onClick={onCancel}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={create.isPending}>
            {t('keys.create')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** The one time a secret is seen. */
export function Secret({ created, onDone }: { created: CreatedKey; onDone: () => void }) {
  const t = useT();
  return (
    <Stack gap="sm">
      <Alert color="orange" variant="light" icon={<IconAlertTriangle size={18} />}>
        {t('keys.secretOnce')}
      </Alert>
      <Line label={t('keys.id')} text={created.id} />
      <Line label={t('keys.secret')} text={created.secret} />
      <Line label={t('keys.bearer')} text={headerOf(created)} />
      <Line label={t('keys.curl')} text={curlOf(created, apiUrl('overview'))} />
      <Group justify="flex-end">
        <Button onClick={onDone} data-autofocus>
          {t('keys.done')}
        </Button>
      </Group>
    </Stack>
  );
}

/** Selected at a click, and copied at another. */
function Line({ label, text }: { label: string; text: string }) {
  return (
    <TextInput
      label={label}
      value={text}
      readOnly
      className={classes.line}
      onFocus={(event) => event.currentTarget.select()}
      rightSection={<CopyButton text={text} />}
    />
  );
}
