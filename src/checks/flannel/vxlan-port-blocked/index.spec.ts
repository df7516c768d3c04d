import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { ProbeResult } from '../../../model/probe.ts';
import { vxlanPortBlocked } from './index.ts';

const inCase = (name: string) => readCase('flannel/vxlan-port-blocked', name);

const blocked = {
  check: 'vxlan-port-blocked',
  code: 'vxlan-port-blocked',
  layer: 'L4',
  severity: 'critical',
  certainty: 'inferred',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  harms: [{ proto: 'udp', dport: 8472 }],
  advice:
    'Open UDP 8472 between the nodes (security group, firewall, ACL). Where that cannot be had soon, flannel can be moved to another port such as 8475, or to host-gw where the nodes share a link.',
} as const;
const summary = (where: string, others = ', other UDP ports included') =>
  `UDP 8472, the VXLAN overlay, does not get through ${where}; the nodes reach each other otherwise${others}`;
const wire = (from: number, to: number) => ({ place: 'net', point: 'wire', via: `node/node-${from}>node/node-${to}` });
const proof = (from: number, to: number) => {
  const way = `node-${from} > node-${to}`;
  const [bridge, node] = [`172.27.${to}.1`, `10.28.87.${58 + to}`];
  return [
    [`node-to-pod-network udp ${way} ${bridge}`, '0 of 20 arrived'],
    [`node-to-node udp ${way} ${node}`, '20 of 20 arrived'],
    [`node-to-pod-network ping ${way} ${bridge}`, '0 of 20 arrived'],
    [`node-to-pod-network tcp ${way} ${bridge}`, '0 of 3 arrived'],
  ].map(([source, text]) => ({ where: `node-${from}`, source, text }));
};

/** What is found when some probes had ended otherwise. */
function foundWith(name: string, which: RegExp, change: Partial<ProbeResult>) {
  const bundle = inCase(name);
  return findingsIn(vxlanPortBlocked, bundle, probedOtherwise(bundle, [which, change])).map(({ summary, at }) => ({
    summary,
    at,
  }));
}

const PASS: Partial<ProbeResult> = { status: 'pass', delivered: 20, sent: 20, how: 'ok' };
const UNKNOWN: Partial<ProbeResult> = { status: 'unknown', delivered: 0, sent: 0, how: null };

