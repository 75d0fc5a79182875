import type { Schemas } from '../../api/types';

/** Its `seq` counts up. */
export type Entry = Schemas['AuditEntry'];

export const VIAS = ['basic', 'token', 'key', 'login', 'cli'] as const;
export type Via = (typeof VIAS)[number];
export const isVia = (text: string): text is Via => (VIAS as readonly string[]).includes(text);

export type Verdict = 'ok' | 'refused' | 'failed' | 'unknown';

/** What became of it: `200`, `200/112`, `ok`, `code 103`… A code of EMQ decides over a status of 200. */
export function verdictOf(outcome: string): Verdict {
  const numbers = outcome.match(/\d+/g)?.map(Number) ?? [];
  const status = numbers.find((number) => number >= 200 && number < 600);
  const code = numbers.find((number) => number >= 100 && number < 200);
  if (status !== undefined && status >= 500) return 'failed';
  if (code !== undefined || (status !== undefined && status >= 400)) return 'refused';
  if (status !== undefined || numbers.includes(0) || /^(ok|done)\b/i.test(outcome)) return 'ok';
  return /error|fail|refus/i.test(outcome) ? 'refused' : 'unknown';
}

/** Where the next piece begins: behind the oldest entry there is. */
export function nextBefore(page: readonly Entry[], limit: number): number | undefined {
  return page.length < limit ? undefined : page.at(-1)?.seq;
}

export function fits(entry: Entry, text: string): boolean {
  const hay = `${entry.who} ${entry.from} ${entry.via} ${readable(entry.action)} ${entry.outcome}`.toLowerCase();
  return hay.includes(text.trim().toLowerCase());
}

/** An action as people read it: what is encoded in a path is decoded, but for slashes, which would mislead. */
export function readable(action: string): string {
  return action
    .split(/%2f/i)
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    })
    .join('%2F');
}
