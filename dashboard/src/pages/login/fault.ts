import type { PlainKey } from '../../i18n';

const LEAST = 8;

/** What is wrong with a new password, if anything. */
export function fault(old: string, next: string, repeated: string): { field: 'next' | 'repeated'; key: PlainKey } | null {
  if ([...next].length < LEAST) return { field: 'next', key: 'password.short' };
  if (next === old) return { field: 'next', key: 'password.same' };
  if (next !== repeated) return { field: 'repeated', key: 'password.differs' };
  return null;
}
