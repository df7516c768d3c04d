import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { peerEntriesWrong } from './index.ts';

const inCase = (name: string) => readCase('flannel/peer-entries-wrong', name);

const FDB = 'fdb show';
const AFTER = 'neighbour show @after';
const ROUTES = 'route show';
const LINKS = 'address show';
const VTEP = '0e:d6:0c:b9:3f:01';

const BACKEND_DATA = 'flannel.alpha.coreos.com/backend-data';

const wrong = {
  check: 'peer-entries-wrong',
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  advice: 'Restart flannel on node-2: it writes all of its entries again.',
} as const;

const fdbHop = (from: number, to: number) => ({
  place: `node/node-${from}`,
  point: 'fdb',
  dev: 'flannel.1',
  via: `10.28.87.${58 + to}`,
});
const neighHop = (from: number, to: number) => ({
  place: `node/node-${from}`,
  point: 'neigh',
  dev: 'flannel.1',
  via: `172.27.${to}.0`,
});
const ALL = [1, 2, 3].flatMap((from) =>
  [1, 2, 3].filter((to) => to !== from).flatMap((to) => [fdbHop(from, to), neighHop(from, to)]),
);

const fdb = {
  ...wrong,
  code: 'flannel-fdb-wrong',
  layer: 'L2',
  at: [fdbHop(2, 3)],
  harms: [{}],
};
const neighbour = {
  ...wrong,
  code: 'flannel-neighbour-wrong',
  layer: 'L2',
  at: [neighHop(2, 3)],
  harms: [{}],
};
const route = {
  ...wrong,
  code: 'flannel-route-wrong',
  layer: 'L3',
  at: [{ place: 'node/node-2', point: 'route' }],
  harms: [{ dst: '172.27.3.0/24' }],
};
const cited = (source: string, text: string) => [{ where: 'node-2', source, text: `node-3: ${text}` }];

test('every entry for every peer is as flannel writes it, and is acquitted', () => {
  expect(evaluated(peerEntriesWrong, inCase('healthy'))).toEqual({ findings: [], acquitted: ALL, gaps: [] });
});

test('the forwarding entry for a peer is missing', () => {
  expect(evaluated(peerEntriesWrong, inCase('fdb-missing'))).toEqual({
    findings: [
      {
        ...fdb,
        summary: 'the forwarding database of node-2 has no entry for node-3',
        evidence: cited('bridge -j fdb show', `missing; should be ${VTEP} dst 10.28.87.61`),
      },
    ],
    acquitted: ALL.filter((hop) => JSON.stringify(hop) !== JSON.stringify(fdbHop(2, 3))),
    gaps: [],
  });
});

test('the forwarding entry for a peer names another node', () => {
  expect(evaluated(peerEntriesWrong, inCase('fdb-stale'))).toEqual({
    findings: [
      {
        ...fdb,
        summary: `the forwarding database of node-2 has a wrong entry for node-3: ${VTEP} dst 10.28.87.59, should be ${VTEP} dst 10.28.87.61`,
        evidence: cited('bridge -j fdb show', `${VTEP} dst 10.28.87.59; should be ${VTEP} dst 10.28.87.61`),
      },
    ],
    acquitted: ALL.filter((hop) => JSON.stringify(hop) !== JSON.stringify(fdbHop(2, 3))),
    gaps: [],
  });
});

test('the neighbour entry for a peer is missing: what the kernel asks for in vain is none', () => {
  expect(evaluated(peerEntriesWrong, inCase('neighbour-missing'))).toEqual({
    findings: [
      {
        ...neighbour,
        summary: 'the neighbour table of node-2 has no entry for node-3',
        evidence: cited('ip -j -s neighbour show', `missing (172.27.3.0 INCOMPLETE); should be 172.27.3.0 lladdr ${VTEP}`),
      },
    ],
    acquitted: ALL.filter((hop) => JSON.stringify(hop) !== JSON.stringify(neighHop(2, 3))),
    gaps: [],
  });
});

test('the neighbour entry for a peer has another MAC address', () => {
  expect(evaluated(peerEntriesWrong, inCase('neighbour-stale'))).toEqual({
    findings: [
      {
        ...neighbour,
        summary: `the neighbour table of node-2 has a wrong entry for node-3: 172.27.3.0 lladdr 0e:5a:5a:5a:5a:5a PERMANENT, should be 172.27.3.0 lladdr ${VTEP}`,
        evidence: cited(
          'ip -j -s neighbour show',
          `172.27.3.0 lladdr 0e:5a:5a:5a:5a:5a PERMANENT; should be 172.27.3.0 lladdr ${VTEP}`,
        ),
      },
    ],
    acquitted: ALL.filter((hop) => JSON.stringify(hop) !== JSON.stringify(neighHop(2, 3))),
    gaps: [],
  });
});

