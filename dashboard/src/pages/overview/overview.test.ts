import { expect, test } from 'vitest';
import { grouped } from './grouped';
import { beginning, joined, LEAST, pointOf, type Stats } from './rates';

const stats = (at: number, received: number): Stats => ({ at, stats: { 'clients/count': 5 }, metrics: { 'messages/received': received } });

test('two looks at the counters make a rate', () => {
  expect(pointOf(stats(1_700_000_000_000, 100), stats(1_700_000_002_000, 300))).toMatchObject({ time: 1_700_000_002, values: { 'messages/received': 100, clients: 5, 'bytes/sent': null } });
});

test('a broker started anew, a long gap and a look at the same time make none', () => {
  expect(pointOf(stats(1_700_000_000, 100), stats(1_700_000_002, 1))?.values['messages/received']).toBeNull();
  expect(pointOf(stats(1_700_000_000, 100), stats(1_700_000_100, 300))).toBeNull();
  expect(pointOf(stats(1_700_000_000, 100), stats(1_700_000_000, 100))).toBeNull();
});

test('live points go on where the history ends', () => {
  const history = { step_seconds: 5, from: 100, series: { clients: [1, null, 3] } };
  const live = [
    { time: 109, values: { clients: 8 } },
    { time: 112, values: { clients: 9 } },
  ];
  expect(joined(history, live, ['clients', 'cpu'])).toEqual({
    times: [100, 105, 110, 112],
    values: [
      [1, null, 3, 9],
      [null, null, null, null],
    ],
  });
});

test('counters stand in their groups, those of EMQ first', () => {
  expect(grouped({ 'auth/refused': 1, 'bytes/sent': 2, 'packets/publish/sent': 3, 'packets/connect': 4 })).toEqual([
    ['packets', [['connect', 4], ['publish/sent', 3]]],
    ['bytes', [['sent', 2]]],
    ['auth', [['refused', 1]]],
  ]);
});

test('a young history is drawn from its first value on, but not narrower than can be read', () => {
  const series = (nulls: number, values: number): (number | null)[] => [...Array<null>(nulls).fill(null), ...Array<number>(values).fill(1)];
  const history = (...all: (number | null)[][]) => ({ step_seconds: 5, from: 0, series: Object.fromEntries(all.map((values, at) => [`s${at}`, values])) });
  expect(beginning(history(series(0, 720)))).toBe(0);
  expect(beginning(history(series(600, 120), series(620, 100)))).toBe(600);
  expect(beginning(history(series(718, 2)))).toBe(720 - LEAST);
  expect(beginning(history(series(720, 0)))).toBe(720 - LEAST);
  expect(beginning(history(series(1, 2)))).toBe(0);
  expect(beginning(history())).toBe(0);
  const { times, values } = joined(history(series(600, 120)), [], ['s0']);
  expect([times.length, times[0], values[0]?.every((value) => value === 1)]).toEqual([120, 3000, true]);
});
