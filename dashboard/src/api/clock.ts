// What is "3 minutes ago" is so by the clock of the broker, whose times are shown; that of the browser may be wrong.

/** Broker minus browser, in milliseconds. */
let ahead = 0;
/** The header has whole seconds, and an answer takes its time: what is less may be nothing. */
const DOUBT = 2000;

/** `date` is the header of an answer that came at `now`. */
export function answered(date: string | null, now = Date.now()): void {
  const time = date === null ? NaN : Date.parse(date);
  if (Number.isNaN(time)) return;
  // On average half a second of it is cut off.
  const difference = time + 500 - now;
  ahead = Math.abs(difference) < DOUBT ? 0 : difference;
}

/** Now, in milliseconds since 1970, as the broker sees it. */
export const brokerNow = (): number => Date.now() + ahead;
