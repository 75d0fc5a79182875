/** What the WebSocket tool knows of MQTT, apart from the page: addresses, reasons in words, bounded lists. */
import { portOf } from '../listeners/listener';
import { isTopicFilter, isTopicName } from '../subscriptions/topic';

/** Versions as CONNECT names them. */
export type Version = 3 | 4 | 5;
export type Qos = 0 | 1 | 2;

/** What the form holds. */
export interface Login {
  host: string;
  port: number | '';
  path: string;
  ssl: boolean;
  clientId: string;
  username: string;
  password: string;
  keepalive: number | '';
  clean: boolean;
  version: Version;
  will: boolean;
  willTopic: string;
  willPayload: string;
  willQos: Qos;
  willRetain: boolean;
}

/** A message in one of the two lists. */
export interface Entry {
  id: number;
  at: number;
  topic: string;
  payload: Uint8Array;
  qos: Qos;
  retain: boolean;
}

/** Where WebSocket listeners are, without TLS and with it. */
export interface Ports {
  plain: number;
  ssl: number;
}

/** Those of the shipped configuration. */
export const SHIPPED: Ports = { plain: 8083, ssl: 8084 };

/** Those of this broker: where no listener is on the shipped port, that of the first there is. */
export function portsOf(listeners: readonly { protocol: string; listen: string; running: boolean }[]): Ports {
  const of = (protocol: string, shipped: number): number => {
    const open = listeners.filter((one) => one.running && one.protocol === protocol);
    const ports = open.map((one) => portOf(one.listen));
    return ports.includes(shipped) ? shipped : (ports[0] ?? shipped);
  };
  return { plain: of('mqtt:ws', SHIPPED.plain), ssl: of('mqtt:wss', SHIPPED.ssl) };
}

/** How many messages a list keeps, and how many bytes of payloads. */
export const KEPT = 500;
export const KEPT_BYTES = 16 * 1024 * 1024;

/** How many bytes of a payload are shown before somebody asks for all. */
export const SHOWN_BYTES = 2048;

export function randomClientId(random: () => number = Math.random): string {
  return `mqttjs_${Array.from({ length: 10 }, () => Math.floor(random() * 16).toString(16)).join('')}`;
}

export function freshLogin(hostname: string, secure: boolean): Login {
  return {
    host: hostname,
    port: secure ? SHIPPED.ssl : SHIPPED.plain,
    path: '/mqtt',
    ssl: secure,
    clientId: randomClientId(),
    username: '',
    password: '',
    keepalive: 60,
    clean: true,
    version: 4,
    will: false,
    willTopic: '/World/will',
    willPayload: '',
    willQos: 0,
    willRetain: false,
  };
}

/** The port that goes with `ssl`, unless somebody typed one of their own. */
export function portFor(ssl: boolean, port: number | '', ports: Ports): number | '' {
  const ours: (number | '')[] = [SHIPPED.plain, SHIPPED.ssl, ports.plain, ports.ssl];
  return ours.includes(port) ? (ssl ? ports.ssl : ports.plain) : port;
}

/** IPv6 addresses stand in brackets. */
export function address(login: Pick<Login, 'host' | 'port' | 'path' | 'ssl'>): string {
  const host = login.host.trim();
  const bracketed = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  const path = login.path.startsWith('/') ? login.path : `/${login.path}`;
  return `${login.ssl ? 'wss' : 'ws'}://${bracketed}:${login.port}${path}`;
}

/** What is wrong with the form: the field, and the name of the sentence that says so. */
export type Fault =
  | { field: 'host'; why: 'hostMissing' | 'hostWrong' }
  | { field: 'port'; why: 'portWrong' }
  | { field: 'clientId'; why: 'clientIdNeedsClean' | 'clientIdMissing' }
  | { field: 'password'; why: 'passwordWithoutUser' }
  | { field: 'keepalive'; why: 'keepaliveWrong' }
  | { field: 'willTopic'; why: 'topicMissing' | 'topicWildcard' };

