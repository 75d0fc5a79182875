import { Button } from '@mantine/core';
import { useState } from 'react';
import { session, useSession } from '../../api/session';
import { useT } from '../../i18n';
import { Entry } from './Entry';
import { PasswordForm } from './PasswordForm';
import { typed } from './typed';

/** The first login: nothing else until the password of the delivery is gone. */
export function ForcedPassword() {
  const t = useT();
  const login = useSession();
  const [known] = useState(() => typed.password);
  const forget = (): void => {
    typed.password = undefined;
  };
  return (
    <Entry title={t('password.first.title')} text={t('password.first.text')}>
      <PasswordForm username={login?.username ?? ''} known={known} onDone={forget} />
      <Button
        variant="subtle"
        color="gray"
        size="compact-sm"
        onClick={() => {
          forget();
          session.clear();
        }}
      >
        {t('frame.log-out')}
      </Button>
    </Entry>
  );
}
