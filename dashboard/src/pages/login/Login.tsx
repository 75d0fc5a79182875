import { Alert, Button, Checkbox, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useEffect, useState, type FormEvent } from 'react';
import { request } from '../../api/client';
import { ApiError, words } from '../../api/errors';
import { session, sessionOf } from '../../api/session';
import type { Login as Answer } from '../../api/types';
import { useT } from '../../i18n';
import { Entry } from './Entry';
import { remembered, typed } from './typed';

type Fault = { kind: 'needed' } | { kind: 'error'; error: unknown } | { kind: 'wait'; seconds: number; until: number };

export function Login() {
  const t = useT();
  const [username, setUsername] = useState(remembered.name);
  const [password, setPassword] = useState('');
  const [remember, setRemember] = useState(username !== '');
  const [known] = useState(username !== '');
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault | null>(null);
  const left = useCountdown(fault?.kind === 'wait' ? fault.until : null);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (!username || !password) {
      setFault({ kind: 'needed' });
      return;
    }
    setBusy(true);
    setFault(null);
    try {
      const login = await request<Answer>('POST', 'login', { body: { username, password }, anonymous: true });
      // Whoever must change it now need not type it once more.
      typed.password = login.must_change_password ? password : undefined;
      remembered.keep(remember ? login.username : '');
      session.set(sessionOf(login, Date.now()), remember);
    } catch (error) {
      const wait = error instanceof ApiError && error.status === 429;
      const seconds = (wait ? error.retryAfter : null) ?? 60;
      setFault(wait ? { kind: 'wait', seconds, until: Date.now() + seconds * 1000 } : { kind: 'error', error });
      setBusy(false);
    }
  };

  const sentence =
    fault === null || (fault.kind === 'wait' && left === 0)
      ? null
      : fault.kind === 'needed'
        ? t('login.needed')
        : fault.kind === 'wait'
          ? t('login.wait', { n: left })
          : refusal(fault.error, t('error.103'));
  return (
    <Entry title={t('login.title')}>
      <form onSubmit={(event) => void submit(event)} noValidate>
        <Stack gap="sm">
          <TextInput label={t('login.username')} name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} autoFocus={!known} value={username} onChange={(event) => setUsername(event.currentTarget.value)} />
          <PasswordInput label={t('login.password')} name="password" autoComplete="current-password" autoFocus={known} value={password} onChange={(event) => setPassword(event.currentTarget.value)} />
          <Checkbox label={t('login.remember')} checked={remember} onChange={(event) => setRemember(event.currentTarget.checked)} mt={4} />
          {sentence ? (
            <Alert color="red" variant="light" role="alert" py="xs" style={{ overflowWrap: 'anywhere' }}>
              {fault?.kind === 'wait' ? (
                // It is read out once, not with each second.
                <>
                  <span className="visually-hidden">{t('login.wait', { n: fault.seconds })}</span>
                  <span aria-hidden>{sentence}</span>
                </>
              ) : (
                sentence
              )}
            </Alert>
          ) : null}
          <Button type="submit" loading={busy} disabled={left > 0} mt="xs">
            {t('login.submit')}
          </Button>
        </Stack>
      </form>
    </Entry>
  );
}

/** A plain wrong password in the language shown; a longer sentence (the default password from elsewhere) as the server put it. */
function refusal(error: unknown, wrong: string): string {
  if (error instanceof ApiError && error.code === 103 && (!error.detail || /^password error\.?$/i.test(error.detail))) return wrong;
  return words(error);
}

/** Whole seconds until then. */
function useCountdown(until: number | null): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (until === null) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [until]);
  return until === null ? 0 : Math.max(0, Math.ceil((until - now) / 1000));
}
