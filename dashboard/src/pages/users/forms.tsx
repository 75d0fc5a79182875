import { Alert, Button, Group, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, type ReactNode, useState } from 'react';
import { api, segment } from '../../api/client';
import { ApiError, words } from '../../api/errors';
import { useAction } from '../../api/hooks';
import type { Schemas } from '../../api/types';
import { useT } from '../../i18n';
import { type FaultWord, nameFault, passwordFault } from './rules';

export type User = Schemas['User'];

interface FrameProps {
  onSubmit: () => void;
  onCancel: () => void;
  busy: boolean;
  action: string;
  error?: string;
  children: ReactNode;
}

/** Fields, what went wrong with all of them, and the two buttons. */
function Frame({ onSubmit, onCancel, busy, action, error, children }: FrameProps) {
  const t = useT();
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    onSubmit();
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack gap="sm">
        {children}
        {error ? (
          <Alert color="red" variant="light" role="alert" py="xs">
            {error}
          </Alert>
        ) : null}
        <Group justify="flex-end" gap="xs" mt="xs">
          <Button variant="default" onClick={onCancel}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={busy}>
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** The sentence of a fault, while there is one and somebody has tried to go on. */
function useFaults(tried: boolean): (word: FaultWord | undefined) => string | undefined {
  const t = useT();
  return (word) => (tried && word ? t(`users.fault.${word}`) : undefined);
}

interface ChosenProps {
  label: string;
  description?: string;
  value: string;
  onChange: (value: string) => void;
  error?: string;
}

/** A password that is chosen here, or its repetition. */
function Chosen({ onChange, ...rest }: ChosenProps) {
  return <PasswordInput {...rest} onChange={(event) => onChange(event.currentTarget.value)} autoComplete="new-password" required withAsterisk={false} />;
}

export function AddForm({ taken, onDone }: { taken: string[]; onDone: () => void }) {
  const t = useT();
  const [name, setName] = useState('');
  const [tags, setTags] = useState('');
  const [password, setPassword] = useState('');
  const [repeated, setRepeated] = useState('');
  const [tried, setTried] = useState(false);
  const say = useFaults(tried);
  const faults = {
    name: nameFault(name, taken),
    password: passwordFault(password),
    repeated: password === repeated ? undefined : ('repeat' as const),
  };
  const add = useAction({
    run: () => api.post('users', { username: name, password, tags }),
    done: t('users.added', { name }),
    changes: ['users'],
    onDone,
    quiet: true,
  });
  const submit = (): void => {
    setTried(true);
    if (!faults.name && !faults.password && !faults.repeated) add.mutate();
  };
  return (
    <Frame onSubmit={submit} onCancel={onDone} busy={add.isPending} action={t('users.add')} error={add.error ? words(add.error) : undefined}>
      <TextInput
        label={t('users.username')}
        description={t('users.nameHelp')}
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        error={say(faults.name)}
        autoComplete="off"
        spellCheck={false}
        required
        withAsterisk={false}
        data-autofocus
      />
      <TextInput label={t('users.remark')} value={tags} onChange={(event) => setTags(event.currentTarget.value)} autoComplete="off" />
      <Chosen label={t('users.password')} description={t('users.passwordHelp')} value={password} onChange={setPassword} error={say(faults.password)} />
      <Chosen label={t('users.repeat')} value={repeated} onChange={setRepeated} error={say(faults.repeated)} />
    </Frame>
  );
}

export function RemarkForm({ user, onDone }: { user: User; onDone: () => void }) {
  const t = useT();
  const [tags, setTags] = useState(user.tags);
  const save = useAction({
    run: () => api.put(`users/${segment(user.username)}`, { tags }),
    done: t('users.saved', { name: user.username }),
    changes: ['users'],
    onDone,
    quiet: true,
  });
  return (
    <Frame onSubmit={() => save.mutate()} onCancel={onDone} busy={save.isPending} action={t('common.save')} error={save.error ? words(save.error) : undefined}>
      <TextInput label={t('users.remark')} value={tags} onChange={(event) => setTags(event.currentTarget.value)} autoComplete="off" data-autofocus />
    </Frame>
  );
}

/** The password of somebody else. One's own is changed with the form of the frame, which stays logged in. */
export function PasswordForm({ user, onDone }: { user: User; onDone: () => void }) {
  const t = useT();
  const [old, setOld] = useState('');
  const [next, setNext] = useState('');
  const [repeated, setRepeated] = useState('');
  const [tried, setTried] = useState(false);
  const say = useFaults(tried);
  const faults = {
    old: old === '' ? ('old' as const) : undefined,
    next: passwordFault(next, old),
    repeated: next === repeated ? undefined : ('repeat' as const),
  };
  const change = useAction({
    run: () => api.put(`change_pwd/${segment(user.username)}`, { old_pwd: old, new_pwd: next }),
    done: t('users.passwordChanged', { name: user.username }),
    changes: ['users'],
    onDone,
    quiet: true,
  });
  const wrongOld = change.error instanceof ApiError && change.error.code === 114;
  const submit = (): void => {
    setTried(true);
    if (!faults.old && !faults.next && !faults.repeated) change.mutate();
  };
  return (
    <Frame onSubmit={submit} onCancel={onDone} busy={change.isPending} action={t('users.changePassword')} error={change.error && !wrongOld ? words(change.error) : undefined}>
      <PasswordInput
        label={t('users.oldPassword')}
        value={old}
        onChange={(event) => {
          setOld(event.currentTarget.value);
          change.reset();
        }}
        error={say(faults.old) ?? (wrongOld ? t('password.wrong') : undefined)}
        autoComplete="off"
        required
        withAsterisk={false}
        data-autofocus
      />
      <Chosen label={t('users.newPassword')} description={t('users.passwordHelp')} value={next} onChange={setNext} error={say(faults.next)} />
      <Chosen label={t('users.repeatNew')} value={repeated} onChange={setRepeated} error={say(faults.repeated)} />
      <Text size="xs" c="dimmed">
        {t('users.forgotten', { name: user.username })}
      </Text>
    </Frame>
  );
}
