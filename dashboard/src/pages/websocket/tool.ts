import type { IClientOptions, MqttClient } from 'mqtt';
import { useSyncExternalStore } from 'react';
import { session } from '../../api/session';
import { address, type Entry, KEPT, type Login, type Qos, refused, remember, type Version } from './session';

export interface Subscribed {
  filter: string;
  qos: Qos;
}

/** Why there is no connection; said in words by the page. */
export type Trouble =
  | { kind: 'lost' | 'mixed' | 'noTool' }
  | { kind: 'lostBefore'; address: string }
  | { kind: 'timeout'; seconds: number }
  | { kind: 'refused'; version: Version; code: number }
  | { kind: 'ended'; code: number }
  | { kind: 'other'; text: string };

/** What the page tells of the last thing that was done. */
export type Note =
  | { kind: 'subscribed'; filter: string; asked: Qos; granted: number }
  | { kind: 'subRefused'; filter: string; code: number }
  | { kind: 'pubRefused'; text: string };

export interface State {
  phase: 'idle' | 'connecting' | 'connected';
  address: string;
  /** The id that the broker made up. */
  assignedId: string | undefined;
  sessionPresent: boolean;
  trouble: Trouble | undefined;
  note: Note | undefined;
  subscriptions: readonly Subscribed[];
  sent: readonly Entry[];
  received: readonly Entry[];
}

const NOTHING: State = {
  phase: 'idle',
  address: '',
  assignedId: undefined,
  sessionPresent: false,
  trouble: undefined,
  note: undefined,
  subscriptions: [],
  sent: [],
  received: [],
};

/** How long a CONNACK may take, seconds. */
const PATIENCE = 10;
/** How often what came is shown, milliseconds: a flood must not stop the page. */
const BEAT = 250;

type Mqtt = (typeof import('mqtt'))['default'];

/** An error that carries a code of MQTT. */
function codeOf(error: unknown): number | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

/**
 * The tool's one client. It lives beside the page, so that one can look at other pages meanwhile, and ends with the
 * login.
 */
class Tool {
  private state = NOTHING;
  private readonly listeners = new Set<() => void>();
  private client: MqttClient | undefined;
  private came: Entry[] = [];
  private beat: ReturnType<typeof setTimeout> | undefined;
  private entries = 0;

  constructor() {
    session.onLeave(() => this.forget());
  }

  subscribeTo = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  now = (): State => this.state;

  private set(part: Partial<State>): void {
    this.state = { ...this.state, ...part };
    for (const listener of this.listeners) listener();
  }

  async connect(login: Login): Promise<void> {
    this.end();
    const where = address(login);
    this.set({ ...NOTHING, sent: this.state.sent, received: this.state.received, phase: 'connecting', address: where });
    if (window.location.protocol === 'https:' && !login.ssl && !isLocal(login.host)) {
      this.fail({ kind: 'mixed' });
      return;
    }
    let mqtt: Mqtt;
    try {
      mqtt = (await import('mqtt')).default;
    } catch {
      this.fail({ kind: 'noTool' });
      return;
    }
    // Somebody may have thought better of it meanwhile.
    if (this.state.phase !== 'connecting' || this.state.address !== where) return;
    try {
      this.begin(mqtt, login, where);
    } catch (error) {
      this.fail({ kind: 'other', text: error instanceof Error ? error.message : String(error) });
    }
  }

  private begin(mqtt: Mqtt, login: Login, where: string): void {
    const client = mqtt.connect(where, optionsOf(login));
    this.client = client;
    const mine = (act: () => void) => (): void => {
      if (this.client === client) act();
    };
    let answered = false;
    let trouble: Trouble | undefined;
    client.on('connect', (packet) => {
      if (this.client !== client) return;
      answered = true;
      this.set({
        phase: 'connected',
        sessionPresent: packet.sessionPresent,
        assignedId: packet.properties?.assignedClientIdentifier,
      });
    });
    client.on('message', (topic, payload, packet) => {
      if (this.client === client) this.take(this.entry(topic, payload, packet.qos, packet.retain));
    });
    client.on('disconnect', (packet) => {
      trouble = { kind: 'ended', code: packet.reasonCode ?? 0 };
    });
    client.on('error', (error) => {
      const code = codeOf(error);
      if (!answered && code !== undefined && code > 0) trouble ??= { kind: 'refused', version: login.version, code };
      else if (/connack timeout/i.test(error.message)) trouble ??= { kind: 'timeout', seconds: PATIENCE };
      else if (answered) trouble ??= { kind: 'other', text: error.message };
    });
    client.on(
      'close',
      mine(() => {
        this.fail(trouble ?? (answered ? { kind: 'lost' } : { kind: 'lostBefore', address: where }));
      }),
    );
  }

