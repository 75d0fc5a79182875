import { useSyncExternalStore } from 'react';

// Whether the broker answered when it was last asked: what the banner and the dot in the header show.
let away = false;
const listeners = new Set<(away: boolean) => void>();

/** Every answer, and every failure to get one, is told here. */
export function reached(yes: boolean): void {
  if (away === !yes) return;
  away = !yes;
  for (const listener of listeners) listener(away);
}

export function onReach(listener: (away: boolean) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const isAway = (): boolean => away;

export function useAway(): boolean {
  return useSyncExternalStore(onReach, isAway);
}
