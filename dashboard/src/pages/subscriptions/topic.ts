/** Topic names and filters, as far as a form has to know them before the broker judges. */

const LONGEST = 65_535;

function fits(text: string): boolean {
  return text !== '' && !text.includes('\0') && new TextEncoder().encode(text).length <= LONGEST;
}

/** Whether `text` may be published to [MQTT-3.3.2-2]. */
export function isTopicName(text: string): boolean {
  return fits(text) && !/[+#]/.test(text);
}

/** Whether `text` may be subscribed to [MQTT-4.7.1-1] [MQTT-4.7.1-2]. */
export function isTopicFilter(text: string): boolean {
  if (!fits(text)) return false;
  const levels = text.split('/');
  return levels.every((level, at) => {
    if (level.includes('#')) return level === '#' && at === levels.length - 1;
    return !level.includes('+') || level === '+';
  });
}

/** A route's filter without the prefix of one that is for this node's messages alone. */
export function plainFilter(route: string): string {
  return route.startsWith('$local/') ? route.slice('$local/'.length) : route;
}

/** A subscription's filter as its client wrote it. */
export function fullFilter(row: { topic: string; share: string | null; local: boolean }): string {
  if (row.share === '$queue') return `$queue/${row.topic}`;
  if (row.share !== null) return `$share/${row.share}/${row.topic}`;
  return row.local ? `$local/${row.topic}` : row.topic;
}