test('the overlay gets through: nothing is wrong', () => {
  expect(evaluated(vxlanPortBlocked, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a node that the port is blocked to and from is named by itself', () => {
  expect(findingsIn(vxlanPortBlocked, inCase('to-and-from-a-node'))).toEqual([
    {
      ...blocked,
      at: [{ place: 'node/node-2', point: 'port' }],
      summary: summary('either way between node-2 and any other node'),
      evidence: expect.arrayContaining(proof(1, 2)),
    },
  ]);
});

test('one way between two nodes', () => {
  expect(findingsIn(vxlanPortBlocked, inCase('one-way'))).toEqual([
    { ...blocked, at: [wire(2, 3)], summary: summary('from node-2 to node-3'), evidence: proof(2, 3) },
  ]);
});

test('both ways between two nodes', () => {
  expect(findingsIn(vxlanPortBlocked, inCase('between-two-nodes'))).toEqual([
    {
      ...blocked,
      at: [wire(2, 3), wire(3, 2)],
      summary: summary('either way between node-2 and node-3'),
      evidence: [...proof(2, 3), ...proof(3, 2)].slice(0, 6),
    },
  ]);
});

test.for([
  ['out of a node', /network udp node-[13] > node-2 /, 'from node-2 to any other node', 'out'],
  ['into a node', /network udp node-2 > node-/, 'to node-2 from any other node', 'in'],
] as const)('only %s', ([, passing, where, dir]) => {
  expect(foundWith('to-and-from-a-node', passing, PASS)).toEqual([
    { summary: summary(where), at: [{ place: 'node/node-2', point: 'port', dir }] },
  ]);
});

test('where one-way datagrams were not counted, no direction is told, and nothing of other ports', () => {
  expect(foundWith('between-two-nodes', / udp /, UNKNOWN)).toEqual([
    { summary: summary('between node-2 and node-3', ''), at: [wire(2, 3), wire(3, 2)] },
  ]);
  expect(foundWith('to-and-from-a-node', / udp /, UNKNOWN)).toEqual([
    { summary: summary('between node-2 and any other node', ''), at: [{ place: 'node/node-2', point: 'port' }] },
  ]);
});

const COUNTERS = '/proc/net/dev';

test('packets that come in at the node have passed the port', () => {
  const one = said((stdout) =>
    stdout.replace(/(flannel\.1: *\d+ +)(\d+)/, (_, head, received) => `${head}${Number(received) + 1}`),
  );
  const counted = withReading(inCase('to-and-from-a-node'), `${COUNTERS} @after`, one, 'node-2');
  expect(findingsIn(vxlanPortBlocked, counted)).toEqual([]);
});

test('packets that never left the node were not lost on the way', () => {
  const bundle = inCase('to-and-from-a-node');
  const before = bundle.evidence[1]?.items[`node: cat ${COUNTERS} @before`]?.stdout ?? '';
  expect(
    findingsIn(
      vxlanPortBlocked,
      withReading(
        bundle,
        `${COUNTERS} @after`,
        said(() => before),
        'node-2',
      ),
    ),
  ).toEqual([]);
});

test.for([
  ['down', 'address show', (stdout: string) => stdout.replace(/("ifname":"flannel\.1","flags":\[[^\]]*)"UP",/, '$1')],
  ['unknown', 'address show', () => '['],
  ['not counted', `${COUNTERS} @after`, () => 'garbage'],
] as const)('nothing is blamed on the way to a node whose device is %s', ([, reading, change]) => {
  const changed = withReading(inCase('to-and-from-a-node'), reading, said(change), 'node-2');
  expect(evaluated(vxlanPortBlocked, changed).findings).toEqual([]);
});

test('where other UDP ports do not get through either, their loss is no proof of a direction', () => {
  expect(foundWith('one-way', /node-to-node udp node-2 > node-3 /, { status: 'fail', delivered: 0, how: 'timeout' })).toEqual([
    { summary: summary('between node-2 and node-3', ''), at: [wire(2, 3), wire(3, 2)] },
  ]);
});

test('a datagram of the network below that got lost beside it changes nothing', () => {
  expect(foundWith('one-way', /node-to-node udp node-2 > node-3 /, { status: 'fail', delivered: 19, how: 'timeout' })).toEqual([
    { summary: summary('from node-2 to node-3'), at: [wire(2, 3)] },
  ]);
});

const BELOW = /node-to-node (ping|tcp|udp) node-2 > node-3 /;

test.for<[string, RegExp, Partial<ProbeResult>]>([
  ['one datagram of twenty arrives', /network udp node-2 > node-3 /, { delivered: 1 }],
  ['one ping of twenty is answered', /network ping node-2 > node-3 /, { delivered: 1 }],
  ['a connection is refused at once', /network tcp node-2 > node-3 /, { how: 'refused' }],
  ['there is no route', /network ping node-2 > node-3 /, { how: 'no-route' }],
  ['nothing is known of the overlay', /network (ping|tcp) node-2 > node-3 /, UNKNOWN],
  ['the network below fails as well', BELOW, { status: 'fail', delivered: 0, how: 'timeout' }],
  ['nothing is known of the network below', BELOW, UNKNOWN],
])('not the port where %s', ([, which, change]) => {
  expect(foundWith('one-way', which, change)).toEqual([]);
});

test('one protocol that the network below lets pass is enough to tell that it is the overlay', () => {
  expect(foundWith('one-way', /node-to-node (ping|udp) node-2 > node-3 /, UNKNOWN)).toMatchObject([
    { at: [wire(2, 3), wire(3, 2)] },
  ]);
});

test('the port is that of the device', () => {
  const moved = withReading(
    inCase('one-way'),
    'address show',
    said((stdout) => stdout.replace('"port":8472', '"port":8475')),
  );
  expect(findingsIn(vxlanPortBlocked, moved)).toMatchObject([
    { harms: [{ proto: 'udp', dport: 8475 }], summary: expect.stringMatching(/^UDP 8475, /) },
  ]);
});

test.for(['flannel', 'a tunnel device'])('without %s there is nothing to judge', (missing) => {
  const bundle = inCase('one-way');
  const nodes = bundle.inventory.nodes.map((node) => ({ ...node, annotations: {} }));
  const without =
    missing === 'flannel'
      ? { ...bundle, inventory: { ...bundle.inventory, nodes } }
      : withReading(
          bundle,
          'address show',
          said((stdout) => stdout.replaceAll('"info_kind":"vxlan"', '"info_kind":"ipip"')),
        );
  expect(findingsIn(vxlanPortBlocked, without)).toEqual([]);
});

test('a node whose devices cannot be read is told; the others’ show the port all the same', () => {
  const cut = withReading(
    inCase('one-way'),
    'address show',
    (item) => ({ ...item, stdout: '[', truncated: true, exitCode: null }),
    'node-1',
  );
  const { findings, gaps } = evaluated(vxlanPortBlocked, cut);
  expect({ findings, gaps }).toEqual({
    findings: findingsIn(vxlanPortBlocked, inCase('one-way')),
    gaps: [{ what: 'vxlan-port-blocked', where: 'node-1', reason: 'ip -j -d -s address show: output was cut at 1 bytes' }],
  });
});
