import { expect, test } from 'vitest';
import { groupPairs, type OrderedPair } from './pairs.ts';

const NODES = ['a', 'b', 'c', 'd'];
const ALL = NODES.flatMap((from) => NODES.filter((to) => to !== from).map((to) => ({ from, to })));

function group(...failing: string[]) {
  const pairs: OrderedPair[] = failing.map((text) => ({ from: text.charAt(0), to: text.charAt(1) }));
  return groupPairs(pairs, ALL).map((item) => {
    if (item.kind === 'pair') return `${item.a}-${item.b} ${item.both ? 'both' : 'one'}`;
    return `${item.node} ${item.in ? 'in' : ''}${item.out ? 'out' : ''}`;
  });
}

test('a node that fails with all others is named by itself, with its direction', () => {
  expect(group('ab', 'ac', 'ad', 'ba', 'ca', 'da')).toEqual(['a inout']);
  expect(group('ab', 'ac', 'ad')).toEqual(['a out']);
  expect(group('ba', 'ca', 'da')).toEqual(['a in']);
});

test('anything less is a pair, one way or both', () => {
  expect(group('ab')).toEqual(['a-b one']);
  expect(group('ab', 'ba', 'cd')).toEqual(['a-b both', 'c-d one']);
});

test('what is left beside a named node is told by pairs', () => {
  expect(group('ab', 'ac', 'ad', 'ba', 'ca', 'da', 'bc')).toEqual(['a inout', 'b-c one']);
});

test('where everything fails nobody is named', () => {
  expect(groupPairs(ALL, ALL).every(({ kind }) => kind === 'pair')).toBe(true);
});

test('nothing failing is no group', () => {
  expect(group()).toEqual([]);
});
