import type { PlainKey, Translate } from '../../i18n';

const STATES: Record<string, PlainKey> = {
  publish: 'client.state-published',
  published: 'client.state-published',
  pubrel: 'client.state-released',
  released: 'client.state-released',
  stored: 'client.state-stored',
  waiting: 'client.state-waiting',
};

/** How far a message has come, in words. */
export function stateText(state: string, t: Translate): string {
  const key = STATES[state];
  return key ? t(key) : state;
}
