import { useSyncExternalStore } from 'react';
import type { Path } from 'wouter';

/**
 * Where we are, kept behind the `#`: `#/clients?search=a`. wouter's own hash hook keeps the query
 * before the `#`, which asks the server again and stays when the page changes.
 */
function subscribe(listener: () => void): () => void {
  window.addEventListener('hashchange', listener);
  return () => window.removeEventListener('hashchange', listener);
}

const whole = (): string => '/' + window.location.hash.replace(/^#?\/?/, '');
export const pathOf = (place: string): string => place.split('?', 1)[0] ?? '/';
export const searchOf = (place: string): string => place.slice(pathOf(place).length);

export function navigate(to: string, options: { replace?: boolean } = {}): void {
  const oldURL = window.location.href;
  const url = new URL(oldURL);
  url.hash = to.startsWith('/') ? to : `/${to}`;
  if (url.href === oldURL) return;
  window.history[options.replace ? 'replaceState' : 'pushState'](null, '', url.href);
  window.dispatchEvent(new HashChangeEvent('hashchange', { oldURL, newURL: url.href }));
}

/** wouter undoes percent-encoding once; ids that hold `/` or `%` need theirs until a page's parameters are read. */
const guarded = (text: string): string => text.replace(/%/g, '%25');

export function useHashPlace(): [Path, typeof navigate] {
  return [useSyncExternalStore(subscribe, () => guarded(pathOf(whole()))), navigate];
}
useHashPlace.hrefs = (href: string): string => `#${href}`;
useHashPlace.searchHook = (): string => useSyncExternalStore(subscribe, () => guarded(searchOf(whole())));

/** Whether a place is one of a route: `/clients/:id` has as many segments as `/clients/a%2Fb`. */
export function matches(pattern: string, place: string): boolean {
  const wanted = pattern.split('/');
  const given = place.replace(/(.)\/$/, '$1').split('/');
  return wanted.length === given.length && wanted.every((part, at) => part.startsWith(':') || part === given[at]);
}

/** A segment without its percent-encoding; what somebody typed into the address may have none. */
export function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
