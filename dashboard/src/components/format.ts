import { locale } from '../i18n';

/** A whole number with its thousands apart. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined || !Number.isFinite(value) ? '–' : new Intl.NumberFormat(locale()).format(value);
}

/** A number in little space: `1.2k`, `34M`; below 10 with a decimal if it has one. */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1000) return new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 }).format(value).replace('K', 'k');
  if (size >= 10 || Number.isInteger(value)) return String(Math.round(value));
  return value.toFixed(size < 1 ? 2 : 1);
}

/** Bytes in units of 1024. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Math.abs(size) >= 100 ? 0 : Math.abs(size) >= 10 ? 1 : 2;
  return `${size.toFixed(digits)} ${units[unit]}`;
}

/** A length of time in its two greatest units: `3 d 4 h`, `12 min 5 s`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  const whole = Math.max(0, Math.floor(seconds));
  const zh = locale() === 'zh-CN';
  const units: [number, string][] = [
    [86_400, zh ? '天' : 'd'],
    [3600, zh ? '小时' : 'h'],
    [60, zh ? '分' : 'min'],
    [1, zh ? '秒' : 's'],
  ];
  const parts: string[] = [];
  let rest = whole;
  for (const [size, name] of units) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) parts.push(`${n} ${name}`);
    if (parts.length === 2 || (parts.length === 1 && n === 0)) break;
  }
  return parts.join(' ') || `0 ${zh ? '秒' : 's'}`;
}

/** Milliseconds since 1970 of what the API calls a time: seconds or milliseconds since 1970, RFC 3339, or `YYYY-MM-DD HH:MM:SS` (the broker's wall clock, taken for ours). */
export function moment(value: string | number | null | undefined): number | null {
  if (value === null || value === undefined || value === '') return null;
  if (typeof value === 'number') return dated(value < 1e11 ? value * 1000 : value);
  const time = Date.parse(/^\d{4}-\d{2}-\d{2} /.test(value) ? value.replace(' ', 'T') : value);
  return dated(time);
}

/** A time that a calendar has; what lies beyond would break what writes it. */
const dated = (time: number): number | null => (Math.abs(time) <= 8.64e15 ? time : null);

/** A point in time as the language writes it, with seconds. */
export function dateTime(value: string | number | null | undefined): string {
  const time = moment(value);
  if (time === null) return typeof value === 'string' && value ? value : '–';
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'medium' }).format(time);
}

export function clock(time: number, seconds = false): string {
  return new Intl.DateTimeFormat(locale(), { hour: '2-digit', minute: '2-digit', second: seconds ? '2-digit' : undefined, hour12: false }).format(time);
}
