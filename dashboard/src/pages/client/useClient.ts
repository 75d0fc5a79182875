import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useRef } from 'react';
import { api, segment } from '../../api/client';
import { ApiError } from '../../api/errors';
import { useEvents } from '../../api/events';
import type { ClientDetail, Objects, OldSession, SubscriptionRow } from '../clients/types';

/** How often the page asks again, in milliseconds. */
const OFTEN = 2000;

/** A client as it is now: connected, or only its session, or neither. */
export type Found =
  | { state: 'online'; detail: ClientDetail; session: OldSession; subscriptions: SubscriptionRow[] }
  | { state: 'offline'; session: OldSession; subscriptions: SubscriptionRow[] }
  | { state: 'gone' };

/** The answer, or null when there is no such thing (any more). */
async function ask<T>(path: string, signal: AbortSignal): Promise<T | null> {
  try {
    return await api.get<T>(path, {}, signal);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** `before` is what was found last: a refusal is not asked for each time. */
async function find(id: string, before: Found | undefined, signal: AbortSignal): Promise<Found> {
  const name = segment(id);
  const there = before?.state === 'online' || (await api.get<Objects<unknown>>(`clients/${name}`, {}, signal)).objects.length > 0;
  const detail = there ? await ask<ClientDetail>(`clients/${name}/detail`, signal) : null;
  if (detail) return { state: 'online', detail, session: detail.session, subscriptions: detail.subscriptions };
  const [session] = (await api.get<Objects<OldSession>>(`sessions/${name}`, {}, signal)).objects;
  const subscriptions = session ? await ask<SubscriptionRow[]>(`sessions/${name}/subscriptions`, signal) : null;
  return session && subscriptions ? { state: 'offline', session, subscriptions } : { state: 'gone' };
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
