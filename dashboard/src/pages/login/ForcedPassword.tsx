import { Button } from '@mantine/core';
import { useEffect, useState } from 'react';
import { logout } from '../../api/client';
import { useSession } from '../../api/session';
import { useT } from '../../i18n';
import { Entry } from './Entry';
import { PasswordForm } from './PasswordForm';
import { typed } from './typed';

/** The first login: nothing else until the password of the delivery is gone. */
export function ForcedPassword() {
  const t = useT();
  const login = useSession();
  const [known] = useState(() => typed.password);
  // From here on only this form has it.
  useEffect(() => {
    typed.password = undefined;
  }, []);
  return (
    <Entry title={t('password.first.title')} text={t('password.first.text')}>
      <PasswordForm username={login?.username ?? ''} known={known} />
      <Button variant="subtle" color="gray" size="compact-sm" onClick={logout}>
        {t('frame.log-out')}
      </Button>
    </Entry>
  );
}
