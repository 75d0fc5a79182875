import type { History } from '../../api/types';

/** What a `stats` event tells. */
export interface Stats {
  at: number;
  stats: Record<string, number>;
  metrics: Record<string, number>;
}

/** A point of time, in seconds, with values by the names `history` uses. */
export interface Point {
  time: number;
  values: Record<string, number | null>;
}

const COUNTERS = ['messages/received', 'messages/sent', 'messages/dropped', 'bytes/received', 'bytes/sent'];
const LEVELS = ['clients', 'sessions', 'subscriptions', 'retained'];

/** What live points have; the others come with the history only. */
export const SEEN = [...COUNTERS, ...LEVELS];

const seconds = (at: number): number => (at > 1e11 ? at / 1000 : at);

/** The point between two looks at the counters; `null` when they say nothing about a rate. */
export function pointOf(before: Stats, now: Stats): Point | null {
  const span = seconds(now.at) - seconds(before.at);
  if (span <= 0 || span > 30) return null;
  const values: Record<string, number | null> = {};
  for (const name of COUNTERS) {
    const [a, b] = [before.metrics[name], now.metrics[name]];
    // A counter that has fallen belongs to a broker that was started anew.
    values[name] = a === undefined || b === undefined || b < a ? null : (b - a) / span;
  }
  for (const name of LEVELS) values[name] = now.stats[`${name}/count`] ?? null;
  return { time: seconds(now.at), values };
}

/** A chart is at least so many steps wide, however short the history. */
export const LEAST = 24;

/** Where a chart begins: at the first step of which anything is known. */
export function beginning(history: History): number {
  const series = Object.values(history.series);
  const steps = Math.max(0, ...series.map((values) => values.length));
  const known = series.map((values) => values.findIndex((value) => value !== null)).filter((at) => at >= 0);
  return Math.max(0, Math.min(steps - LEAST, ...known));
}

/** The history from its beginning on, and behind its end what has been seen live. */
export function joined(history: History, live: Point[], names: string[]): { times: number[]; values: (number | null)[][] } {
  const steps = Math.max(0, ...names.map((name) => history.series[name]?.length ?? 0));
  const first = beginning(history);
  const at = Array.from({ length: Math.max(0, steps - first) }, (_, step) => first + step);
  const times = at.map((step) => history.from + step * history.step_seconds);
  const end = times.at(-1) ?? 0;
  const later = live.filter((point) => point.time > end);
  return {
    times: [...times, ...later.map((point) => point.time)],
    values: names.map((name) => [...at.map((step) => history.series[name]?.[step] ?? null), ...later.map((point) => point.values[name] ?? null)]),
  };
}
