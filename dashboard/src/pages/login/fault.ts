import type { PlainKey } from '../../i18n';
import { passwordFault } from '../users/rules';

/** What is wrong with a new password, if anything. */
export function fault(old: string, next: string, repeated: string): { field: 'next' | 'repeated'; key: PlainKey } | null {
  const why = passwordFault(next, old);
  if (why) return { field: 'next', key: why === 'short' ? 'password.short' : 'password.same' };
  return next === repeated ? null : { field: 'repeated', key: 'password.differs' };
}
