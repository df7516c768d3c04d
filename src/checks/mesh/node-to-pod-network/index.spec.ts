import { expect, test } from 'vitest';
import { oneWayLines, plannedLines, withoutPods } from '../../../../test/probe-context.ts';
import type { ProbeNode } from '../../kit/probe.ts';
import { nodeToPodNetwork } from './index.ts';

const ALL = [
  'node-to-pod-network ping node-1 > node-2 172.27.2.1: L3, from 10.28.0.11 of node-1, on node-2, 20 packets, beside tcp',
  'node-to-pod-network tcp node-1 > node-2 172.27.2.1: L4, from 10.28.0.11 of node-1, port 10250, on node-2, 3 packets, where somebody listens, if ping is silent',
  'node-to-pod-network ping node-2 > node-1 172.27.1.1: L3, from 10.28.0.12 of node-2, on node-1, 20 packets, beside tcp',
  'node-to-pod-network tcp node-2 > node-1 172.27.1.1: L4, from 10.28.0.12 of node-2, port 10250, on node-1, 3 packets, where somebody listens, if ping is silent',
];

test('every node asks for the first address of every other pod network; pods do not matter', () => {
  expect(plannedLines(nodeToPodNetwork)).toEqual(ALL);
  expect(plannedLines(nodeToPodNetwork, withoutPods('netcheck-agents'))).toEqual(ALL);
});

const without = (bridge: null, node: ProbeNode): ProbeNode => ({
  ...node,
  network: node.network === null ? null : { ...node.network, bridge },
});

test('nobody is asked where no bridge holds that address, or no pod network is known', () => {
  expect(plannedLines(nodeToPodNetwork, { node: (node) => without(null, node) })).toEqual([]);
  expect(plannedLines(nodeToPodNetwork, { node: (node) => ({ ...node, podCIDR: null }) })).toEqual([]);
  expect(oneWayLines(nodeToPodNetwork, { node: (node) => without(null, node) })).toEqual([]);
});

test('a node whose devices are not known is taken to be built like the one that asks', () => {
  const unseen = (node: ProbeNode): ProbeNode => (node.node.name === 'node-2' ? { ...node, network: null } : node);
  expect(plannedLines(nodeToPodNetwork, { node: unseen })).toEqual(ALL);
});

/** The bridge holds `ip`, the Node object says a wider podCIDR. */
const wider =
  (ip: string) =>
  (node: ProbeNode): ProbeNode => {
    const bridge = node.network?.bridge;
    if (node.node.name !== 'node-2' || node.network == null || bridge == null) return node;
    const addresses = [
      { family: 4 as const, ip: '192.0.2.1', prefix: 24 },
      { family: 4 as const, ip, prefix: 24 },
    ];
    return { ...node, podCIDR: '172.27.0.0/21', network: { ...node.network, bridge: { ...bridge, addresses } } };
  };

test('where the bridge holds another address out of the podCIDR, nobody has the first one', () => {
  const asked = (ip: string) => plannedLines(nodeToPodNetwork, { node: wider(ip) }).map((line) => line.split(':')[0]);
  expect(asked('172.27.2.1')).toEqual(ALL.map((line) => line.split(':')[0]));
  expect(asked('172.27.0.1').slice(0, 2)).toEqual([
    'node-to-pod-network ping node-1 > node-2 172.27.0.1',
    'node-to-pod-network tcp node-1 > node-2 172.27.0.1',
  ]);
});

test('one way, the agent of the target counts', () => {
  expect(oneWayLines(nodeToPodNetwork)).toEqual([
    'node-to-pod-network udp node-1 > node-2 172.27.2.1: L3, from 10.28.0.11 of node-1, port 40000, on node-2, 20 packets, counted by node-2',
    'node-to-pod-network udp node-2 > node-1 172.27.1.1: L3, from 10.28.0.12 of node-2, port 40000, on node-1, 20 packets, counted by node-1',
  ]);
});
