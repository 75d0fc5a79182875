import { useEffect, useRef, useSyncExternalStore } from 'react';
import { apiUrl, credentials } from './client';
import { isAway, onReach, reached } from './reach';
import { session } from './session';
import { backOff, concerns, EventParser, type Kind } from './sse';

export type { Kind } from './sse';
export type Listener = (event: string, data: unknown) => void;
export type Connection = 'idle' | 'connecting' | 'live' | 'lost';

/** A stream that has been silent for so long is dead: heartbeats come every 15 s. */
const SILENCE = 40_000;
/** A stream that held for so long was a good one: when it breaks, the next is tried at once. */
const STEADY = 10_000;
/** A page nobody looks at lets go of its stream after a minute. */
const HIDDEN = 60_000;

interface Subscription {
  kinds: readonly Kind[];
  listener: Listener;
}

/**
 * The one event stream of this page. It asks for the kinds that somebody listens to, and comes back
 * by itself when it breaks, when other kinds are wanted, and when somebody looks at the page again.
 */
class Stream {
  private readonly subscriptions = new Set<Subscription>();
  private readonly watchers = new Set<() => void>();
  private state: Connection = 'idle';
  private kinds = '';
  private abort: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private settle: ReturnType<typeof setTimeout> | undefined;
  private hide: ReturnType<typeof setTimeout> | undefined;
  private tries = 0;
  /** Since when the stream is live, by this machine's clock; 0: it is not. */
  private since = 0;
  /** Nobody has looked at the page for a while. */
  private resting = false;
  /** Called when the stream is live again after it was lost: what was missed has to be asked for. */
  onReturn: () => void = () => {};

  start(): void {
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.hide);
      if (document.hidden) {
        this.hide = setTimeout(() => {
          this.resting = true;
          this.close('idle');
        }, HIDDEN);
      } else {
        this.resting = false;
        this.arrange();
      }
    });
    session.subscribe(() => this.arrange());
    // Another question was answered: no need to wait for the next try.
    onReach((away) => {
      if (away || this.state !== 'lost') return;
      this.tries = 0;
      this.open();
    });
  }

  add(subscription: Subscription): () => void {
    this.subscriptions.add(subscription);
    this.arrange();
    return () => {
      this.subscriptions.delete(subscription);
      this.arrange();
    };
  }

  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  connection = (): Connection => this.state;

  /** Opens, closes or changes the stream to what is wanted, once the page that is being built has said all it wants. */
  private arrange(): void {
    clearTimeout(this.settle);
    this.settle = setTimeout(() => {
      const wanted = [...new Set([...this.subscriptions].flatMap((s) => s.kinds))].sort().join(',');
      const login = session.get();
      if (this.resting) return;
      if (!wanted || !login || login.mustChangePassword) {
        this.kinds = '';
        this.close('idle');
      } else if (wanted !== this.kinds || !this.abort) {
        this.kinds = wanted;
        this.open();
      }
    }, 50);
  }

  private become(state: Connection): void {
    if (this.state === state) return;
    this.state = state;
    for (const watcher of this.watchers) watcher();
  }

  private close(state: Connection): void {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = null;
    this.become(state);
  }

  private open(): void {
    clearTimeout(this.timer);
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    this.since = 0;
    if (this.state === 'idle') this.become('connecting');
    this.read(abort).then(
      () => this.again(abort),
      () => this.again(abort),
    );
  }

  private again(abort: AbortController): void {
    // Another stream has taken the place of this one, or it is not wanted any more.
    if (this.abort !== abort) return;
    if (!session.get()) {
      this.close('idle');
      return;
    }
    this.become('lost');
    if (this.since > 0 && Date.now() - this.since >= STEADY) this.tries = 0;
    this.timer = setTimeout(() => this.open(), backOff(this.tries));
    this.tries += 1;
  }

  private async read(abort: AbortController): Promise<void> {
    let watchdog = setTimeout(() => abort.abort(), SILENCE);
    try {
      const login = await credentials();
      const token = session.get()?.token;
      const headers = { ...login, Accept: 'text/event-stream', 'X-Requested-With': 'emqttd-dashboard' };
      const response = await fetch(apiUrl('events', { kinds: this.kinds }), { headers, signal: abort.signal, credentials: 'omit', cache: 'no-store' }).catch((error: unknown) => {
        if (this.abort === abort) reached(false);
        throw error;
      });
      if (response.status === 401 && token) session.refused(token);
      if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
      const returned = this.state === 'lost' || isAway();
      reached(true);
      this.since = Date.now();
      this.become('live');
      if (returned) this.onReturn();
      const parser = new EventParser();
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE);
        for (const { event, data } of parser.feed(decoder.decode(value, { stream: true }))) this.tell(event, data);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  private tell(event: string, text: string): void {
    let data: unknown;
    try {
      data = JSON.parse(text);
    } catch {
      return;
    }
    for (const { kinds, listener } of [...this.subscriptions]) if (concerns(event, kinds)) listener(event, data);
  }
}

export const stream = new Stream();

/** Calls `listener` with each event of these kinds while the component is shown. `lost` ({n}) says that some were left out. */
export function useEvents(kinds: readonly Kind[], listener: Listener): void {
  const latest = useRef(listener);
  useEffect(() => {
    latest.current = listener;
  });
  const wanted = kinds.join(',');
  useEffect(() => {
    if (!wanted) return undefined;
    return stream.add({ kinds: wanted.split(',') as Kind[], listener: (event, data) => latest.current(event, data) });
  }, [wanted]);
}

export function useConnection(): Connection {
  return useSyncExternalStore(stream.watch, stream.connection);
}
