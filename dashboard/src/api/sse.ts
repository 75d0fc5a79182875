/** What a stream may be asked for. */
export type Kind = 'clients' | 'sessions' | 'alarms' | 'plugins' | 'listeners' | 'stats';

/** Whether an event (`client.connected`, `stats`) is of one of these kinds; that some were `lost` concerns all. */
export function concerns(event: string, kinds: readonly Kind[]): boolean {
  const subject = event.split('.', 1)[0] ?? '';
  return event === 'lost' || kinds.some((kind) => kind === subject || kind === `${subject}s`);
}

/** One event of a `text/event-stream`. */
export interface ServerEvent {
  event: string;
  data: string;
}

/** Takes the stream in pieces, as they come, and gives the events that are whole. */
export class EventParser {
  private rest = '';
  private event = '';
  private data: string[] = [];

  feed(piece: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const lines = (this.rest + piece).split(/\r\n|\n|\r(?!$)/);
    // The last line has no end yet; a `\r` at the end of the piece may be half of one.
    this.rest = lines.pop() ?? '';
    for (const line of lines) this.line(line, events);
    return events;
  }

  private line(line: string, events: ServerEvent[]): void {
    if (line === '') {
      if (this.data.length > 0) events.push({ event: this.event || 'message', data: this.data.join('\n') });
      this.event = '';
      this.data = [];
      return;
    }
    const colon = line.indexOf(':');
    // A line that begins with a colon is a heartbeat.
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.event = value;
    else if (field === 'data') this.data.push(value);
  }
}

/** How long to wait before the n-th try (from 0), in milliseconds: 0.5 s doubling up to 5 s, and up to a quarter more so that pages do not all come at once. */
export function backOff(tries: number, random: number = Math.random()): number {
  return Math.min(5000, 500 * 2 ** Math.min(tries, 10)) * (1 + random / 4);
}
