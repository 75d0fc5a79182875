import { describe, expect, it } from 'vitest';
import { bytesOf, DUMPED, hexDump, looksOf, prettyJson, SHOWN, textOf } from './payload';

const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('textOf', () => {
  it('reads UTF-8', () => {
    expect(textOf(bytesOf(base64('温度 21°\n')))).toBe('温度 21°\n');
  });
  it('is null for what is no text', () => {
    expect(textOf(new Uint8Array([0xff, 0xfe]))).toBeNull();
    expect(textOf(new Uint8Array([65, 0, 66]))).toBeNull();
  });
});

describe('prettyJson', () => {
  it('indents and keeps each token as it came', () => {
    expect(prettyJson('{"a":[1,{"b":12345678901234567890}],"a":"x,{\\"y\\"}","e":{},"f":[ ]}')).toBe(
      [
        '{',
        '  "a": [',
        '    1,',
        '    {',
        '      "b": 12345678901234567890',
        '    }',
        '  ],',
        '  "a": "x,{\\"y\\"}",',
        '  "e": {},',
        '  "f": []',
        '}',
      ].join('\n'),
    );
  });
  it('says the same as what came', () => {
    const value = { deep: [[[]], [{}], [[1, 2], []]], s: 'a\\"b', n: -1.5e3, t: true, z: null };
    expect(JSON.parse(prettyJson(JSON.stringify(value)) ?? '')).toEqual(value);
  });
  it('is null for words, numbers and broken text', () => {
    for (const text of ['21', '"x"', '{', '{"a":}', '', 'true']) expect(prettyJson(text)).toBeNull();
  });
  it('gives up on what is nested without end', () => {
    expect(prettyJson('['.repeat(5000) + ']'.repeat(5000))).toBeNull();
  });
});

describe('hexDump', () => {
  it('has offset, bytes and letters', () => {
    expect(hexDump(new TextEncoder().encode('Hello world! 1234'))).toBe(
      [
        '00000000  48 65 6c 6c 6f 20 77 6f  72 6c 64 21 20 31 32 33  Hello world! 123',
        '00000010  34                                                4',
      ].join('\n'),
    );
  });
  it('is empty for nothing', () => {
    expect(hexDump(new Uint8Array())).toBe('');
  });
});

describe('looksOf', () => {
  it('begins with the way that says most', () => {
    expect(looksOf(base64('{"a":1}')).views[0]).toBe('json');
    expect(looksOf(base64('21.5')).views[0]).toBe('text');
    expect(looksOf(Buffer.from([1, 2, 255]).toString('base64')).views).toEqual(['hex', 'base64']);
  });
  it('cuts what is long', () => {
    const looks = looksOf(base64('x'.repeat(SHOWN + 1)));
    expect(looks.of('text').text).toHaveLength(SHOWN);
    expect(looks.of('text').cut).toBe(true);
    expect(looks.of('hex').cut).toBe(SHOWN + 1 > DUMPED);
    expect(looks.size).toBe(SHOWN + 1);
    expect(looks.whole('text')).toHaveLength(SHOWN + 1);
    expect(looks.whole('hex').split('\n')).toHaveLength(Math.ceil((SHOWN + 1) / 16));
  });
});
