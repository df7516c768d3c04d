import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nearNames } from './near-names.ts';
import { cleanText, oneLine, shorten } from './text.ts';

test('what would reorder, hide or control is taken out; the rest stays', () => {
  expect(cleanText('a\u0000b\u001b[31mc\u202Ed\u2066e\u200Bf\uFEFFg\u00ADh\r\n\tü 你好 🙂')).toBe('ab[31mcdefgh\n\tü 你好 🙂');
  expect(cleanText('\uD800x\u{E0041}y\u3164z')).toBe('xyz');
  expect(oneLine('  a\r\n b\t\u2028c  ')).toBe('a b c');
});

test('shortened text is never too long and never ends in half a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), fc.nat(20), (text, limit) => {
      const short = shorten(text, limit);
      expect([short.length <= limit, short.isWellFormed(), short === text]).toEqual([true, true, text.length <= limit]);
    }),
  );
});

test.each([
  ['nod', ['cluster', 'node', 'status'], ['node']],
  ['clutser', ['cluster', 'node', 'status'], ['cluster']],
  ['stauts', ['cluster', 'node', 'status'], ['status']],
  ['node-22', ['node-1', 'node-2', 'node-12', 'gpu-1'], ['node-12', 'node-2', 'node-1']],
  ['ip-10-0-0-1', ['ip-10-0-0-1.ec2.internal', 'ip-10-0-9-9.ec2.internal'], ['ip-10-0-0-1.ec2.internal']],
  ['zebra', ['cluster', 'node', 'status'], []],
  ['', ['cluster'], []],
])('whoever typed %j probably meant one of these', (word, candidates, expected) => {
  expect(nearNames(word, candidates)).toEqual(expected);
});
