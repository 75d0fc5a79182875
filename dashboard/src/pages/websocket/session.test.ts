import { describe, expect, it } from 'vitest';
import {
  address,
  connackWord,
  disconnectWord,
  faultsOf,
  filterFault,
  freshLogin,
  KEPT,
  KEPT_BYTES,
  portFor,
  portsOf,
  randomClientId,
  readable,
  refused,
  remember,
  topicFault,
  SHIPPED,
} from './session';

const login = freshLogin('broker.lan', false);

describe('the address', () => {
  it('is ws or wss with port and path', () => {
    expect(address(login)).toBe('ws://broker.lan:8083/mqtt');
    expect(address({ host: 'h', port: 8084, path: 'mqtt', ssl: true })).toBe('wss://h:8084/mqtt');
  });

  it('puts brackets around IPv6 once', () => {
    expect(address({ host: '::1', port: 8083, path: '/mqtt', ssl: false })).toBe('ws://[::1]:8083/mqtt');
    expect(address({ host: '[::1]', port: 8083, path: '/mqtt', ssl: false })).toBe('ws://[::1]:8083/mqtt');
  });

  it('has the port that goes with SSL, but keeps a typed one', () => {
    expect(portFor(true, 8083, SHIPPED)).toBe(8084);
    expect(portFor(false, 8084, SHIPPED)).toBe(8083);
    expect(portFor(true, 9001, SHIPPED)).toBe(9001);
    const others = { plain: 9001, ssl: 9002 };
    expect([portFor(false, 8083, others), portFor(true, 8083, others), portFor(true, 9001, others), portFor(true, 9003, others)]).toEqual([9001, 9002, 9002, 9003]);
  });

  it('are those of the listeners there are', () => {
    const at = (protocol: string, listen: string, running = true) => ({ protocol, listen, running });
    expect(portsOf([])).toEqual(SHIPPED);
    expect(portsOf([at('mqtt:ws', '0.0.0.0:9001'), at('mqtt:wss', '[::1]:9002'), at('mqtt:tcp', '0.0.0.0:1883')])).toEqual({ plain: 9001, ssl: 9002 });
    expect(portsOf([at('mqtt:ws', '0.0.0.0:9001'), at('mqtt:ws', '0.0.0.0:8083'), at('mqtt:wss', '9002', false)])).toEqual(SHIPPED);
  });
});

describe('the login form', () => {
  it('begins as EMQ 2.3 had it', () => {
    expect(login).toMatchObject({ port: 8083, path: '/mqtt', keepalive: 60, clean: true, version: 4, username: '' });
    expect(login.clientId).toMatch(/^mqttjs_[0-9a-f]{10}$/);
    expect(randomClientId()).not.toBe(randomClientId());
    expect(faultsOf(login)).toEqual([]);
  });

  it('names each field that is wrong', () => {
    const fields = faultsOf({ ...login, host: ' ', port: 70000, keepalive: '', will: true, willTopic: 'a/#' });
    expect(fields.map((fault) => fault.field)).toEqual(['host', 'port', 'keepalive', 'willTopic']);
    expect(faultsOf({ ...login, host: 'a b' })).toEqual([{ field: 'host', why: 'hostWrong' }]);
  });

  it('lets the server make up an id only where MQTT does', () => {
    const none = { ...login, clientId: '' };
    expect(faultsOf(none)).toEqual([]);
    expect(faultsOf({ ...none, clean: false })).toEqual([{ field: 'clientId', why: 'clientIdNeedsClean' }]);
    expect(faultsOf({ ...none, version: 3 })).toEqual([{ field: 'clientId', why: 'clientIdMissing' }]);
    expect(faultsOf({ ...none, clean: false, version: 5 })).toEqual([]);
  });

  it('takes a password without a user name with MQTT 5 only', () => {
    const alone = { ...login, password: 'x' };
    expect(faultsOf(alone)).toEqual([{ field: 'password', why: 'passwordWithoutUser' }]);
    expect(faultsOf({ ...alone, version: 5 })).toEqual([]);
  });
});

describe('topics', () => {
  it('have no wildcards where something is published', () => {
    expect(topicFault('/World')).toBeUndefined();
    expect(topicFault('')).toBe('topicMissing');
    expect(topicFault('a/+')).toBe('topicWildcard');
  });

  it('have wildcards as whole levels, # at the end', () => {
    for (const good of ['#', '+', 'a/+/b', 'a/#', '/', '$share/g/a/#']) expect(filterFault(good)).toBeUndefined();
    for (const bad of ['a#', 'a/#/b', 'a+', '+a/b']) expect(filterFault(bad)).toBe('filterWrong');
    expect(filterFault('')).toBe('topicMissing');
  });
});

describe('lists', () => {
  it('have the newest first and are bounded', () => {
    const of = (id: number, size = 1) => ({ id, payload: new Uint8Array(size) });
    expect(remember([of(2), of(1)], [of(3), of(4)]).map(({ id }) => id)).toEqual([4, 3, 2, 1]);
    const full = remember(Array.from({ length: KEPT }, (_, i) => of(i)), [of(-1)]);
    expect(full).toHaveLength(KEPT);
    expect(full[0]?.id).toBe(-1);
    // Large ones: as many as there is room for, and the newest in any case.
    expect(remember([of(2, KEPT_BYTES / 2), of(1)], [of(3, KEPT_BYTES / 2)]).map(({ id }) => id)).toEqual([3, 2]);
    expect(remember([of(1)], [of(2, KEPT_BYTES + 1)]).map(({ id }) => id)).toEqual([2]);
  });
});

describe('payloads', () => {
  const bytes = (text: string) => new TextEncoder().encode(text);

  it('are text where they are text', () => {
    expect(readable(bytes('héllo 世界'))).toEqual({ text: 'héllo 世界', binary: false, cut: false });
  });

  it('are hexadecimal where they are not', () => {
    expect(readable(Uint8Array.of(0xff, 0x00, 0x0a))).toEqual({ text: 'ff 00 0a', binary: true, cut: false });
    expect(readable(Uint8Array.of(0x41, 0x00)).binary).toBe(true);
  });

  it('are cut, even within a character', () => {
    expect(readable(bytes('世界'), 4)).toEqual({ text: '世', binary: false, cut: true });
  });
});

describe('codes in words', () => {
  it('differ between 3.1.1 and 5.0', () => {
    expect(connackWord(4, 5)).toBe('notAuthorized');
    expect(connackWord(3, 4)).toBe('password');
    expect(connackWord(5, 0x86)).toBe('password');
    expect(connackWord(5, 0x8a)).toBe('banned');
    expect(connackWord(5, 5)).toBe('other');
    expect(connackWord(4, 0x86)).toBe('other');
  });

  it('say who ended a connection', () => {
    expect(disconnectWord(0x8e)).toBe('takenOver');
    expect(disconnectWord(0x98)).toBe('kicked');
    expect(disconnectWord(0)).toBe('other');
  });

  it('know a refused subscription', () => {
    expect(refused(2)).toBe(false);
    expect(refused(0x80)).toBe(true);
    expect(refused(0x87)).toBe(true);
  });
});
