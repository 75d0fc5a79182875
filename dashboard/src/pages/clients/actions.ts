import { api, segment } from '../../api/client';
import { useAction } from '../../api/hooks';
import { confirm } from '../../components';
import { useT } from '../../i18n';
import { visible } from './text';

/** Ends a client's connection, once that is confirmed. */
export function useDisconnect(): { ask: (id: string) => Promise<void>; busy: boolean } {
  const t = useT();
  const kick = useAction({
    run: (id: string) => api.del(`clients/${segment(id)}`),
    done: (_, id) => t('clients.disconnected', { name: visible(id) }),
    changes: ['search', 'clients', 'sessions', 'overview'],
  });
  return {
    busy: kick.isPending,
    ask: async (id) => {
      const text = t('clients.disconnect-text', { name: visible(id) });
      if (await confirm({ title: t('clients.disconnect-title'), text, action: t('clients.disconnect') })) kick.mutate(id);
    },
  };
}

/** Ends a session for good, once that is confirmed. */
export function useDiscard(): { ask: (id: string) => Promise<void>; busy: boolean } {
  const t = useT();
  const discard = useAction({
    run: (id: string) => api.del(`sessions/${segment(id)}`),
    done: (_, id) => t('sessions.discarded', { name: visible(id) }),
    changes: ['search', 'clients', 'sessions', 'subscriptions', 'overview'],
  });
  return {
    busy: discard.isPending,
    ask: async (id) => {
      const text = t('sessions.discard-text', { name: visible(id) });
      if (await confirm({ title: t('sessions.discard-title'), text, action: t('sessions.discard') })) discard.mutate(id);
    },
  };
}
