import { expect, test } from 'vitest';
import { nodeEntity } from '../../src/model/entity.ts';
import type { Direction, Verdict } from '../../src/model/verdict.ts';
import { accuracyPage, bars, confusion, differences, figuresOf } from './figures.ts';
import { type Layered, leftOf, pairsOf, placements } from './plan.ts';
import { type End, judgeTrial, type Lost, type Planned, type Trial } from './trial.ts';

const right: Trial = {
  commit: 'a1',
  kind: 'single',
  network: 'vxlan',
  placed: [{ name: 'ip-forward-off', at: { node: 'node-2', peer: '' } }],
  expected: { status: 'failed', layer: 'L3', causes: ['ip-forward-off on node-2'], risks: ['clock-wrong'], located: false },
  said: {
    status: 'failed',
    layer: 'L3',
    causes: ['ip-forward-off on node-2'],
    risks: ['clock-wrong on node-1'],
    located: 0,
    headline: 'L3: …',
  },
  missedNodes: [],
  directions: 4,
  wrongDirections: [],
  wrong: [],
  seconds: 2,
};

const wrong: Trial = {
  ...right,
  said: {
    ...right.said,
    layer: 'L4',
    causes: ['filter-rule-drops on node-2', 'ip-forward-off on node-3'],
    risks: [],
    located: 1,
  },
  missedNodes: ['node-2'],
  wrongDirections: ['p: outbound, should be both'],
  wrong: ['layer is "L4", should be "L3"'],
  seconds: 4,
};

const located: Trial = {
  ...right,
  kind: 'pair',
  expected: { status: 'failed', layer: 'L2', causes: ['vxlan-port-blocked on ?'], risks: [], located: true },
  said: { ...right.said, layer: 'L2', causes: ['vxlan-port-blocked on node-4'], located: 1 },
};

const healthy: Trial = {
  ...right,
  kind: 'healthy',
  placed: [],
  expected: { status: 'healthy', layer: null, causes: [], risks: [], located: false },
  said: { ...right.said, status: 'healthy', layer: null, causes: [] },
  directions: 0,
};

