import { describe, expect, it } from 'vitest';
import { changesOf, controlOf, faultsOf, freeFault, isOn, type PluginKey, startOf } from './form';

const keys: PluginKey[] = [
  { key: 'auth.x.server', value: '127.0.0.1:1', required: true, datatype: 'string' },
  { key: 'auth.x.pool', value: '8', datatype: 'integer' },
  { key: 'auth.x.ssl', value: 'false', datatype: 'flag' },
  { key: 'auth.x.anon', value: '', default: 'true', datatype: 'enum', choices: ['true', 'false'] },
  { key: 'auth.x.hash', value: 'sha256', datatype: 'enum', choices: ['plain', 'sha256'] },
  { key: 'auth.x.password', value: '******', secret: true, datatype: 'string', required: true },
];

describe('controls', () => {
  it('fit the key', () => {
    expect(keys.map((key) => controlOf(key).kind)).toEqual(['text', 'number', 'switch', 'switch', 'select', 'secret']);
  });

  it('of a switch use the words of its choices', () => {
    expect(controlOf(keys[3]!)).toEqual({ kind: 'switch', on: 'true', off: 'false' });
    expect(controlOf(keys[2]!)).toEqual({ kind: 'switch', on: 'on', off: 'off' });
    expect(isOn('true') && isOn('on')).toBe(true);
    expect(isOn('off')).toBe(false);
  });
});

describe('what is sent', () => {
  it('is nothing while nothing changes', () => {
    expect(changesOf(keys, startOf(keys))).toEqual({});
  });

  it('does not show secrets, and an empty one stays as it is', () => {
    expect(startOf(keys)['auth.x.password']).toBe('');
    const form = { ...startOf(keys), 'auth.x.password': 'new' };
    expect(changesOf(keys, form)).toEqual({ 'auth.x.password': 'new' });
  });

  it('is what differs, and the free lines', () => {
    const form = { ...startOf(keys), 'auth.x.ssl': 'on', 'auth.x.pool': '9', 'auth.x.anon': 'false' };
    expect(changesOf(keys, form, [{ key: ' auth.x.more ', value: ' 1 ' }, { key: '', value: '' }])).toEqual({
      'auth.x.ssl': 'on',
      'auth.x.pool': '9',
      'auth.x.anon': 'false',
      'auth.x.more': '1',
    });
  });
});

describe('faults', () => {
  it('are empty required keys and letters in numbers', () => {
    expect(faultsOf(keys, startOf(keys))).toEqual({});
    const form = { ...startOf(keys), 'auth.x.server': ' ', 'auth.x.pool': '9a' };
    expect(faultsOf(keys, form)).toEqual({ 'auth.x.server': 'required', 'auth.x.pool': 'integer' });
  });

  it('leave alone what never had a value', () => {
    const unset = [
      { key: 'a.b', secret: true, required: true, value: '' },
      { key: 'a.c', required: true, value: null },
    ];
    expect(faultsOf(unset, startOf(unset))).toEqual({});
  });

  it('of free lines', () => {
    const lines = [
      { key: '', value: '' },
      { key: 'no dots', value: '1' },
      { key: 'auth.x.pool', value: '1' },
      { key: 'auth.x.y', value: '' },
      { key: 'auth.x.access.1', value: 'allow all' },
      { key: 'auth.x.access.1', value: 'deny all' },
    ];
    expect(lines.map((_, at) => freeFault(keys, lines, at))).toEqual([
      undefined,
      'keyForm',
      'keyTwice',
      'valueMissing',
      undefined,
      'keyTwice',
    ]);
  });
});
