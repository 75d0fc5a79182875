/** Ways to look at a payload. A payload is anything at all: each way is bounded and gives plain text. */

export type View = 'text' | 'json' | 'hex' | 'base64';

/** Characters of a payload that are shown; the rest can be copied. */
export const SHOWN = 100_000;
/** Bytes of a payload that a hex dump shows. */
export const DUMPED = 16_384;
/** JSON nested deeper than this is shown as it came. */
const DEEPEST = 64;

export function bytesOf(base64: string): Uint8Array {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** The payload as text, or null when it is not UTF-8 or has control characters of machines in it. */
export function textOf(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // eslint-disable-next-line no-control-regex
    return /[\u0000-\u0008\u000e-\u001a\u001c-\u001f\u007f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

/**
 * JSON with line breaks and indents, every token as it came: numbers keep all their digits and doubled names stay.
 * Null when `text` is no JSON object or array.
 */
export function prettyJson(text: string): string | null {
  const first = text.trimStart()[0];
  if (first !== '{' && first !== '[') return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  // From here on the text is known to be well formed.
  let out = '';
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g;
  let empty = false;
  for (const [token] of text.matchAll(tokens)) {
    if (token === '{' || token === '[') {
      if (empty) out += line();
      out += token;
      depth += 1;
      if (depth > DEEPEST) return null;
      empty = true;
      continue;
    }
    if (token === '}' || token === ']') {
      depth -= 1;
      out += empty ? token : line() + token;
      empty = false;
      continue;
    }
    if (empty) {
      out += line();
      empty = false;
    }
    if (token === ',') out += `,${line()}`;
    else if (token === ':') out += ': ';
    else out += token;
  }
  return out;
}

/** Offset, sixteen bytes and their ASCII on each line. */
export function hexDump(bytes: Uint8Array, limit = DUMPED): string {
  const lines: string[] = [];
  const end = Math.min(bytes.length, limit);
  for (let from = 0; from < end; from += 16) {
    const row = Array.from(bytes.subarray(from, Math.min(from + 16, end)));
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0'));
    const left = hex.slice(0, 8).join(' ').padEnd(23);
    const right = hex.slice(8).join(' ').padEnd(23);
    const ascii = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${from.toString(16).padStart(8, '0')}  ${left}  ${right}  ${ascii}`);
  }
  return lines.join('\n');
}

/** A payload in all the ways that fit it; the first is the one to begin with. */
export interface Looks {
  views: View[];
  size: number;
  /** As it is shown: what is too long for a page is cut. */
  of: (view: View) => { text: string; cut: boolean };
  /** All of it, to be copied. */
  whole: (view: View) => string;
}

export function looksOf(base64: string): Looks {
  const bytes = bytesOf(base64);
  const text = textOf(bytes);
  const json = text === null ? null : prettyJson(text);
  const views: View[] = [];
  if (json !== null) views.push('json');
  if (text !== null) views.push('text');
  views.push('hex', 'base64');
  const whole = (view: View): string => {
    if (view === 'json' && json !== null) return json;
    if (view === 'text' && text !== null) return text;
    return view === 'base64' ? base64 : hexDump(bytes, bytes.length);
  };
  return {
    views,
    size: bytes.length,
    whole,
    of: (view) => {
      if (view === 'hex') return { text: hexDump(bytes), cut: bytes.length > DUMPED };
      const all = whole(view);
      return { text: all.slice(0, SHOWN), cut: all.length > SHOWN };
    },
  };
}
