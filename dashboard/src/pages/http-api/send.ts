import { apiUrl, credentials } from '../../api/client';

export interface Answer {
  status: number;
  reason: string;
  ms: number;
  /** Bytes read. */
  size: number;
  text: string;
  /** There was more than is kept. */
  cut: boolean;
}

/** Bytes of an answer that are kept. */
export const MOST = 512 * 1024;
/** How long a stream without an end is read, seconds. */
export const STREAM_SECONDS = 5;

/** The address of a path of the document: beside the page, whatever path a proxy gave it. */
export function addressOf(path: string): string {
  return new URL(path.replace(/^\//, ''), new URL('../../', apiUrl(''))).href;
}

interface Request {
  method: string;
  path: string;
  open: boolean;
  body: string | undefined;
  type: string | undefined;
}

/** Asks, and measures how long the answer took. What came is read up to a bound. */
export async function send(request: Request): Promise<Answer> {
  const headers: Record<string, string> = {
    'X-Requested-With': 'emqttd-dashboard',
    ...(request.open ? {} : await credentials()),
  };
  if (request.body !== undefined) headers['Content-Type'] = request.type ?? 'application/json';
  const abort = new AbortController();
  const begun = performance.now();
  const response = await fetch(addressOf(request.path), {
    method: request.method,
    headers,
    body: request.body,
    signal: abort.signal,
    credentials: 'omit',
    cache: 'no-store',
  });
  const ms = performance.now() - begun;
  const stream = (response.headers.get('Content-Type') ?? '').startsWith('text/event-stream');
  const timer = stream ? setTimeout(() => abort.abort(), STREAM_SECONDS * 1000) : undefined;
  const { text, size, cut } = await read(response);
  clearTimeout(timer);
  // Leaves nothing open behind an answer that was too long.
  abort.abort();
  return { status: response.status, reason: response.statusText, ms: stream ? ms : performance.now() - begun, size, text, cut };
}

async function read(response: Response): Promise<{ text: string; size: number; cut: boolean }> {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  try {
    while (reader && size < MOST) {
      const { done, value } = await reader.read();
      if (done) return { text: text + decoder.decode(), size, cut: false };
      size += value.length;
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    // The end of a stream that we ended.
    if (!(error instanceof DOMException && error.name === 'AbortError')) throw error;
    return { text, size, cut: false };
  }
  return { text, size, cut: reader !== undefined };
}
