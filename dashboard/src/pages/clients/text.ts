/** Text that strangers chose (client ids, user names, topics), made safe to look at. */

// Control characters, bidirectional controls, zero-width characters and lone surrogates: what hides, reorders or imitates other text.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** `text` with what cannot be seen written as `\u202e`; two different texts never look the same because of it. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** The user name of a row: 2.x writes `undefined` where a client has none. */
export function usernameOf(username: string | null | undefined): string | null {
  return username === undefined || username === null || username === 'undefined' ? null : username;
}

const PROTOCOLS: Record<number, string> = { 3: 'MQTT 3.1', 4: 'MQTT 3.1.1', 5: 'MQTT 5.0' };

/** The version of a client's protocol in words. */
export function protocolOf(version: number): string {
  return PROTOCOLS[version] ?? String(version);
}
