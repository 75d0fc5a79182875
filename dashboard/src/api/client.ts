import { translate } from '../i18n';
import { answered } from './clock';
import { ApiError } from './errors';
import { reached } from './reach';
import { session, sessionOf } from './session';
import type { Login } from './types';

export type QueryValues = Record<string, string | number | boolean | null | undefined>;

export interface Call {
  query?: QueryValues;
  body?: unknown;
  signal?: AbortSignal;
  /** Send no token, and take a 401 for an answer rather than for the end of the login. */
  anonymous?: boolean;
}

/** One segment of a path: client ids and topics may hold `/`, `%` and anything else. */
export const segment = (text: string): string => encodeURIComponent(text);

/** Where the API is: beside this page, whatever path a proxy gave it. `path` is relative to `api/v2/`. */
export function apiUrl(path: string, query?: QueryValues): string {
  // A browser takes these for steps between directories, however they are encoded: another thing would be asked for, or deleted.
  if (path.split('/').some((part) => part === '.' || part === '..')) throw new ApiError(400, null, translate('error.dots'));
  const url = new URL(`api/v2/${path.replace(/^\//, '')}`, pageDirectory());
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, String(value));
  }
  return url.href;
}

function pageDirectory(): string {
  return typeof document === 'undefined' ? 'http://localhost/' : document.baseURI.replace(/[?#].*$/, '');
}

/** Asks for a token that lasts longer. Many may wait for the one request under way. */
let renewal: Promise<void> | null = null;
export function renew(): Promise<void> {
  renewal ??= exchange<Login>('POST', 'login/refresh', {})
    .then((login) => session.set(sessionOf(login, Date.now())))
    .finally(() => {
      renewal = null;
    });
  return renewal;
}

/** Renews the token in time also when nothing is asked: a page in the background must not lose its login. */
export function keepLogin(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const arrange = (): void => {
    clearTimeout(timer);
    const login = session.get();
    // Who must change the password first gets no other token: a login with the new one follows.
    if (!login || login.mustChangePassword) return;
    // Near the end of the longest login the next token lasts as long as this one: no hurry then.
    timer = setTimeout(() => void renew().catch(arrange), Math.max(login.renewAt - Date.now(), 10_000));
  };
  session.subscribe(arrange);
  arrange();
}

/** The headers that log this page in, with a token that is good for a while yet. */
export async function credentials(): Promise<Record<string, string>> {
  const now = session.get();
  if (!now) return {};
  if (Date.now() >= now.renewAt && !now.mustChangePassword) {
    // While the old token still holds, a broker that is away is the caller's business.
    await renew().catch(() => undefined);
  }
  const token = session.get()?.token;
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Asks and answers with what the envelope holds; throws `ApiError`. */
export async function request<T>(method: string, path: string, call: Call = {}): Promise<T> {
  return exchange<T>(method, path, call, call.anonymous ? {} : await credentials());
}

/** Ends the login here at once, and its token at the broker; where that cannot be told, it ends by itself within minutes. */
export function logout(): void {
  const token = session.get()?.token;
  session.clear();
  if (token) void exchange('POST', 'logout', { anonymous: true }, { Authorization: `Bearer ${token}` }).catch(() => undefined);
}

/** Longer than any answer takes: a broker that has nothing to say by then is away. */
const PATIENCE = 60_000;

async function exchange<T>(method: string, path: string, call: Call, login?: Record<string, string>): Promise<T> {
  const token = session.get()?.token;
  const headers: Record<string, string> = {
    Accept: 'application/json',
    'X-Requested-With': 'emqttd-dashboard',
    ...(login ?? (token ? { Authorization: `Bearer ${token}` } : {})),
  };
  if (call.body !== undefined) headers['Content-Type'] = 'application/json';
  const url = apiUrl(path, call.query);
  const patience = AbortSignal.timeout(PATIENCE);
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      signal: call.signal ? AbortSignal.any([call.signal, patience]) : patience,
      credentials: 'omit',
      cache: 'no-store',
    });
    answered(response.headers.get('Date'));
    text = await response.text();
  } catch (error) {
    if (call.signal?.aborted) throw error;
    reached(false);
    throw new ApiError(0, null, null);
  }
  return answer<T>(response, text, call.anonymous ? undefined : token);
}

/** `token`: what the question was asked with, if a 401 is to end its login. */
function answer<T>(response: Response, text: string, token: string | undefined): T {
  const body = parse(text);
  const envelope = isEnvelope(body) ? body : null;
  // A proxy before a broker that is away answers in its place; the broker's own "not now" comes in an envelope.
  reached(envelope !== null || ![502, 503, 504].includes(response.status));
  if (response.ok && (envelope === null || envelope.code === 0)) {
    return (envelope && 'result' in envelope ? envelope.result : envelope ? undefined : body) as T;
  }
  if (response.status === 401 && token) session.refused(token);
  const after = Number(response.headers.get('Retry-After'));
  throw new ApiError(
    response.status,
    envelope?.code ?? null,
    envelope?.message ?? (isPlain(response) && text ? text.slice(0, 500) : null),
    response.headers.has('Retry-After') && Number.isFinite(after) ? after : null,
  );
}

interface Envelope {
  code: number;
  result?: unknown;
  message?: string;
}

function isEnvelope(body: unknown): body is Envelope {
  return typeof body === 'object' && body !== null && 'code' in body && typeof body.code === 'number';
}

function isPlain(response: Response): boolean {
  return (response.headers.get('Content-Type') ?? '').startsWith('text/plain');
}

function parse(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** `api.get<Row>('clients/' + segment(id) + '/detail')`: paths are relative to `api/v2/`. */
export const api = {
  get: <T>(path: string, query?: QueryValues, signal?: AbortSignal) => request<T>('GET', path, { query, signal }),
  post: <T = unknown>(path: string, body?: unknown) => request<T>('POST', path, { body }),
  put: <T = unknown>(path: string, body?: unknown, query?: QueryValues) => request<T>('PUT', path, { body, query }),
  del: <T = unknown>(path: string, query?: QueryValues) => request<T>('DELETE', path, { query }),
};
