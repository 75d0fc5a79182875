import { MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { QueryClientProvider } from '@tanstack/react-query';
import { useEffect, useMemo } from 'react';
import { Router } from 'wouter';
import { keepLogin } from '../api/client';
import { stream } from '../api/events';
import { queryClient } from '../api/hooks';
import { onReach } from '../api/reach';
import { session, useSession } from '../api/session';
import { locale, useT } from '../i18n';
import { ForcedPassword } from '../pages/login/ForcedPassword';
import { Login } from '../pages/login/Login';
import { cssVariables, themeIn } from '../theme';
import { useHashPlace } from './location';
import { Shell } from './Shell';

// What was asked before the broker went away has to be asked again when it is back.
stream.start();
keepLogin();
stream.onReturn = () => void queryClient.invalidateQueries();
onReach((away) => {
  if (!away) void queryClient.invalidateQueries();
});
// Nothing of one user is left for the next.
session.onLeave(() => queryClient.clear());

export function App() {
  const t = useT();
  const theme = useMemo(() => themeIn(t), [t]);
  useEffect(() => {
    document.documentElement.lang = locale();
  }, [t]);
  return (
    <MantineProvider theme={theme} cssVariablesResolver={cssVariables} defaultColorScheme="auto">
      <QueryClientProvider client={queryClient}>
        <Notifications position="top-right" autoClose={4000} limit={4} />
        <Router hook={useHashPlace}>
          <Entrance />
        </Router>
      </QueryClientProvider>
    </MantineProvider>
  );
}

/** The address stays while somebody logs in, so that they come to the page they wanted. */
function Entrance() {
  const login = useSession();
  if (!login) return <Login />;
  if (login.mustChangePassword) return <ForcedPassword />;
  return <Shell key={login.username} />;
}
