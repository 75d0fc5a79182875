import { expect, it } from 'vitest';
import { setLanguage, translate } from '../../i18n';
import { described, told } from './told';

it('what is known is said in the language shown, all else as it is', () => {
  expect(described('EMQ Retainer', 'en')).toBe('EMQ Retainer');
  expect(described('EMQ Retainer', 'zh')).toBe('保留消息存储');
  expect(described('of somebody else', 'zh')).toBe('of somebody else');
  setLanguage('en');
  expect(told('running for', '3661 s', translate)).toEqual(['Running for', '1 h 1 min']);
  expect(told('state', 'inactive', translate)).toEqual(['State', 'Stopped']);
  expect(told('own figure', 'active', translate)).toEqual(['own figure', 'active']);
  setLanguage('zh');
  expect(told('kind', 'built in', translate)).toEqual(['类型', '内置']);
  expect(told('kind', 'library x.so', translate)).toEqual(['类型', 'library x.so']);
  setLanguage('en');
});
