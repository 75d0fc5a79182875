import { expect, test } from 'vitest';
import { backOff, concerns, EventParser } from './sse';

const TEXT = ': \n\nevent: stats\ndata: {"a":1}\n\nevent: client.connected\r\ndata: one\r\ndata:two\r\n\r\ndata: plain\n\nevent: nothing\n\n';
const EVENTS = [
  { event: 'stats', data: '{"a":1}' },
  { event: 'client.connected', data: 'one\ntwo' },
  { event: 'message', data: 'plain' },
];

test('events are whole however the stream is cut', () => {
  for (let size = 1; size <= TEXT.length; size += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < TEXT.length; at += size) events.push(...parser.feed(TEXT.slice(at, at + size)));
    expect(events, `pieces of ${size}`).toEqual(EVENTS);
  }
});

test('what has no end yet is kept back', () => {
  const parser = new EventParser();
  expect(parser.feed('data: a')).toEqual([]);
  expect(parser.feed('b\n')).toEqual([]);
  expect(parser.feed('\n')).toEqual([{ event: 'message', data: 'ab' }]);
});

test('tries become rarer, up to five seconds', () => {
  expect([0, 1, 2, 3, 4, 5, 1000].map((tries) => backOff(tries, 0))).toEqual([500, 1000, 2000, 4000, 5000, 5000, 5000]);
  expect(backOff(0, 1)).toBe(625);
});

test('events are for those who asked for their kind', () => {
  expect(concerns('client.connected', ['clients', 'alarms'])).toBe(true);
  expect(concerns('alarm.set', ['clients'])).toBe(false);
  expect(concerns('stats', ['stats'])).toBe(true);
  expect(concerns('stats', ['alarms'])).toBe(false);
  expect(concerns('lost', ['alarms'])).toBe(true);
});
