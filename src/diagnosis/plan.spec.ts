import { expect, test } from 'vitest';
import { simulate } from '../../test/simulate.ts';
import type { Link } from '../checks/kit/links.ts';
import { type NodeState, nodesToAsk, planLate, planSweep } from './plan.ts';

const NODES = 80;
const { inventory } = simulate(NODES);
const { nodes } = nodesToAsk(inventory);

const ROOM: NodeState = {
  network: null,
  neighbours: [],
  listening: { node: { udp: 40_000 }, pod: null },
  resolvers: [],
  addresses: [],
  freeNeighbours: 10_000,
  freeConntrack: 1_000_000,
};

/** How many peers a node in such a state probes, and what is said of those that it does not. */
function peersOf(state: Partial<NodeState>) {
  const states = new Map([['node-1', { ...ROOM, ...state }]]);
  const { probes, omitted } = planSweep(inventory, { kind: 'cluster' }, nodes, states, new Set(['node-1']));
  const peers = new Set(probes.filter(({ check }) => check === 'node-to-node').map(({ to }) => to.node));
  return { peers: peers.size, omitted };
}

test('a node with room in its tables probes every peer, one without a conntrack table as well', () => {
  expect(peersOf({})).toEqual({ peers: NODES - 1, omitted: [] });
  expect(peersOf({ freeConntrack: Number.POSITIVE_INFINITY })).toEqual({ peers: NODES - 1, omitted: [] });
});

test('a node probes as many peers as its share of what is left in its tables allows', () => {
  expect(peersOf({ freeNeighbours: 100 })).toEqual({
    peers: 50,
    omitted: [
      {
        what: 'probes of 29 peers',
        where: 'node-1',
        reason: "the sweep would use more than its share of the node's neighbour table",
      },
    ],
  });
  expect(peersOf({ freeNeighbours: 0 }).peers).toBe(1);
  expect(peersOf({ freeConntrack: 12_000 }).peers).toBe(10);
});

test.for([
  ['freeNeighbours', 'neighbour', 64],
  ['freeConntrack', 'conntrack', 54],
] as const)('a node of which %s cannot be read keeps to the defaults of the kernel, and that is told', ([key, table, peers]) => {
  expect(peersOf({ [key]: null })).toEqual({
    peers,
    omitted: [
      {
        what: `probes of ${NODES - 1 - peers} peers`,
        where: 'node-1',
        reason: `the limits of the node's ${table} table could not be read, and the sweep would use more than its share of one with the kernel's defaults`,
      },
    ],
  });
});

test('one way to a node that begins to listen late, from all that were swept before, and nothing else', () => {
  const small = nodes.slice(0, 3);
  const first = new Map([
    ['node-1', ROOM],
    ['node-2', ROOM],
  ]);
  const all = new Map([...first, ['node-3', ROOM]]);
  const plan = (states: ReadonlyMap<string, NodeState>, sources: readonly string[]) =>
    planSweep(inventory, { kind: 'cluster' }, small, states, new Set(sources)).probes;
  const planned = [...plan(first, ['node-1', 'node-2']), ...plan(all, ['node-3'])];
  const { probes: late, instead } = planLate(inventory, { kind: 'cluster' }, small, all, new Set(all.keys()), planned);
  expect(instead.size).toBe(0);
  expect(late.map(({ id, late: isLate }) => [id, isLate])).toEqual([
    ['node-to-node udp node-1 > node-3 10.28.0.13', true],
    ['node-to-node udp node-2 > node-3 10.28.0.13', true],
  ]);
  const sources = new Set(['node-1', 'node-3']);
  expect(planLate(inventory, { kind: 'cluster' }, small, all, sources, planned).probes).toEqual(late.slice(0, 1));
  expect(planLate(inventory, { kind: 'cluster' }, small, all, sources, [...planned, ...late]).probes).toEqual([]);
});

const UPLINK: Link = {
  name: 'eth0',
  index: 2,
  peer: null,
  kind: 'physical',
  up: true,
  carrier: true,
  mtu: 1500,
  mac: null,
  master: null,
  addresses: [],
  vxlan: null,
  packets: null,
};
const withMtu = (mtu: number): NodeState => ({
  ...ROOM,
  listening: { node: null, pod: null },
  network: { uplink: { ...UPLINK, mtu }, bridge: null, overlay: null },
});

test('packets that were larger than their target takes, which said so late, are replaced by such as it takes', () => {
  const two = nodes.slice(0, 2);
  const first = new Map([['node-1', withMtu(9000)]]);
  const all = new Map([...first, ['node-2', withMtu(1500)]]);
  const planned = planSweep(inventory, { kind: 'cluster' }, two, first, new Set(['node-1'])).probes;
  const sizes = planned.flatMap(({ id, bytes }) => (bytes === undefined ? [] : [id]));
  expect(sizes).toEqual(['full-size-packets ping 9000 bytes node-1 > node-2 10.28.0.12']);
  const again = planLate(inventory, { kind: 'cluster' }, two, all, new Set(['node-1']), planned);
  expect(again.probes.map(({ id, late }) => [id, late])).toEqual([
    ['full-size-packets ping 1500 bytes node-1 > node-2 10.28.0.12', true],
  ]);
  expect([...again.instead]).toEqual([[sizes[0], again.probes[0]]]);
  const only = planLate(inventory, { kind: 'cluster' }, two, all, new Set(['node-1']), planned, new Set(sizes));
  expect([only.probes, only.instead.size]).toEqual([[], 0]);
});
