import { Alert, Button, PasswordInput, Stack } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useState, type FormEvent } from 'react';
import { api, request, segment } from '../../api/client';
import { ApiError, words } from '../../api/errors';
import { session, sessionOf } from '../../api/session';
import type { Login } from '../../api/types';
import { useT } from '../../i18n';
import { fault } from './fault';

interface Props {
  username: string;
  /** The current password, when the page knows it from the login a moment ago. */
  known?: string;
  onDone?: () => void;
}

/** Changes one's own password, and logs in anew: the change ends all tokens of before. */
export function PasswordForm({ username, known, onDone }: Props) {
  const t = useT();
  const [old, setOld] = useState(known ?? '');
  const [next, setNext] = useState('');
  const [repeated, setRepeated] = useState('');
  const [wrong, setWrong] = useState<{ field: string; text: string } | null>(null);
  const [busy, setBusy] = useState(false);
  const at = (field: string): string | undefined => (wrong?.field === field ? wrong.text : undefined);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    const found = fault(old, next, repeated);
    if (found) {
      setWrong({ field: found.field, text: t(found.key) });
      return;
    }
    setBusy(true);
    setWrong(null);
    // A question on its way may end this login as soon as the password is another; the next is kept as this one was.
    const remember = session.lasting();
    try {
      await api.put(`change_pwd/${segment(username)}`, { old_pwd: old, new_pwd: next });
      const login = await request<Login>('POST', 'login', { body: { username, password: next }, anonymous: true });
      session.set(sessionOf(login, Date.now()), remember);
      notifications.show({ message: t('password.done'), color: 'teal' });
      onDone?.();
    } catch (error) {
      const isOld = error instanceof ApiError && error.code === 114;
      setWrong({ field: isOld && known === undefined ? 'old' : 'form', text: isOld ? t('password.wrong') : words(error) });
      setBusy(false);
    }
  };

  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <input type="text" name="username" autoComplete="username" value={username} readOnly hidden />
        {known === undefined ? (
          <PasswordInput label={t('password.old')} autoComplete="current-password" value={old} onChange={(event) => setOld(event.currentTarget.value)} error={at('old')} required withAsterisk={false} data-autofocus />
        ) : null}
        <PasswordInput label={t('password.new')} description={t('password.hint')} autoComplete="new-password" value={next} onChange={(event) => setNext(event.currentTarget.value)} error={at('next')} required withAsterisk={false} autoFocus={known !== undefined} />
        <PasswordInput label={t('password.repeat')} autoComplete="new-password" value={repeated} onChange={(event) => setRepeated(event.currentTarget.value)} error={at('repeated')} required withAsterisk={false} />
        {at('form') ? (
          <Alert color="red" variant="light" role="alert" py="xs">
            {at('form')}
          </Alert>
        ) : null}
        <Button type="submit" loading={busy} mt="xs">
          {t('password.save')}
        </Button>
      </Stack>
    </form>
  );
}
