import { expect, test } from 'vitest';
import { simulate } from '../../test/simulate.ts';
import type { HopPattern } from '../model/hop.ts';
import type { Packet } from '../model/packet.ts';
import { classify, type Judged } from './classify.ts';
import { isAt } from './explain.ts';
import { scopeOf } from './scope.ts';

const cluster = simulate(4, [], 20);

function wire(from: number, to: number): HopPattern {
  return { place: 'net', point: 'wire', via: `node/node-${from}>node/node-${to}` };
}

const between = (...pairs: readonly (readonly [number, number])[]): readonly HopPattern[] =>
  pairs.flatMap(([a, b]) => [wire(a, b), wire(b, a)]);

const aroundNode3 = between([3, 1], [3, 2], [3, 4]);

/** The sentence on a network that loses packets at these hops. */
function sentence(at: readonly HopPattern[], rate = 1, change: (judged: Judged) => Judged = (judged) => judged): string {
  const results = cluster.results([{ eats: ({ hop }) => at.some((pattern) => isAt(pattern, hop)), rate }]);
  const judged = classify(cluster.probes, results).map(change);
  const symptoms = judged.filter(({ meaning }) => ['fail', 'lossy', 'recovered', 'error'].includes(meaning));
  return scopeOf(symptoms, judged, cluster.inventory).sentence;
}

function recover(judged: Judged): Judged {
  return judged.meaning === 'lossy' ? { ...judged, meaning: 'recovered' } : judged;
}

test.each<[string, readonly HopPattern[], number, string]>([
  ['one node', aroundNode3, 1, 'node-3 cannot reach any other node, in both directions'],
  ['one node, one way', [wire(3, 1), wire(3, 2), wire(3, 4)], 1, 'node-3 cannot reach any other node, in this direction only'],
  [
    'one node, the other way',
    [wire(1, 3), wire(2, 3), wire(4, 3)],
    1,
    'node-3 cannot be reached from any other node, in this direction only',
  ],
  ['a pair', between([1, 2]), 1, 'node-1 cannot reach node-2, in both directions'],
  [
    'two halves',
    between([1, 3], [1, 4], [2, 3], [2, 4]),
    1,
    'node-1 and node-2 cannot reach node-3 and node-4, in both directions',
  ],
  [
    'pairs without a pattern',
    between([1, 2], [2, 3], [3, 4]),
    1,
    'node-1 ↔ node-2, node-2 ↔ node-3 and node-3 ↔ node-4 cannot reach each other',
  ],
  ['a lossy node', aroundNode3, 0.1, 'node-3 loses 10 % of the packets to any other node, in both directions'],
])('%s', (_name, at, rate, expected) => {
  expect(sentence(at, rate)).toBe(expected);
});

test('loss that was over when it was measured again is told in the past', () => {
  expect(sentence(aroundNode3, 0.1, recover)).toBe(
    'node-3 lost 10 % of the packets to any other node, in both directions, and none when measured again',
  );
});

test.each<[string, (packet: Packet) => boolean, string]>([
  ['packets of full size', ({ size = 0 }) => size > 1400, 'node-3 cannot reach any other node with packets of full size'],
  ['TCP', ({ proto }) => proto === 'tcp', 'node-3 cannot reach any other node over TCP'],
])('a loss of %s alone is told as that', (_name, isLost, expected) => {
  const results = cluster.results([
    { eats: ({ hop, packet }) => isLost(packet) && aroundNode3.some((pattern) => isAt(pattern, hop)) },
  ]);
  const judged = classify(cluster.probes, results);
  const symptoms = judged.filter(({ meaning }) => meaning === 'fail');
  expect(scopeOf(symptoms, judged, cluster.inventory).sentence).toBe(expected);
});

test.each<[string, readonly number[], string]>([
  ['one node', [3], 'node-3 cannot be reached from any other node over TCP'],
  ['two of four', [3, 4], 'node-1 and node-2 cannot reach node-3 and node-4 over TCP'],
])('connections that are refused to come in to %s, while they can be made from there', (_name, closed, expected) => {
  const names = closed.map((index) => `node-${index}`);
  const isOutside = (ip: string): boolean => cluster.inventory.nodes.some((node) => node.ip === ip && !names.includes(node.name));
  const results = cluster.results([
    {
      eats: ({ hop: { place, point }, packet: { proto, src, dport } }) =>
        proto === 'tcp' && dport === 10250 && point === 'input' && names.includes(place.slice('node/'.length)) && isOutside(src),
    },
  ]);
  const judged = classify(cluster.probes, results);
  const symptoms = judged.filter(({ meaning }) => meaning === 'fail');
  expect(scopeOf(symptoms, judged, cluster.inventory).sentence).toBe(expected);
});

test('a node and a pair besides', () => {
  const at = [...aroundNode3, ...between([1, 2])];
  expect([sentence(at), sentence(at, 0.1)]).toEqual([
    'node-3 cannot reach any other node, in both directions; nor can node-1 and node-2 reach each other',
    'node-3 loses 10 % of the packets to any other node, in both directions; packets between node-1 and node-2 are lost as well',
  ]);
});

test('what has a cause of its own is told beside a node that is cut off, what may follow from it is not', () => {
  const servers: readonly HopPattern[] = [1, 2].map((index) => ({ place: `pod/kube-system/coredns-${index}`, point: 'input' }));
  const results = cluster.results([{ eats: ({ hop }) => [...aroundNode3, ...servers].some((pattern) => isAt(pattern, hop)) }]);
  const judged = classify(cluster.probes, results);
  const symptoms = judged.filter(({ meaning }) => meaning === 'fail');
  const ofServers = symptoms.filter(({ probe: { target, from } }) => /dns/.test(target.name) && from.node !== 'node-3');
  const others = symptoms.filter((symptom) => !ofServers.includes(symptom));
  const tellsService = (...explained: readonly (readonly Judged[])[]) =>
    scopeOf(symptoms, judged, cluster.inventory, explained).sentence.includes('the Service kube-system/kube-dns');
  expect(tellsService()).toBe(false);
  expect(tellsService(others, ofServers)).toBe(true);
  expect(tellsService([...others, ...ofServers])).toBe(false);
});

test('queries sent two at once of which one is lost are told beside a node that is cut off', () => {
  const half = (judged: Judged): Judged => {
    const { probe, result } = judged;
    if (probe.method !== 'dns-pair' || probe.from.node !== 'node-1') return judged;
    return { ...judged, meaning: 'fail', result: { ...result, status: 'fail', how: 'half-answered' } };
  };
  expect([sentence(aroundNode3), sentence(aroundNode3, 1, half)]).toEqual([
    'node-3 cannot reach any other node, in both directions',
    expect.stringMatching(
      /^node-3 cannot reach any other node, .*; netcheck-agents\/netcheck-probe-1 .* the Service kube-system\/kube-dns/,
    ),
  ]);
});

test('nothing that failed has nothing to say', () => {
  expect(scopeOf([], [], cluster.inventory)).toEqual({ subjects: [], targets: [], direction: 'undetermined', sentence: '' });
});