test.for([
  ['route-missing', 'has no entry for node-3', 'missing'],
  [
    'route-stale',
    'has a wrong entry for node-3: 172.27.3.0/24 via 172.27.0.0 dev flannel.1, should be 172.27.3.0/24 via 172.27.3.0 dev flannel.1 onlink',
    '172.27.3.0/24 via 172.27.0.0 dev flannel.1',
  ],
] as const)('the route to the pods of a peer: %s', ([name, summary, is]) => {
  expect(evaluated(peerEntriesWrong, inCase(name))).toEqual({
    findings: [
      {
        ...route,
        summary: `the routing table of node-2 ${summary}`,
        evidence: cited('ip -j route show table all', `${is}; should be 172.27.3.0/24 via 172.27.3.0 dev flannel.1 onlink`),
      },
    ],
    acquitted: ALL,
    gaps: [],
  });
});

/** Changes the node's route to node-3. */
const rerouted = (change: string) => (stdout: string) =>
  stdout.replace('{"dst":"172.27.3.0/24","gateway":"172.27.3.0","dev":"flannel.1","flags":["onlink"]}', change);

test.for<[string, string]>([
  ['{"type":"blackhole","dst":"172.27.3.0/24","flags":[]}', 'blackhole 172.27.3.0/24 via - dev -'],
  ['{"dst":"172.27.3.0/24","gateway":"172.27.3.0","dev":"eth0","flags":["onlink"]}', '172.27.3.0/24 via 172.27.3.0 dev eth0'],
])('a route that leads elsewhere: %s', ([change, is]) => {
  const bundle = withReading(inCase('healthy'), ROUTES, said(rerouted(change)), 'node-2');
  expect(findingsIn(peerEntriesWrong, bundle)).toMatchObject([
    { code: 'flannel-route-wrong', evidence: [{ text: expect.stringContaining(is) }] },
  ]);
});

test('another route for the same pods is no fault as long as the right one is there', () => {
  const both =
    '{"dst":"172.27.3.0/24","gateway":"172.27.3.0","dev":"flannel.1","flags":["onlink"]},{"type":"unreachable","dst":"172.27.3.0/24","metric":4096,"flags":[]}';
  expect(findingsIn(peerEntriesWrong, withReading(inCase('healthy'), ROUTES, said(rerouted(both)), 'node-2'))).toEqual([]);
});

test('a peer that DirectRouting routes past the tunnel needs no entries in it, and none is acquitted', () => {
  const direct = '{"dst":"172.27.3.0/24","gateway":"10.28.87.61","dev":"eth0","flags":[]}';
  let bundle = withReading(inCase('fdb-missing'), ROUTES, said(rerouted(direct)), 'node-2');
  bundle = withReading(
    bundle,
    AFTER,
    said((stdout) => stdout.replaceAll(VTEP, '0e:00:00:00:00:00')),
    'node-2',
  );
  const { findings, acquitted } = evaluated(peerEntriesWrong, bundle);
  expect(findings).toEqual([]);
  expect(acquitted).toEqual(
    ALL.filter(({ place, via }) => place !== 'node/node-2' || !['10.28.87.61', '172.27.3.0'].includes(via)),
  );
});

test('several entries of one table are one finding, with each of its hops', () => {
  const emptied = withReading(inCase('healthy'), FDB, (item) => ({ ...item, stdout: '[]' }), 'node-2');
  expect(findingsIn(peerEntriesWrong, emptied)).toEqual([
    {
      ...fdb,
      at: [fdbHop(2, 1), fdbHop(2, 3)],
      summary: 'the forwarding database of node-2 has no entry for node-1, node-3',
      evidence: [
        { where: 'node-2', source: 'bridge -j fdb show', text: 'node-1: missing; should be 0e:42:10:e2:82:c3 dst 10.28.87.59' },
        { where: 'node-2', source: 'bridge -j fdb show', text: `node-3: missing; should be ${VTEP} dst 10.28.87.61` },
      ],
    },
  ]);
});

