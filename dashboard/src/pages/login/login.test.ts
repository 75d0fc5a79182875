import { expect, test } from 'vitest';
import { fault } from './fault';

test('a new password is long enough, new, and typed twice', () => {
  expect(fault('old password', 'short', 'short')?.key).toBe('password.short');
  // Characters, not bytes or halves of them.
  expect(fault('old password', '密码密码密码密', '密码密码密码密')?.key).toBe('password.short');
  expect(fault('old password', '😀😀😀😀😀😀😀', '😀😀😀😀😀😀😀')?.key).toBe('password.short');
  expect(fault('old password', 'old password', 'old password')?.key).toBe('password.same');
  expect(fault('old password', 'another one', 'another 1')).toEqual({ field: 'repeated', key: 'password.differs' });
  expect(fault('old password', 'another one', 'another one')).toBeNull();
});
