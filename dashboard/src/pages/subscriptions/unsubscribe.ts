import { api } from '../../api/client';
import { useAction } from '../../api/hooks';
import { confirm } from '../../components';
import { useT } from '../../i18n';
import { visible } from '../clients/text';
import type { SubscriptionRow } from '../clients/types';
import { fullFilter } from './topic';

/** Takes a subscription away from its client, once that is confirmed. */
export function useUnsubscribe(): { ask: (row: SubscriptionRow) => Promise<void> } {
  const t = useT();
  const unsubscribe = useAction({
    run: (row: SubscriptionRow) => api.post('mqtt/unsubscribe', { client_id: row.client_id, topic: fullFilter(row) }),
    done: (_, row) => t('subs.removed', { topic: visible(fullFilter(row)) }),
    changes: ['search', 'clients', 'subscriptions', 'sessions', 'overview'],
  });
  return {
    ask: async (row) => {
      const text = t('subs.remove-text', { name: visible(row.client_id), topic: visible(fullFilter(row)) });
      if (await confirm({ title: t('subs.remove-title'), text, action: t('subs.remove') })) unsubscribe.mutate(row);
    },
  };
}
