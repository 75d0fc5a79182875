import { describe, expect, it } from 'vitest';
import { fileName, wholeLines } from './trace';

describe('a saved trace', () => {
  const at = new Date('2026-11-23T18:05:07Z');

  it('has a name that every system takes', () => {
    expect(fileName({ kind: 'topic', name: 'a/b/#' }, at)).toBe('trace-topic-a_b_-20261123-180507.log');
    expect(fileName({ kind: 'client', name: '../..\\x' }, at)).toBe('trace-client-.._.._x-20261123-180507.log');
    expect(fileName({ kind: 'client', name: '客' }, at)).toBe('trace-client-_-20261123-180507.log');
    expect(fileName({ kind: 'client', name: 'x'.repeat(500) }, at).length).toBeLessThan(120);
  });
});

describe('the end of a log', () => {
  it('begins with a whole line', () => {
    expect(wholeLines({ text: 'half\nwhole\n', size: 1000 })).toBe('whole\n');
    expect(wholeLines({ text: 'all\nof it\n', size: 10 })).toBe('all\nof it\n');
    expect(wholeLines({ text: 'one long line', size: 1000 })).toBe('one long line');
    expect(wholeLines({ text: 'é\n', size: 3 })).toBe('é\n');
  });
});
