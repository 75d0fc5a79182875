import type { Schemas } from '../../api/types';

export type Kind = Schemas['TraceKind'];
export type Trace = Schemas['Trace'];
export type TraceLog = Schemas['TraceLog'];

/** Bytes of a log that are shown, and that are saved at most. */
export const SHOWN = 64 * 1024;
export const SAVED = 1024 * 1024;

/** A name for the saved file that every system takes. */
export function fileName(trace: Pick<Trace, 'kind' | 'name'>, at: Date): string {
  const name = trace.name.replace(/[^\w.-]+/g, '_').slice(0, 80) || '_';
  const time = at.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  return `trace-${trace.kind}-${name}-${time}.log`;
}

/** The text from its first whole line on, when something was left out before. */
export function wholeLines(log: TraceLog): string {
  const shown = new TextEncoder().encode(log.text).length;
  if (shown >= log.size) return log.text;
  const line = log.text.indexOf('\n');
  return line < 0 ? log.text : log.text.slice(line + 1);
}
