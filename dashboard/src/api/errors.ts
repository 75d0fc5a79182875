import { translate, type PlainKey } from '../i18n';

/** An answer that was a refusal, or none at all (`status` 0: the broker was not reached). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: number | null,
    /** The sentence of the server, if it gave one. */
    readonly detail: string | null,
    /** Seconds to wait (429), if the server said so. */
    readonly retryAfter: number | null = null,
  ) {
    super(detail ?? `status ${status}, code ${code ?? '-'}`);
    this.name = 'ApiError';
  }

  get unreachable(): boolean {
    return this.status === 0;
  }
}

const CODES: Record<number, PlainKey> = {
  101: 'error.101',
  102: 'error.102',
  103: 'error.103',
  104: 'error.104',
  105: 'error.105',
  106: 'error.106',
  107: 'error.107',
  108: 'error.108',
  109: 'error.109',
  110: 'error.110',
  111: 'error.111',
  112: 'error.112',
  113: 'error.113',
  114: 'error.114',
};

const STATUSES: Record<number, PlainKey> = {
  0: 'error.unreachable',
  401: 'error.401',
  403: 'error.403',
  404: 'error.404',
  409: 'error.409',
  413: 'error.413',
  429: 'error.429',
  500: 'error.500',
  503: 'error.503',
};

/** An error in words, in the language shown. The server's own sentence, being the most exact, comes first. */
export function words(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error);
  if (error.status === 429 && error.retryAfter !== null) return translate('error.wait', { n: error.retryAfter });
  if (error.detail) return error.detail;
  const key = (error.code !== null ? CODES[error.code] : undefined) ?? STATUSES[error.status];
  return key ? translate(key) : translate('error.other', { status: error.status, code: error.code ?? '-' });
}
