/** EMQ's three groups first; what else there is comes behind them. */
export const FIRST = ['packets', 'messages', 'bytes'];

/** `packets/publish/received` stands in group `packets`. */
export function grouped(metrics: Record<string, number>): [group: string, rows: [name: string, value: number][]][] {
  const groups = new Map<string, [string, number][]>(FIRST.map((name) => [name, []]));
  for (const [name, value] of Object.entries(metrics)) {
    const cut = name.indexOf('/');
    const group = cut < 0 ? 'other' : name.slice(0, cut);
    const rows = groups.get(group) ?? [];
    rows.push([cut < 0 ? name : name.slice(cut + 1), value]);
    groups.set(group, rows);
  }
  return [...groups].filter(([, rows]) => rows.length > 0).map(([group, rows]) => [group, rows.sort((a, b) => a[0].localeCompare(b[0]))]);
}
