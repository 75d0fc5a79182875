/** Rates out of counters that are looked at now and then. */

export interface Sample {
  /** Milliseconds of a clock that does not jump. */
  at: number;
  counters: Record<string, number>;
}

/** How much each counter grew a second from `before` to `now`; nothing when it began anew or no time went by. */
export function ratesOf(before: Sample | undefined, now: Sample): Record<string, number> {
  if (!before || now.at - before.at < 100) return {};
  const seconds = (now.at - before.at) / 1000;
  const rates: Record<string, number> = {};
  for (const [name, value] of Object.entries(now.counters)) {
    const old = before.counters[name];
    if (old !== undefined && value >= old) rates[name] = (value - old) / seconds;
  }
  return rates;
}
