export interface RetainedRow {
  topic: string;
  qos: number;
  payload_size: number;
  /** Milliseconds since 1970. */
  published_at: number;
  /** Client id; null: the broker itself. */
  from: string | null;
  /** Milliseconds since 1970; null: it stays. */
  expires_at: number | null;
}

export interface RetainedMessage extends RetainedRow {
  /** Null when it is not UTF-8 or too large. */
  payload: string | null;
  /** Null when it is too large. */
  payload_base64: string | null;
}
