import { describe, expect, it } from 'vitest';
import { portOf, servesPages, used } from './listener';

const at = (port: string, protocol = 'http:') => ({ protocol, port });

describe('listeners', () => {
  it('have a port, with an address or without', () => {
    expect(portOf('0.0.0.0:1883')).toBe(1883);
    expect(portOf('[::1]:8083')).toBe(8083);
    expect(portOf('18083')).toBe(18083);
    expect(portOf('a')).toBeUndefined();
  });

  it('serve pages by HTTP only', () => {
    const protocols = ['dashboard:http', 'dashboard:https', 'mqtt:api', 'mqtt:tcp', 'mqtt:ws', 'stomp:tcp'];
    expect(protocols.map((protocol) => servesPages({ protocol }))).toEqual([true, true, true, false, false, false]);
  });

  it('are used when their port is that of the page', () => {
    const dashboard = { protocol: 'dashboard:http', listen: '0.0.0.0:18083' };
    const api = { protocol: 'mqtt:api', listen: '127.0.0.1:8080' };
    const tcp = { protocol: 'mqtt:tcp', listen: '0.0.0.0:1883' };
    const all = [dashboard, api, tcp];
    expect(all.map((one) => used(one, at('18083'), all))).toEqual(['yes', 'no', 'no']);
    // Behind a proxy nobody knows.
    expect(all.map((one) => used(one, at('', 'https:'), all))).toEqual(['maybe', 'maybe', 'no']);
    expect(used(tcp, at('1883'), all)).toBe('no');
  });
});
