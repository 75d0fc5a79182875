import type { components } from './schema';

/** Rows and answers of the API, by the names they have in `docs/openapi.json`. */
export type Schemas = components['schemas'];

/** What the document calls optional is null, never absent, in answers. */
export type Whole<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };

export type Login = Pick<Schemas['LoginSession'], 'token' | 'expires_in' | 'username' | 'tags' | 'must_change_password'>;
export type Overview = Schemas['Overview'];
export type History = Schemas['History'];
export type Alarm = Schemas['ActiveAlarm'];
export type PastAlarm = Schemas['PastAlarm'];
export type Alarms = Schemas['Alarms'];

/** A piece of a listing that is gone through by cursor (`search/…`). */
export interface Page<Row> {
  objects: Row[];
  cursor: string | null;
  matched: number | null;
  total: number;
}
