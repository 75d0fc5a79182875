import type { Schemas } from '../../api/types';

/** What a ban is made of, and whether a form's values make one. */

export type BanKind = Schemas['BanKind'];
export const BAN_KINDS: readonly BanKind[] = ['client_id', 'username', 'ip'];

export type Unit = 'minutes' | 'hours' | 'days' | 'forever';
export const UNITS: readonly Unit[] = ['minutes', 'hours', 'days', 'forever'];

const SECONDS: Record<Exclude<Unit, 'forever'>, number> = { minutes: 60, hours: 3600, days: 86_400 };
/** Ten years; longer is for good. */
export const LONGEST_BAN = 3650 * 86_400;

/** The seconds of a ban; null for good; undefined when `amount` is no such number. */
export function secondsOf(amount: number | string, unit: Unit): number | null | undefined {
  if (unit === 'forever') return null;
  const number = typeof amount === 'number' ? amount : amount.trim() === '' ? Number.NaN : Number(amount);
  if (!Number.isFinite(number) || number <= 0) return undefined;
  const seconds = Math.round(number * SECONDS[unit]);
  return seconds >= 1 && seconds <= LONGEST_BAN ? seconds : undefined;
}

function isV4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

function isV6(text: string): boolean {
  let rest = text;
  // The last 32 bits may be written as an IPv4 address.
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(rest);
  if (tail?.[1] !== undefined && tail[2] !== undefined) {
    if (!isV4(tail[2])) return false;
    rest = `${tail[1]}0:0`;
  }
  const halves = rest.split('::');
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  return halves.length === 2 ? groups.length <= 7 : groups.length === 8;
}

/** Whether `text` is an IPv4 or IPv6 address. */
export const isIp = (text: string): boolean => isV4(text) || isV6(text);

/** Whether `text` is an address, or a net such as `10.0.0.0/8`. */
export function isAddress(text: string): boolean {
  const [address, mask, ...more] = text.split('/');
  if (address === undefined || more.length > 0) return false;
  if (!isIp(address)) return false;
  return mask === undefined || (/^\d{1,3}$/.test(mask) && Number(mask) <= (isV4(address) ? 32 : 128));
}

/** What is wrong with a form's value, or null. */
export function wrongValue(kind: BanKind, value: string): 'empty' | 'address' | null {
  if (value.trim() === '') return 'empty';
  if (kind === 'ip' && !isAddress(value.trim())) return 'address';
  return null;
}
