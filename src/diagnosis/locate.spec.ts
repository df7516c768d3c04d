import { expect, test } from 'vitest';
import { atMostLost } from './locate.ts';

test.each([
  ['one packet, which arrived', 1, 0, 0.2, 0.8],
  ['two packets, of which one was lost', 2, 1, 0.5, 0.75],
  ['none lost of twenty', 20, 0, 0.5, 0.5 ** 20],
  ['everything lost', 20, 20, 0.3, 1],
  ['a way that loses nothing', 20, 3, 0, 1],
  ['a way that loses everything, and one packet arrived', 20, 19, 1, 0],
  ['a way that loses everything, and did', 20, 20, 1, 1],
  ['many packets at a high rate', 100, 99, 0.99, 1 - 0.99 ** 100],
])('how likely it is that so few are lost: %s', (_case, sent, lost, rate, likely) => {
  expect(atMostLost(sent, lost, rate)).toBeCloseTo(likely, 10);
});
