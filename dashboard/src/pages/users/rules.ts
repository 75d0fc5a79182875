/** What EMQ's page asked of names, and what ours asks of passwords. */
export const SHORTEST_NAME = 2;
export const LONGEST_NAME = 12;
export const SHORTEST_PASSWORD = 8;

/** The one user that stays, and the password all brokers are shipped with. */
export const ADMIN = 'admin';

export type FaultWord = 'name' | 'nameForm' | 'taken' | 'short' | 'repeat' | 'same' | 'old';

/** Characters as people count them. */
const lengthOf = (text: string): number => [...text].length;

export function nameFault(name: string, taken: readonly string[]): FaultWord | undefined {
  const length = lengthOf(name);
  if (length < SHORTEST_NAME || length > LONGEST_NAME) return 'name';
  // A colon ends the name in HTTP Basic.
  // eslint-disable-next-line no-control-regex
  if (/[\s:\u0000-\u001f\u007f]/.test(name)) return 'nameForm';
  return taken.includes(name) ? 'taken' : undefined;
}

export function passwordFault(password: string, old?: string): 'short' | 'same' | undefined {
  if (lengthOf(password) < SHORTEST_PASSWORD) return 'short';
  return password === old ? 'same' : undefined;
}
