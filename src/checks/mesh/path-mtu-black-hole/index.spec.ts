import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase } from '../../../../test/fixtures.ts';
import type { ProbeResult } from '../../../model/probe.ts';
import { pathMtuBlackHole } from './index.ts';

const inCase = (name: string) => readCase('mesh/path-mtu-black-hole', name);

const blackHole = {
  check: 'path-mtu-black-hole',
  code: 'path-mtu-black-hole',
  layer: 'L3',
  severity: 'critical',
  certainty: 'inferred',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
} as const;
const wire = (from: number, to: number) => ({ place: 'net', point: 'wire', via: `node/node-${from}>node/node-${to}` });
const advice = (bytes: number) =>
  `Let the network carry packets of ${bytes} bytes there, or let ICMP "fragmentation needed" through; until then a smaller MTU on the nodes concerned avoids it.`;
const lost = (bytes: number, where: string) =>
  `packets of ${bytes} bytes and more are lost without an error ${where}, small ones pass`;

const nodeProof = (from: number, to: number) => [
  {
    where: `node-${from}`,
    source: `full-size-packets ping 1500 bytes node-${from} > node-${to} 10.28.87.${58 + to}`,
    text: '0 of 3 packets of 1500 bytes answered',
  },
  {
    where: `node-${from}`,
    source: `node-to-node ping node-${from} > node-${to} 10.28.87.${58 + to}`,
    text: '20 of 20 packets answered',
  },
];
const pods = (from: number, to: number) =>
  `netcheck-agents/netcheck-probe-${from} > netcheck-agents/netcheck-probe-${to} 172.27.${to}.4`;
const podProof = (from: number, to: number) => [
  {
    where: `netcheck-agents/netcheck-probe-${from}`,
    source: `full-size-packets ping 1450 bytes ${pods(from, to)}`,
    text: '0 of 3 packets of 1450 bytes answered',
  },
  {
    where: `netcheck-agents/netcheck-probe-${from}`,
    source: `pod-to-pod ping ${pods(from, to)}`,
    text: '20 of 20 packets answered',
  },
];

const GONE: Partial<ProbeResult> = { status: 'fail', sent: 3, delivered: 0, how: 'timeout' };

/** What is found in the healthy cluster when some probes had ended otherwise. */
function foundWith(...changes: readonly (readonly [RegExp, Partial<ProbeResult>])[]) {
  const bundle = inCase('healthy');
  return findingsIn(pathMtuBlackHole, bundle, probedOtherwise(bundle, ...changes));
}

test('packets of full size pass: nothing is wrong', () => {
  expect(evaluated(pathMtuBlackHole, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a node behind a link that loses large packets is named by itself', () => {
  expect(evaluated(pathMtuBlackHole, inCase('at-a-node'))).toEqual({
    findings: [
      {
        ...blackHole,
        at: [{ place: 'node/node-2', point: 'port' }],
        harms: [{ minSize: 1450 }],
        summary: lost(1450, 'between node-2 and any other node'),
        advice: advice(1500),
        evidence: [...nodeProof(1, 2), ...podProof(1, 2), ...nodeProof(3, 2), ...podProof(3, 2)].slice(0, 6),
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('between two nodes: a ping cannot tell which way the large packet was lost', () => {
  const found = {
    ...blackHole,
    at: [wire(2, 3), wire(3, 2)],
    harms: [{ minSize: 1500 }],
    summary: lost(1500, 'between node-2 and node-3'),
    advice: advice(1500),
  };
  expect(foundWith([/1500 bytes node-2 > node-3 /, GONE])).toEqual([{ ...found, evidence: nodeProof(2, 3) }]);
  expect(foundWith([/1500 bytes node-(2 > node-3|3 > node-2) /, GONE])).toEqual([
    { ...found, evidence: [...nodeProof(2, 3), ...nodeProof(3, 2)] },
  ]);
});

test('between pods alone, the smaller size of the overlay counts', () => {
  expect(foundWith([/1450 bytes \S+-2 > \S+-3 /, GONE])).toEqual([
    {
      ...blackHole,
      at: [wire(2, 3), wire(3, 2)],
      harms: [{ minSize: 1450 }],
      summary: lost(1450, 'between node-2 and node-3'),
      advice: advice(1450),
      evidence: podProof(2, 3),
    },
  ]);
});

const LARGE = /1500 bytes node-2 > node-3 /;

test.for<[string, ...(readonly [RegExp, Partial<ProbeResult>])[]]>([
  ['small ones are lost as well', [LARGE, GONE], [/node-to-node ping node-2 > node-3 /, { ...GONE, sent: 20 }]],
  [
    'some small ones are lost',
    [LARGE, GONE],
    [/node-to-node ping node-2 > node-3 /, { status: 'fail', delivered: 19, how: 'timeout' }],
  ],
  ['nothing is known of small ones', [LARGE, GONE], [/node-to-node ping node-2 > node-3 /, { status: 'unknown', how: null }]],
  ['one of three arrives', [LARGE, { ...GONE, delivered: 1 }]],
  ['somebody says that they are too large', [LARGE, { ...GONE, how: 'too-big' }]],
  ['they are rejected', [LARGE, { ...GONE, how: 'prohibited' }]],
  ['nothing is known of them', [LARGE, { status: 'unknown', sent: 0, delivered: 0, how: null }]],
])('no black hole where %s', ([, ...changes]) => {
  expect(foundWith(...changes)).toEqual([]);
});
