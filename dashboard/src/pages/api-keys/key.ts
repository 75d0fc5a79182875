import type { Schemas, Whole } from '../../api/types';

export type ApiKey = Whole<Schemas['ApiKey']>;
export type CreatedKey = Whole<Schemas['CreatedApiKey']>;

export const SCOPES = ['read', 'publish', 'clients', 'manage', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

export const isScope = (text: string): text is Scope => (SCOPES as readonly string[]).includes(text);

/** Days a key may live; nothing: for ever. */
export const LIVES = ['', '1', '30', '90', '365'] as const;
export type Life = (typeof LIVES)[number];

/** Seconds of a life. */
export function secondsOf(life: Life): number | undefined {
  return life === '' ? undefined : Number(life) * 86_400;
}

/** `admin` holds all others; they would say nothing more. */
export function scopesOf(chosen: readonly string[]): Scope[] {
  const scopes = SCOPES.filter((scope) => chosen.includes(scope));
  return scopes.includes('admin') ? ['admin'] : scopes;
}

export function isExpired(key: Pick<ApiKey, 'expires_at'>, now: number): boolean {
  return key.expires_at !== null && key.expires_at * 1000 <= now;
}

export const headerOf = (key: Pick<CreatedKey, 'id' | 'secret'>): string => `Authorization: Bearer ${key.id}.${key.secret}`;

export const curlOf = (key: Pick<CreatedKey, 'id' | 'secret'>, url: string): string => `curl -u ${key.id}:${key.secret} ${url}`;