test('figures count causes, layers, scopes and directions', () => {
  expect(figuresOf([right, wrong, located, healthy])).toEqual({
    trials: 4,
    recall: { of: 4, right: 3 },
    precision: { of: 6, right: 3 },
    risks: { of: 2, right: 1 },
    layer: { of: 4, right: 3 },
    scope: { of: 4, right: 3 },
    whole: { of: 4, right: 3 },
    healthy: 1,
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
  expect(confusion([right, wrong, located, healthy])).toEqual([
    { should: '(located only)', said: '(located only)', n: 1 },
    { should: '(no cause)', said: '(located only)', n: 1 },
    { should: '(no cause)', said: '(no cause)', n: 1 },
    { should: '(no cause)', said: 'ip-forward-off', n: 1 },
    { should: 'ip-forward-off', said: 'filter-rule-drops', n: 1 },
    { should: 'ip-forward-off', said: 'ip-forward-off', n: 1 },
    { should: 'vxlan-port-blocked', said: 'vxlan-port-blocked', n: 1 },
  ]);
  expect(differences([right, wrong])).toEqual([
    '- ip-forward-off on node-2 (a1): layer is "L4", should be "L3"',
    '- ip-forward-off on node-2 (a1): p: outbound, should be both',
  ]);
});

test('the page says of each trial that counts of which commit it is, what was made again, and what could not be made', () => {
  const page = accuracyPage({
    trials: [right, located, healthy, { ...right, commit: 'b2', network: 'kubenet' }],
    replaced: [wrong],
    failed: [{ planned: { kind: 'healthy', network: 'host-gw', placed: [] }, why: 'no lab' }],
    missing: [{ kind: 'pair', network: 'vxlan', placed: [] }],
    seed: '1',
  });
  expect(page).toContain(
    '| `a1` | 4 | 3 | 0.750 (3 of 4) | 0.500 (3 of 6) | 0.750 (3 of 4) | 0 of 1 |\n| `b2` | 1 | 1 | 1.000 (1 of 1) | 1.000 (1 of 1) | 1.000 (1 of 1) | 0 of 0 |',
  );
  expect(page).toContain('which is the one that counts, right or wrong: ip-forward-off.');
  expect(page).toContain('## What was wrong\n\nNothing.\n');
  expect(page).toContain('## What was wrong before\n\n- ip-forward-off on node-2 (a1): layer');
  expect(page).toContain('## What was planned and not made\n\n- nothing put in, host-gw: no lab\n- pairs: 1 trial\n');
  expect(page).toContain('| ip-forward-off | kubenet | 1 | 1 of 1 | 1 of 1 | 1 | 1 | 1 |');
});

const FAULTS: readonly Layered[] = [
  { name: 'a', placement: 'node', layer: 'L2' },
  { name: 'b', placement: 'pair', layer: 'L3' },
  { name: 'c', placement: 'cluster', layer: 'DNS' },
  { name: 'd', placement: 'cluster', layer: 'L4' },
  { name: 'e', placement: 'node', layer: 'L2' },
];

test('placements are drawn by the seed, each once before any twice', () => {
  const [node, pair, cluster] = FAULTS.map((fault) => placements(fault, 5, '7').map(({ at }) => at));
  expect(new Set(node?.slice(0, 4).map((at) => at.node)).size).toBe(4);
  expect(new Set(pair?.map((at) => `${at.node} ${at.peer}`)).size).toBe(5);
  expect(pair?.filter((at) => at.node === at.peer)).toEqual([]);
  expect(new Set(cluster?.map((at) => `${at.node}${at.peer}`))).toEqual(new Set(['']));
  expect(placements(FAULTS[1] as Layered, 5, '7')).toEqual(placements(FAULTS[1] as Layered, 5, '7'));
});

test('pairs are of different layers, on nodes of their own, and never two of the whole cluster', () => {
  const pairs = pairsOf(FAULTS, 100, '3');
  expect(pairs.map((pair) => pair.map(({ name }) => name).join('')).toSorted()).toEqual(
    ['ab', 'ac', 'ad', 'bc', 'bd', 'be', 'ce', 'de'].toSorted(),
  );
  for (const [first, second] of pairs) {
    const nodes = [first, second].flatMap(({ at }) => [at.node, at.peer]).filter((name) => name !== '');
    expect(new Set(nodes).size).toBe(nodes.length);
  }
  expect(pairsOf(FAULTS, 3, '3')).toHaveLength(3);
});

test('a fault that only some nodes can have is put on those', () => {
  const some: readonly Layered[] = [{ name: 'x', placement: 'node', layer: 'L7', nodes: ['node-1', 'node-2'] }, ...FAULTS];
  expect(new Set(placements(some[0] as Layered, 5, '7').map(({ at }) => at.node))).toEqual(new Set(['node-1', 'node-2']));
  const both: readonly Layered[] = [...some, { name: 'y', placement: 'pair', layer: 'DNS', nodes: ['node-1'] }];
  for (const pair of pairsOf(both, 100, '3')) {
    const nodes = pair.flatMap(({ at }) => [at.node, at.peer]).filter((name) => name !== '');
    expect(new Set(nodes).size).toBe(nodes.length);
    const misplaced = pair.filter(
      ({ name, at }) => !(both.find((fault) => fault.name === name)?.nodes ?? [at.node]).includes(at.node),
    );
    expect(misplaced).toEqual([]);
  }
});

test('another fault changes neither the placements nor the pairs of the others', () => {
  const more: readonly Layered[] = [{ name: 'new', placement: 'node', layer: 'L7' }, ...FAULTS];
  const [before, after] = [FAULTS, more].map((faults) => pairsOf(faults, 100, '3'));
  expect(after?.filter((pair) => pair.every(({ name }) => name !== 'new'))).toEqual(before);
});

test('what is left of a plan: as many as are missing of each, those first that are not there', () => {
  const at = (name: string, node: string): Planned => ({
    kind: 'single',
    network: 'vxlan',
    placed: [{ name, at: { node, peer: '' } }],
  });
  const pair = (node: string): Planned => ({ ...at('a', node), kind: 'pair' });
  expect(
    leftOf(
      [at('a', 'node-1'), at('a', 'node-2'), at('b', 'node-1'), at('b', 'node-1'), pair('node-1'), pair('node-2')],
      [at('a', 'node-1'), at('b', 'node-1'), at('c', 'node-1'), pair('node-4')],
    ),
  ).toEqual([at('a', 'node-2'), at('b', 'node-1'), pair('node-1')]);
  const elsewhere: Planned = { ...at('a', 'node-1'), network: 'kubenet' };
  expect(leftOf([elsewhere], [at('a', 'node-1')])).toEqual([elsewhere]);
});

/**
 * Symptoms as `FROM TO DIRECTION`, all of one verdict, whose scope is from the first node to the second. Ends are nodes, or
 * `pod-1` and `bridge-1` on them; from node-1 to node-3 only the way there is measured.
 */
function directionsOf(lost: Pick<Lost, 'lost' | 'lostOf'>, scope: Direction, ...lines: readonly string[]) {
  const symptoms = lines.map((line) => ({ id: line, direction: line.split(' ')[2] }));
  const verdict = {
    run: { durationMs: 1 },
    scope: { subjects: [nodeEntity('node-1')], targets: [nodeEntity('node-2')], direction: scope, sentence: 'scope' },
    causes: [],
    risks: [],
    located: [{ segment: 'segment', direction: scope, symptoms: symptoms.map(({ id }) => id) }],
    symptoms,
    notChecked: [],
  } as unknown as Verdict;
  const end = (text = ''): End => {
    const [kind = '', index = ''] = text.split('-');
    return { node: `node-${index}`, kind: kind === 'node' ? 'host' : (kind as End['kind']) };
  };
  const { directions, wrongDirections } = judgeTrial(
    { commit: 'a1', kind: 'single', network: 'vxlan', placed: [] },
    { status: 'failed', layer: null, codes: [], nodes: [] },
    { at: { node: 'node-1', peer: 'node-2' }, ...lost },
    verdict,
    (name) => name,
    (id) => {
      const [from, to] = id.split(' ');
      return to === 'web' ? null : { from: end(from), to: end(to), isOneWay: id.startsWith('node-1 node-3') };
    },
  );
  return { directions, wrongDirections };
}

test('directions are held against what is lost, where it is known', () => {
  expect(directionsOf({ lost: 'both' }, 'both', 'node-1 node-2 both', 'node-2 node-1 both', 'node-1 node-3 outbound')).toEqual({
    directions: 5,
    wrongDirections: [],
  });
  expect(directionsOf({ lost: 'both' }, 'outbound', 'node-1 node-2 outbound')).toEqual({
    directions: 3,
    wrongDirections: [
      'node-1 node-2 outbound: outbound, should be both',
      'scope: outbound, should be both',
      'segment: outbound, should be both',
    ],
  });
  expect(directionsOf({ lost: 'from-peer' }, 'outbound', 'node-1 node-2 outbound', 'node-2 node-1 inbound')).toEqual({
    directions: 4,
    wrongDirections: [],
  });
  // Of a pair that the fault leaves alone, and of an unknown address, nothing can be held against it.
  expect(directionsOf({ lost: 'from-peer' }, 'undetermined', 'node-1 node-3 outbound', 'node-1 web outbound')).toEqual({
    directions: 0,
    wrongDirections: [],
  });
  expect(
    directionsOf({ lost: 'to-either' }, 'both', 'node-1 node-2 both', 'node-3 node-2 outbound', 'node-1 node-3 inbound'),
  ).toEqual({
    directions: 4,
    wrongDirections: [],
  });
  expect(directionsOf({ lost: 'to' }, 'inbound', 'node-1 node-3 outbound').wrongDirections).toEqual([
    'node-1 node-3 outbound: outbound, should be inbound',
  ]);
  // Where only the addresses of pods are harmed, a node reaches the pods of others, and the others not its own.
  const ofPods = directionsOf(
    { lost: 'both', lostOf: 'pods' },
    'both',
    'node-2 pod-1 both',
    'pod-2 pod-1 both',
    'node-2 bridge-1 both',
  );
  expect(ofPods.wrongDirections).toEqual(['node-2 pod-1 both: both, should be outbound']);
  const ofNetwork = directionsOf(
    { lost: 'both', lostOf: 'pod-network' },
    'both',
    'node-2 bridge-1 outbound',
    'node-2 node-1 both',
  );
  expect(ofNetwork).toEqual({ directions: 2, wrongDirections: [] });
});