export function faultsOf(login: Login): Fault[] {
  const faults: Fault[] = [];
  if (login.host.trim() === '') faults.push({ field: 'host', why: 'hostMissing' });
  else if (!URL.canParse(address({ ...login, port: SHIPPED.plain }))) faults.push({ field: 'host', why: 'hostWrong' });
  if (!whole(login.port, 1, 65535)) faults.push({ field: 'port', why: 'portWrong' });
  if (!whole(login.keepalive, 0, 65535)) faults.push({ field: 'keepalive', why: 'keepaliveWrong' });
  if (login.clientId === '') {
    // 3.1 wants an id; 3.1.1 lets the server make one up for clean sessions only [MQTT-3.1.3-7]
    if (login.version === 3) faults.push({ field: 'clientId', why: 'clientIdMissing' });
    else if (login.version === 4 && !login.clean) faults.push({ field: 'clientId', why: 'clientIdNeedsClean' });
  }
  if (login.version !== 5 && login.password !== '' && login.username === '') {
    // [MQTT-3.1.2-22] of 3.1.1
    faults.push({ field: 'password', why: 'passwordWithoutUser' });
  }
  if (login.will) {
    const why = topicFault(login.willTopic);
    if (why) faults.push({ field: 'willTopic', why });
  }
  return faults;
}

function whole(value: number | '', least: number, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}

/** Why nothing can be published to `topic`. */
export function topicFault(topic: string): 'topicMissing' | 'topicWildcard' | undefined {
  if (topic === '') return 'topicMissing';
  return isTopicName(topic) ? undefined : 'topicWildcard';
}

/** Why `filter` cannot be subscribed to. */
export function filterFault(filter: string): 'topicMissing' | 'filterWrong' | undefined {
  if (filter === '') return 'topicMissing';
  return isTopicFilter(filter) ? undefined : 'filterWrong';
}

/** The newest first, never more than {@link KEPT}, and of large ones fewer: the newest stays whatever its size. */
export function remember<T extends Pick<Entry, 'payload'>>(list: readonly T[], newer: readonly T[]): T[] {
  const all = [...newer].reverse().concat(list).slice(0, KEPT);
  let bytes = 0;
  const full = all.findIndex((one, at) => (bytes += one.payload.length) > KEPT_BYTES && at > 0);
  return full < 0 ? all : all.slice(0, full);
}

/** A payload as text, or in hexadecimal where it is none. */
export function readable(payload: Uint8Array, most = Infinity): { text: string; binary: boolean; cut: boolean; } {
  const cut = payload.length > most;
  const shown = cut ? payload.subarray(0, most) : payload;
  const text = decode(shown, cut);
  if (text !== undefined) return { text, binary: false, cut };
  const hex = Array.from(shown, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return { text: hex, binary: true, cut };
}

function decode(bytes: Uint8Array, cut: boolean): string | undefined {
  try {
    // `stream` forgives a character that was cut in two
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: cut });
    // eslint-disable-next-line no-control-regex
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** The sentences that a CONNACK's code has; 3.1.1 and 5.0 count differently. */
export type ConnackWord =
  | 'version'
  | 'clientId'
  | 'unavailable'
  | 'password'
  | 'notAuthorized'
  | 'banned'
  | 'busy'
  | 'quota'
  | 'rate'
  | 'malformed'
  | 'tooLarge'
  | 'moved'
  | 'willTopic'
  | 'unsupported'
  | 'other';

const CONNACK_3: Record<number, ConnackWord> = {
  1: 'version',
  2: 'clientId',
  3: 'unavailable',
  4: 'password',
  5: 'notAuthorized',
};

const CONNACK_5: Record<number, ConnackWord> = {
  0x81: 'malformed',
  0x82: 'malformed',
  0x84: 'version',
  0x85: 'clientId',
  0x86: 'password',
  0x87: 'notAuthorized',
  0x88: 'unavailable',
  0x89: 'busy',
  0x8a: 'banned',
  0x8c: 'password',
  0x90: 'willTopic',
  0x95: 'tooLarge',
  0x97: 'quota',
  0x9a: 'unsupported',
  0x9b: 'unsupported',
  0x9c: 'moved',
  0x9d: 'moved',
  0x9f: 'rate',
};

export function connackWord(version: Version, code: number): ConnackWord {
  return (version === 5 ? CONNACK_5 : CONNACK_3)[code] ?? 'other';
}

/** The sentences that a DISCONNECT of the server has. */
export type DisconnectWord = 'takenOver' | 'kicked' | 'shutdown' | 'keepalive' | 'other';

const DISCONNECT: Record<number, DisconnectWord> = {
  0x8b: 'shutdown',
  0x8d: 'keepalive',
  0x8e: 'takenOver',
  0x98: 'kicked',
};

export function disconnectWord(code: number): DisconnectWord {
  return DISCONNECT[code] ?? 'other';
}

/** Whether a SUBACK's code is a refusal. */
export function refused(granted: number): boolean {
  return granted >= 0x80;
}
