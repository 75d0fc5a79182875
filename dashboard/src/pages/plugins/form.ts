import type { Schemas } from '../../api/types';

/** The logic of the configuration form: which control a key has, what is sent, what is wrong. */

/** A key of a plugin as the API describes it; a form needs little of it. */
export type PluginKey = Pick<Schemas['PluginKey'], 'key'> & Partial<Schemas['PluginKey']>;

/** How a secret's value is shown; sent back it means "as it is". */
export const HIDDEN = '******';

export type Control =
  | { kind: 'switch'; on: string; off: string; }
  | { kind: 'select'; choices: string[]; }
  | { kind: 'secret'; }
  | { kind: 'number'; }
  | { kind: 'text'; };

/** The control that fits a key. */
export function controlOf(key: PluginKey): Control {
  if (key.secret) return { kind: 'secret' };
  const choices = key.choices ?? [];
  for (const [on, off] of [
    ['on', 'off'],
    ['true', 'false'],
  ] as const) {
    if (choices.length === 2 && choices.includes(on) && choices.includes(off)) return { kind: 'switch', on, off };
  }
  if (choices.length > 0) return { kind: 'select', choices };
  if (key.datatype === 'flag') return { kind: 'switch', on: 'on', off: 'off' };
  if (key.datatype === 'integer') return { kind: 'number' };
  return { kind: 'text' };
}

/** Whether a switch stands on; both spellings of the broker mean the same. */
export function isOn(value: string): boolean {
  return value === 'on' || value === 'true';
}

/** What the form begins with: the values, secrets empty. */
export function startOf(keys: readonly PluginKey[]): Record<string, string> {
  return Object.fromEntries(
    keys.map((key) => {
      const control = controlOf(key);
      if (control.kind === 'secret') return [key.key, ''];
      const value = key.value ?? '';
      if (control.kind === 'switch') {
        const word = value === '' ? (key.default ?? '') : value;
        return [key.key, isOn(word) ? control.on : control.off];
      }
      return [key.key, value];
    }),
  );
}

/** A free line of the advanced part. */
export interface FreeLine {
  key: string;
  value: string;
}

/** Only what differs from what is set. An empty secret is left as it is. */
export function changesOf(
  keys: readonly PluginKey[],
  form: Readonly<Record<string, string>>,
  free: readonly FreeLine[] = [],
): Record<string, string> {
  const before = startOf(keys);
  const changed: Record<string, string> = {};
  for (const { key } of keys) {
    const now = form[key] ?? '';
    if (now !== before[key]) changed[key] = now;
  }
  for (const line of free) {
    const key = line.key.trim();
    if (key !== '') changed[key] = line.value.trim();
  }
  return changed;
}

export type FaultWord = 'required' | 'integer' | 'keyForm' | 'keyTwice' | 'valueMissing';

/**
 * What is wrong with the keys of the form, by key. The broker checks the rest. A key that has no value yet may stay so:
 * whoever changes another one is not asked for it.
 */
export function faultsOf(keys: readonly PluginKey[], form: Readonly<Record<string, string>>): Record<string, FaultWord> {
  const before = startOf(keys);
  const faults: Record<string, FaultWord> = {};
  for (const key of keys) {
    const value = (form[key.key] ?? '').trim();
    if (key.required && value === '' && before[key.key] !== '') faults[key.key] = 'required';
    else if (controlOf(key).kind === 'number' && value !== '' && !/^\d+$/.test(value)) faults[key.key] = 'integer';
  }
  return faults;
}

/** What is wrong with a free line; a line without key and value is ignored. */
export function freeFault(
  keys: readonly PluginKey[],
  lines: readonly FreeLine[],
  at: number,
): FaultWord | undefined {
  const line = lines[at];
  if (!line) return undefined;
  const key = line.key.trim();
  const value = line.value.trim();
  if (key === '') return value === '' ? undefined : 'keyForm';
  if (!/^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_$-]+)+$/.test(key)) return 'keyForm';
  const named = (other: { key: string; }) => other.key.trim() === key;
  if (keys.some(named) || lines.some((other, i) => i < at && named(other))) return 'keyTwice';
  return value === '' ? 'valueMissing' : undefined;
}
