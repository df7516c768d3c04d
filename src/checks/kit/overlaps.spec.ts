import { expect, test } from 'vitest';
import { overlaps } from './overlaps.ts';

test('every pair that overlaps, the one that holds the other first', () => {
  const found = (...blocks: readonly string[]) =>
    overlaps(blocks, (block) => block).map(({ outer, inner }) => `${outer} > ${inner}`);
  expect(found('10.0.1.0/24', '10.0.0.0/24', '10.0.2.0/23', 'fd00::/64', 'fd00:0:0:1::/64')).toEqual([]);
  expect(found('10.0.3.0/24', '10.0.0.0/24', '10.0.2.0/23', '10.0.0.0/24', '10.0.3.128/25', '10.0.4.0/24')).toEqual([
    '10.0.0.0/24 > 10.0.0.0/24',
    '10.0.2.0/23 > 10.0.3.0/24',
    '10.0.2.0/23 > 10.0.3.128/25',
    '10.0.3.0/24 > 10.0.3.128/25',
  ]);
  expect(found('fd00::/48', '::/128', 'fd00:0:0:7::/64', '0.0.0.0/0')).toEqual(['fd00::/48 > fd00:0:0:7::/64']);
});

test('what is no block throws', () => {
  expect(() => overlaps(['10.0.0.0'], (block) => block)).toThrow(/CIDR/i);
});
