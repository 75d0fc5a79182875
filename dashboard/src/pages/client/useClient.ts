import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useRef } from 'react';
import { api, segment } from '../../api/client';
import { ApiError } from '../../api/errors';
import { useEvents } from '../../api/events';
import type { Page } from '../../api/types';
import type { ClientDetail, Objects, OldSession, OldSubscription, SubscriptionRow } from '../clients/types';

/** How often the page asks again, in milliseconds. */
const OFTEN = 2000;

/** A client as it is now: connected, or only its session, or neither. */
export type Found =
  | { state: 'online'; detail: ClientDetail; session: OldSession; subscriptions: SubscriptionRow[] }
  | { state: 'offline'; session: OldSession; subscriptions: SubscriptionRow[] }
  | { state: 'gone' };

async function connected(id: string, signal: AbortSignal): Promise<Found | null> {
  try {
    const detail = await api.get<ClientDetail>(`clients/${segment(id)}/detail`, {}, signal);
    return { state: 'online', detail, session: detail.session, subscriptions: detail.subscriptions };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** `before` is what was found last: a refusal is not asked for each time. */
async function find(id: string, before: Found | undefined, signal: AbortSignal): Promise<Found> {
  const name = segment(id);
  const there = before?.state === 'online' || (await api.get<Objects<unknown>>(`clients/${name}`, {}, signal)).objects.length > 0;
  const online = there ? await connected(id, signal) : null;
  if (online) return online;
  const [session] = (await api.get<Objects<OldSession>>(`sessions/${name}`, {}, signal)).objects;
  if (!session) return { state: 'gone' };
  return { state: 'offline', session, subscriptions: await subscriptionsOf(id, signal) };
}

/** How many subscriptions whose client ids hold this one are looked through. */
const SEARCHED = 1000;

async function subscriptionsOf(id: string, signal: AbortSignal): Promise<SubscriptionRow[]> {
  // The rows of 2.x do not tell the group of a shared subscription; a search does, but finds others too.
  const found = await api.get<Page<SubscriptionRow>>('search/subscriptions', { search: id, limit: SEARCHED }, signal);
  if (found.cursor === null) return found.objects.filter((row) => row.client_id === id);
  const rows = await api.get<Objects<OldSubscription>>(`subscriptions/${segment(id)}`, {}, signal);
  return rows.objects.map((row) => ({ ...row, share: null, local: false }));
}

/** Follows one client, whether it is connected or not. */
export function useClient(id: string) {
  const client = useQueryClient();
  const key = ['clients', `clients/${id}`, 'page'];
  const answer = useQuery<Found>({
    queryKey: key,
    queryFn: ({ signal }) => find(id, client.getQueryData<Found>(key), signal),
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
