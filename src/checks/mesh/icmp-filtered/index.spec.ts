import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase } from '../../../../test/fixtures.ts';
import type { ProbeResult } from '../../../model/probe.ts';
import { icmpFiltered } from './index.ts';

const inCase = (name: string) => readCase('mesh/icmp-filtered', name);

/** A node whose pings go unanswered; `pings` are up to three of them, by what they ask. */
const filtered = (node: number, pings: readonly string[]) => ({
  check: 'icmp-filtered',
  code: 'icmp-filtered',
  layer: 'L4',
  severity: 'info',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: `node-${node}` },
  at: [],
  harms: [],
  summary: `node-${node} does not answer ping, though TCP reaches it: ICMP is filtered`,
  evidence: pings.map((source) => ({
    where: / (node-\d) > /.exec(source)?.[1] ?? '',
    source,
    text: '0 of 20 packets answered; TCP to the same address passed',
  })),
});
const byNode = (from: number, to: number) => `node-to-node ping node-${from} > node-${to} 10.28.87.${58 + to}`;
const byBridge = (from: number, to: number) => `node-to-pod-network ping node-${from} > node-${to} 172.27.${to}.1`;

test('every ping is answered: nothing to tell', () => {
  expect(evaluated(icmpFiltered, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('nodes that answer TCP and no ping are told, once each, and nothing is accused', () => {
  const { findings, acquitted, gaps } = evaluated(icmpFiltered, inCase('on-every-node'));
  expect({ findings: findings.toSorted((a, b) => (a.entity.name < b.entity.name ? -1 : 1)), acquitted, gaps }).toEqual({
    findings: [
      filtered(1, [byNode(2, 1), byNode(3, 1), byBridge(2, 1)]),
      filtered(2, [byNode(1, 2), byNode(3, 2), byBridge(1, 2)]),
      filtered(3, [byNode(1, 3), byNode(2, 3), byBridge(1, 3)]),
    ],
    acquitted: [],
    gaps: [],
  });
});

test.for<[string, RegExp, Partial<ProbeResult>]>([
  ['TCP does not get there either', / tcp /, { status: 'fail', delivered: 0, how: 'timeout' }],
  ['nothing is known of TCP', / tcp /, { status: 'unknown', delivered: 0, how: null }],
  ['one ping of twenty is answered', / ping /, { delivered: 1 }],
  ['nothing is known of the pings', / ping /, { status: 'unknown', sent: 0, how: null }],
])('nothing is called filtered where %s', ([, which, change]) => {
  const bundle = inCase('on-every-node');
  expect(findingsIn(icmpFiltered, bundle, probedOtherwise(bundle, [which, change]))).toEqual([]);
});

test('one ping that a rule takes is enough to tell', () => {
  const bundle = inCase('healthy');
  const probed = probedOtherwise(bundle, [
    /node-to-node ping node-1 > node-2 /,
    { status: 'fail', delivered: 0, how: 'timeout' },
  ]);
  expect(findingsIn(icmpFiltered, bundle, probed)).toEqual([filtered(2, [byNode(1, 2)])]);
});
