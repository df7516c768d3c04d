import { expect, test } from 'vitest';
import { namesText } from './dns-servers.ts';

test.for<[readonly string[], string]>([
  [[], ''],
  [['node-1'], 'node-1'],
  [['node-10', 'node-2', 'node-2'], 'node-2 and node-10'],
  [['a', 'b', 'c', 'd', 'e', 'f'], 'a, b, c, d, e and f'],
  [['a', 'b', 'c', 'd', 'e', 'f', 'g'], 'a, b, c, d, e and 2 more'],
])('%j reads %s', ([names, text]) => {
  expect(namesText(names)).toBe(text);
});
