import { expect, test } from 'vitest';
import { bars, confusion, differences, figuresOf } from './figures.ts';
import { type Layered, pairsOf, placements } from './plan.ts';
import type { Trial } from './trial.ts';

const right: Trial = {
  kind: 'single',
  placed: [{ name: 'ip-forward-off', at: { node: 'node-2', peer: '' } }],
  expected: { status: 'failed', layer: 'L3', causes: ['ip-forward-off on node-2'], located: false },
  said: {
    status: 'failed',
    layer: 'L3',
    causes: ['ip-forward-off on node-2'],
    risks: [],
    located: 0,
    directions: 4,
    headline: 'L3: …',
  },
  missedNodes: [],
  wrongDirections: [],
  wrong: [],
  seconds: 2,
};

const wrong: Trial = {
  ...right,
  said: { ...right.said, layer: 'L4', causes: ['filter-rule-drops on node-2', 'ip-forward-off on node-3'], located: 1 },
  missedNodes: ['node-2'],
  wrongDirections: ['p: outbound, should be both'],
  wrong: ['layer is "L4", should be "L3"'],
  seconds: 4,
};

const located: Trial = {
  ...right,
  kind: 'pair',
  expected: { status: 'failed', layer: 'L2', causes: ['vxlan-port-blocked on ?'], located: true },
  said: { ...right.said, layer: 'L2', causes: ['vxlan-port-blocked on node-4'], located: 1 },
};

const healthy: Trial = {
  ...right,
  kind: 'healthy',
  placed: [],
  expected: { status: 'healthy', layer: null, causes: [], located: false },
  said: { ...right.said, status: 'healthy', layer: null, causes: [], directions: 0 },
};

test('figures count causes, layers, scopes and directions', () => {
  expect(figuresOf([right, wrong, located, healthy])).toEqual({
    trials: 4,
    recall: { of: 4, right: 3 },
    precision: { of: 4, right: 2 },
    layer: { of: 4, right: 3 },
    scope: { of: 4, right: 3 },
    whole: { of: 4, right: 3 },
    falseAlarms: 0,
    directions: 12,
    wrongDirections: 1,
    medianSeconds: 2,
  });
});

test('a bar is reached at its value, missed below it, and missed where nothing was measured', () => {
  const reached = (trials: readonly Trial[]) => bars(trials).map((bar) => bar.reached);
  expect(reached([right, located, healthy])).toEqual([true, true, true, true, true]);
  expect(reached([...Array.from({ length: 49 }, () => right), { ...wrong, wrongDirections: [] }])).toEqual([
    true,
    false,
    false,
    false,
    true,
  ]);
  expect(reached([{ ...healthy, said: { ...healthy.said, status: 'degraded' } }, right])).toEqual([
    true,
    false,
    true,
    false,
    true,
  ]);
});

test('the confusion tells what was said for what, and what for nothing', () => {
  expect(confusion([right, wrong, located])).toEqual([
    { should: 'ip-forward-off', said: 'ip-forward-off', n: 1 },
    { should: 'ip-forward-off', said: 'nothing', n: 1 },
    { should: 'located', said: 'located', n: 1 },
    { should: 'nothing', said: 'filter-rule-drops', n: 1 },
    { should: 'nothing', said: 'ip-forward-off', n: 1 },
    { should: 'nothing', said: 'located', n: 1 },
    { should: 'vxlan-port-blocked', said: 'vxlan-port-blocked', n: 1 },
  ]);
  expect(differences([right, wrong])).toEqual([
    '- ip-forward-off on node-2: layer is "L4", should be "L3"',
    '- ip-forward-off on node-2: p: outbound, should be both',
  ]);
});

const FAULTS: readonly Layered[] = [
  { name: 'a', placement: 'node', layer: 'L2' },
  { name: 'b', placement: 'pair', layer: 'L3' },
  { name: 'c', placement: 'cluster', layer: 'DNS' },
  { name: 'd', placement: 'cluster', layer: 'L4' },
  { name: 'e', placement: 'node', layer: 'L2' },
];

test('placements are drawn by the seed, each once before any twice', () => {
  const [node, pair, cluster] = FAULTS.map((fault) => placements(fault, 5, 7).map(({ at }) => at));
  expect(new Set(node?.slice(0, 4).map((at) => at.node)).size).toBe(4);
  expect(new Set(pair?.map((at) => `${at.node} ${at.peer}`)).size).toBe(5);
  expect(pair?.filter((at) => at.node === at.peer)).toEqual([]);
  expect(new Set(cluster?.map((at) => `${at.node}${at.peer}`))).toEqual(new Set(['']));
  expect(placements(FAULTS[1] as Layered, 5, 7)).toEqual(placements(FAULTS[1] as Layered, 5, 7));
});

test('pairs are of different layers, on nodes of their own, and never two of the whole cluster', () => {
  const pairs = pairsOf(FAULTS, 100, 3);
  expect(pairs.map((pair) => pair.map(({ name }) => name).join('')).toSorted()).toEqual(
    ['ab', 'ac', 'ad', 'bc', 'bd', 'be', 'ce', 'de'].toSorted(),
  );
  for (const [first, second] of pairs) {
    const nodes = [first, second].flatMap(({ at }) => [at.node, at.peer]).filter((name) => name !== '');
    expect(new Set(nodes).size).toBe(nodes.length);
  }
  expect(pairsOf(FAULTS, 3, 3)).toHaveLength(3);
});