  private fail(trouble: Trouble): void {
    this.end();
    this.set({ trouble });
  }

  /** Ends the connection, if there is one; the lists stay. */
  end(): void {
    const { client } = this;
    this.client = undefined;
    this.flush();
    // Without force a DISCONNECT goes out first, so that no will is published.
    client?.end(!client.connected);
    this.set({ phase: 'idle', subscriptions: [], assignedId: undefined, sessionPresent: false, trouble: undefined, note: undefined });
  }

  /** Leaves nothing for who logs in next. */
  private forget(): void {
    this.end();
    this.set(NOTHING);
  }

  subscribe(filter: string, qos: Qos): void {
    const { client } = this;
    client?.subscribe(filter, { qos }, (error, _, packet) => {
      if (this.client !== client) return;
      const granted = packet?.granted[0];
      const code = typeof granted === 'number' ? granted : codeOf(error);
      if (error || code === undefined || refused(code)) {
        if (code === undefined) this.set({ note: { kind: 'pubRefused', text: error?.message ?? '' } });
        else this.set({ note: { kind: 'subRefused', filter, code } });
        return;
      }
      const others = this.state.subscriptions.filter((one) => one.filter !== filter);
      this.set({
        subscriptions: [...others, { filter, qos: code as Qos }],
        note: { kind: 'subscribed', filter, asked: qos, granted: code },
      });
    });
  }

  unsubscribe(filter: string): void {
    const { client } = this;
    client?.unsubscribe(filter, (error) => {
      if (!error && this.client === client) this.set({ subscriptions: this.state.subscriptions.filter((one) => one.filter !== filter), note: undefined });
    });
  }

  publish(topic: string, payload: string, qos: Qos, retain: boolean): void {
    const { client } = this;
    if (!client) return;
    const bytes = new TextEncoder().encode(payload);
    client.publish(topic, payload, { qos, retain }, (error) => {
      if (error && this.client === client) this.set({ note: { kind: 'pubRefused', text: error.message } });
    });
    this.set({ sent: remember(this.state.sent, [this.entry(topic, bytes, qos, retain)]), note: undefined });
  }

  clear(list: 'sent' | 'received'): void {
    if (list === 'received') this.came = [];
    this.set({ [list]: [] });
  }

  private entry(topic: string, payload: Uint8Array, qos: Qos, retain: boolean): Entry {
    this.entries += 1;
    return { id: this.entries, at: Date.now(), topic, payload, qos, retain };
  }

  private take(entry: Entry): void {
    this.came.push(entry);
    if (this.came.length > 2 * KEPT) this.came = this.came.slice(-KEPT);
    this.beat ??= setTimeout(() => this.flush(), BEAT);
  }

  private flush(): void {
    clearTimeout(this.beat);
    this.beat = undefined;
    if (this.came.length === 0) return;
    const { came } = this;
    this.came = [];
    this.set({ received: remember(this.state.received, came) });
  }
}

/** Browsers let pages that came by HTTPS speak to the machine itself in the clear. */
const isLocal = (host: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/.test(host.trim());

function optionsOf(login: Login): IClientOptions {
  return {
    protocolVersion: login.version,
    protocolId: login.version === 3 ? 'MQIsdp' : 'MQTT',
    clientId: login.clientId,
    username: login.username || undefined,
    password: login.password || undefined,
    keepalive: login.keepalive || 0,
    clean: login.clean,
    // A session that is to stay does so for a day with MQTT 5, which otherwise ends it at once.
    properties: login.version === 5 && !login.clean ? { sessionExpiryInterval: 86_400 } : undefined,
    connectTimeout: PATIENCE * 1000,
    // Who was thrown out stays out until somebody wants otherwise.
    reconnectPeriod: 0,
    resubscribe: false,
    // Timers in a worker would need a blob, which the policy of the page forbids.
    timerVariant: 'native',
    will: login.will
      ? { topic: login.willTopic, payload: new TextEncoder().encode(login.willPayload) as never, qos: login.willQos, retain: login.willRetain }
      : undefined,
  };
}

export const tool = new Tool();

export function useTool(): State {
  return useSyncExternalStore(tool.subscribeTo, tool.now);
}