test.for([
  [3, 'node-1, node-3, node-4'],
  [4, '4 peers'],
  [6, '6 peers'],
] as const)('%i peers are told as %s, with five pieces of evidence at most', ([count, told]) => {
  const bundle = withReading(inCase('healthy'), FDB, (item) => ({ ...item, stdout: '[]' }), 'node-2');
  const [first] = bundle.inventory.nodes;
  if (first === undefined) throw new Error('no node');
  const more = Array.from({ length: count - 2 }, (_, index) => ({
    ...first,
    name: `node-${4 + index}`,
    annotations: { ...first.annotations, [BACKEND_DATA]: `{"VNI":1,"VtepMAC":"0e:00:00:00:00:0${index}"}` },
  }));
  const inventory = { ...bundle.inventory, nodes: [...bundle.inventory.nodes, ...more] };
  const found = findingsIn(peerEntriesWrong, { ...bundle, inventory }).filter(({ entity }) => entity.name === 'node-2');
  expect(found.find(({ code }) => code === 'flannel-fdb-wrong')).toMatchObject({
    summary: `the forwarding database of node-2 has no entry for ${told}`,
    at: Array.from({ length: count }, () => ({ place: 'node/node-2', point: 'fdb' })),
    evidence: Array.from({ length: Math.min(count, 5) }, () => ({ where: 'node-2' })),
  });
});

test('a MAC address counts whatever its case', () => {
  const upper = withReading(
    inCase('healthy'),
    FDB,
    said((stdout) =>
      stdout
        .toUpperCase()
        .replaceAll(/"(MAC|IFNAME|DST|STATE|FLAGS|MASTER)"/g, (key) => key.toLowerCase())
        .replaceAll('FLANNEL.1', 'flannel.1'),
    ),
  );
  expect(findingsIn(peerEntriesWrong, upper)).toEqual([]);
});

test.for([
  ['missing', (stdout: string) => stdout.replaceAll('vxlan', 'dummy').replaceAll('flannel.1', 'dummy0')],
  ['down', (stdout: string) => stdout.replace(/("ifname":"flannel\.1","flags":\[[^\]]*)"UP",/, '$1')],
] as const)('with the device %s, no entry is accused and none is acquitted', ([, change]) => {
  const { findings, acquitted } = evaluated(peerEntriesWrong, withReading(inCase('fdb-missing'), LINKS, said(change), 'node-2'));
  expect(findings).toEqual([]);
  expect(acquitted.filter(({ place }) => place === 'node/node-2')).toEqual([]);
});

test('a cluster without flannel has nothing to judge', () => {
  const bundle = inCase('fdb-missing');
  const nodes = bundle.inventory.nodes.map((node) => ({ ...node, annotations: {} }));
  expect(evaluated(peerEntriesWrong, { ...bundle, inventory: { ...bundle.inventory, nodes } })).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test('what cannot be read is unknown on that node, with the reason', () => {
  const gaps = (reading: string, stdout: string) =>
    evaluated(
      peerEntriesWrong,
      withReading(inCase('fdb-missing'), reading, (item) => ({ ...item, stdout }), 'node-2'),
    );
  const unreadable = (command: string) => ({
    what: 'peer-entries-wrong',
    where: 'node-2',
    reason: expect.stringMatching(new RegExp(`^${command}: unreadable output \\(.+\\)$`)),
  });
  expect(
    [LINKS, ROUTES, AFTER, FDB].map((reading) => gaps(reading, '[{"dst":')).map(({ findings, gaps }) => ({ findings, gaps })),
  ).toEqual(
    ['ip -j -d -s address show', 'ip -j route show table all', 'ip -j -s neighbour show', 'bridge -j fdb show'].map(
      (command) => ({
        findings: [],
        gaps: [unreadable(command)],
      }),
    ),
  );
});

test('of two nodes with the same MAC address neither needs an entry, and none is acquitted', () => {
  const bundle = inCase('fdb-missing');
  const mac = bundle.inventory.nodes[0]?.annotations[BACKEND_DATA] ?? '';
  const nodes = bundle.inventory.nodes.map((node) =>
    node.name === 'node-3' ? { ...node, annotations: { ...node.annotations, [BACKEND_DATA]: mac } } : node,
  );
  const { findings, acquitted } = evaluated(peerEntriesWrong, { ...bundle, inventory: { ...bundle.inventory, nodes } });
  expect(findings).toEqual([]);
  expect(acquitted.filter(({ place }) => place === 'node/node-2')).toEqual([]);
});

test('a node whose MAC address cannot be read is a gap', () => {
  const bundle = readCase('flannel/peer-entries-wrong', 'healthy');
  const nodes = bundle.inventory.nodes.map((node) => {
    const annotations = { ...node.annotations, 'flannel.alpha.coreos.com/backend-data': '{' };
    return node.name === 'node-2' ? { ...node, annotations } : node;
  });
  const { findings, gaps } = evaluated(peerEntriesWrong, { ...bundle, inventory: { ...bundle.inventory, nodes } });
  const reason = 'annotation flannel.alpha.coreos.com/backend-data cannot be read: {';
  expect({ findings, gaps }).toEqual({ findings: [], gaps: [{ what: 'peer-entries-wrong', where: 'node-2', reason }] });
});
