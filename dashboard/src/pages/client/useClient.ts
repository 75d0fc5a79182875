import { useQuery } from '@tanstack/react-query';
import { useRef } from 'react';
import { api, segment } from '../../api/client';
import { ApiError } from '../../api/errors';
import { useEvents } from '../../api/events';
import type { ClientDetail, Objects, OldSession, OldSubscription, SubscriptionRow } from '../clients/types';
import { plainFilter, sharedOf } from '../subscriptions/topic';

/** How often the page asks again, in milliseconds. */
const OFTEN = 2000;

/** A client as it is now: connected, or only its session, or neither. */
export type Found =
  | { state: 'online'; detail: ClientDetail; session: OldSession; subscriptions: SubscriptionRow[] }
  | { state: 'offline'; session: OldSession; subscriptions: SubscriptionRow[] }
  | { state: 'gone' };

async function find(id: string, signal: AbortSignal): Promise<Found> {
  try {
    const detail = await api.get<ClientDetail>(`clients/${segment(id)}/detail`, {}, signal);
    return { state: 'online', detail, session: detail.session, subscriptions: detail.subscriptions };
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
  }
  const sessions = await api.get<Objects<OldSession>>(`sessions/${segment(id)}`, {}, signal);
  const session = sessions.objects[0];
  if (!session) return { state: 'gone' };
  const subscriptions = await api.get<Objects<OldSubscription>>(`subscriptions/${segment(id)}`, {}, signal);
  return { state: 'offline', session, subscriptions: subscriptions.objects.map(whole) };
}

/** The rows of 2.x have the prefixes of sharing in their topics. */
function whole(row: OldSubscription): SubscriptionRow {
  const { group, topic } = sharedOf(row.topic);
  const local = topic !== plainFilter(topic);
  return { client_id: row.client_id, qos: row.qos, share: group, local, topic: plainFilter(topic) };
}

/** Follows one client, whether it is connected or not. */
export function useClient(id: string) {
  const answer = useQuery<Found>({
    queryKey: ['clients', `clients/${id}`, 'page'],
    queryFn: ({ signal }) => find(id, signal),
    refetchInterval: OFTEN,
  });
  const last = useRef(0);
  useEvents(['clients', 'sessions'], (_, data) => {
    const named = typeof data === 'object' && data !== null && 'client_id' in data ? data.client_id : undefined;
    // Many come and go that are not this one; and one that flaps is not asked for each time.
    if (named !== id || Date.now() - last.current < 500) return;
    last.current = Date.now();
    void answer.refetch();
  });
  return answer;
}
