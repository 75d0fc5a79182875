import { Alert, Badge, Stack, Text } from '@mantine/core';
import { useEffect, useMemo, useState } from 'react';
import { useApi } from '../../api/hooks';
import { session } from '../../api/session';
import type { Schemas } from '../../api/types';
import { PageHeader } from '../../components';
import { useT } from '../../i18n';
import { ConnectForm } from './ConnectForm';
import { Messages } from './Messages';
import { PublishForm, SubscribeForm } from './forms';
import { freshLogin, type Login, portFor, portsOf } from './session';
import { tool, useTool } from './tool';
import { useTrouble } from './words';
import classes from './Tool.module.css';

// What was typed stays while one looks at other pages; the password too, in memory only. It ends with the login.
let typed: Login | undefined;
session.onLeave(() => {
  typed = undefined;
});

export default function WebSocketTool() {
  const t = useT();
  const state = useTool();
  const trouble = useTrouble();
  const [login, setLogin] = useState<Login>(() => typed ?? freshLogin(window.location.hostname, window.location.protocol === 'https:'));
  const change = (part: Partial<Login>): void => {
    const next = { ...login, ...part };
    typed = next;
    setLogin(next);
  };
  const listeners = useApi<Schemas['Listener'][]>('listeners');
  const { plain, ssl } = portsOf(listeners.data ?? []);
  const ports = useMemo(() => ({ plain, ssl }), [plain, ssl]);
  const { phase } = state;
  useEffect(() => {
    const port = portFor(login.ssl, login.port, ports);
    if (phase === 'idle' && port !== login.port) change({ port });
    // When the listeners are known, not while somebody types.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [ports]);
  const connected = phase === 'connected';
  return (
    <>
      <PageHeader title={t('menu.websocket')} text={t('ws.intro')}>
        <Badge size="lg" variant="light" color={connected ? 'teal' : phase === 'connecting' ? 'yellow' : 'gray'}>
          {t(`ws.${phase}`)}
        </Badge>
      </PageHeader>
      <Stack gap="md">
        <ConnectForm login={login} onChange={change} ports={ports} />
        <div aria-live="polite" className={classes.live}>
          {state.trouble ? (
            <Alert color="red" variant="light" role="alert">
              {trouble(state.trouble)}
            </Alert>
          ) : null}
          {connected ? (
            <Alert color="teal" variant="light">
              <Text size="sm" fw={600} style={{ overflowWrap: 'anywhere' }}>
                {t('ws.connectedTo', { address: state.address })}
              </Text>
              {state.sessionPresent ? <div>{t('ws.sessionPresent')}</div> : null}
              {state.assignedId ? <div>{t('ws.assigned', { id: state.assignedId })}</div> : null}
            </Alert>
          ) : null}
        </div>
        <div className={classes.two}>
          <SubscribeForm state={state} />
          <PublishForm state={state} />
        </div>
        <div className={classes.two}>
          <Messages name="received" entries={state.received} onClear={() => tool.clear('received')} />
          <Messages name="sent" entries={state.sent} onClear={() => tool.clear('sent')} />
        </div>
      </Stack>
    </>
  );
}
