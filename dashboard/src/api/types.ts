/** The rows and answers that more than one part of the pages uses. */
export interface Login {
  token: string;
  expires_in: number;
  username: string;
  tags: string;
  must_change_password: boolean;
}

/** A piece of a listing that is gone through by cursor (`search/…`). */
export interface Page<Row> {
  objects: Row[];
  cursor: string | null;
  matched: number | null;
  total: number;
}

export interface Overview {
  node: string;
  version: string;
  sysdescr: string;
  uptime_seconds: number;
  started_at: number;
  datetime: string;
  cores: number;
  event_loops: number;
  os: string;
  memory: { rss: number; total: number };
  load: number[];
  fds: { used: number; max: number | null };
  cpu_percent: number | null;
  stats: Record<string, number>;
  metrics: Record<string, number>;
  rates: Record<string, number>;
  alarms: number;
  /** `null` with `persistence.sync = off`. */
  store: {
    state: string;
    error: string | null;
    bytes: number;
    live_bytes: number;
    owed: number;
    syncs: number;
    sync_p50_ms: number;
    sync_p99_ms: number;
  } | null;
}

export interface History {
  step_seconds: number;
  from: number;
  series: Record<string, (number | null)[]>;
}

export interface Alarm {
  id: string;
  severity: string;
  title: string;
  summary: string;
  occurred_at: string;
  /** Unix seconds. */
  since: number;
}

export interface PastAlarm extends Alarm {
  /** Unix seconds. */
  cleared_at: number;
}

export interface Alarms {
  active: Alarm[];
  history: PastAlarm[];
}
