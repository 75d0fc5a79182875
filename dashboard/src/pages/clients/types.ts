/** Rows of clients, sessions and subscriptions as `search/…` and `clients/…` give them. */

export interface ClientRow {
  client_id: string;
  /** `undefined` when there is none. */
  username: string;
  ipaddress: string;
  port: number;
  clean_sess: boolean;
  proto_ver: number;
  /** Seconds. */
  keepalive: number;
  connected_at: string;
  connected_at_unix: number;
  listener: string;
}

export interface SessionRow {
  client_id: string;
  clean_sess: boolean;
  subscriptions: number;
  /** 0: no limit. */
  max_inflight: number;
  inflight_len: number;
  mqueue_len: number;
  mqueue_dropped: number;
  awaiting_rel_len: number;
  deliver_msg: number;
  enqueue_msg: number;
  created_at: string;
  created_at_unix: number;
  online: boolean;
}

export interface SubscriptionRow {
  client_id: string;
  /** Without `$share/<group>/`, `$queue/`, `$local/`. */
  topic: string;
  qos: number;
  share: string | null;
  local: boolean;
}

export interface ClientDetail {
  client: ClientRow;
  session: SessionRow;
  listener: { protocol: string; address: string };
  traffic: Record<TrafficCounter, number>;
  will: { topic: string; qos: number; retain: boolean } | null;
  /** Seconds; null: for ever. */
  expiry_interval: number | null;
  mountpoint: string | null;
  /** The first 1,000. */
  subscriptions: SubscriptionRow[];
}

export type TrafficCounter =
  | 'packets_received'
  | 'packets_sent'
  | 'bytes_received'
  | 'bytes_sent'
  | 'messages_received'
  | 'messages_sent';

export interface QueuedMessage {
  packet_id: number | null;
  /** This and what follows is null when only the packet identifier is left (QoS 2, after PUBREC). */
  qos: number | null;
  topic: string | null;
  payload_size: number | null;
  state: string;
  from: string | null;
  /** Milliseconds since 1970. */
  at: number | null;
}

export interface Queue {
  inflight: QueuedMessage[];
  waiting: QueuedMessage[];
  inflight_len: number;
  waiting_len: number;
  on_disk: number;
}
