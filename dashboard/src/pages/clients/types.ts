import type { Schemas, Whole } from '../../api/types';

export type ClientRow = Whole<Schemas['ClientRow']>;
export type SessionRow = Whole<Schemas['SessionRow']>;
export type SubscriptionRow = Whole<Schemas['SubscriptionRow']>;
export type RouteRow = Whole<Schemas['RouteRow']>;
export type RetainedRow = Whole<Schemas['RetainedRow']>;
export type RetainedMessage = Whole<Schemas['RetainedMessage']>;
export type Ban = Whole<Schemas['Ban']>;
export type NewBan = Schemas['NewBan'];
export type TrafficCounter = keyof Schemas['Traffic'];
/** In flight or waiting. Of a message after PUBREC only the packet identifier is left; the rest is null. */
export type QueuedMessage = Whole<Schemas['QueuedMessage']>;

export type Queue = Omit<Whole<Schemas['Queue']>, 'inflight' | 'waiting'> & { inflight: QueuedMessage[]; waiting: QueuedMessage[] };

/** A connected client; its subscriptions are the first 1,000. */
export type ClientDetail = Omit<Whole<Schemas['ClientDetail']>, 'subscriptions'> & { subscriptions: SubscriptionRow[] };

/** A row of 2.x, for a session whose client is away; its time is the broker's wall clock. */
export type OldSession = Whole<Schemas['Session']> & { created_at_unix?: number };
export interface Objects<Row> {
  objects: Row[];
}
