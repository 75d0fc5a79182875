import type { Schemas } from '../../api/types';

export type Listener = Schemas['Listener'];

export const nameOf = (listener: Pick<Listener, 'protocol' | 'listen'>): string => `${listener.protocol} ${listener.listen}`;

/** The port of `0.0.0.0:1883`, `[::]:1883` or `1883`. */
export function portOf(listen: string): number | undefined {
  const port = /(?:^|:)(\d+)$/.exec(listen)?.[1];
  return port === undefined ? undefined : Number(port);
}

/** Whether these pages can come by this listener at all. */
export function servesPages(listener: Pick<Listener, 'protocol'>): boolean {
  return /dashboard|(^|:)https?$|(^|:)api/.test(listener.protocol);
}

/** Whether the page at `location` came by this listener: surely, perhaps (there may be a proxy between), or not. */
export function used(listener: Pick<Listener, 'protocol' | 'listen'>, location: { protocol: string; port: string }, all: readonly Pick<Listener, 'protocol' | 'listen'>[]): 'yes' | 'maybe' | 'no' {
  if (!servesPages(listener)) return 'no';
  const port = Number(location.port || (location.protocol === 'https:' ? 443 : 80));
  if (portOf(listener.listen) === port) return 'yes';
  return all.some((other) => servesPages(other) && portOf(other.listen) === port) ? 'no' : 'maybe';
}
