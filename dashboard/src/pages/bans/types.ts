import type { BanKind } from './ban';

export interface Ban {
  kind: BanKind;
  value: string;
  reason: string;
  /** Seconds since 1970; null: for good. */
  until: number | null;
  by: string;
  /** Seconds since 1970. */
  at: number;
}
