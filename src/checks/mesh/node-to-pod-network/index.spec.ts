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

test('one way, the agent of the target counts', () => {
  expect(oneWayLines(nodeToPodNetwork)).toEqual([
    'node-to-pod-network udp node-1 > node-2 172.27.2.1: L3, from 10.28.0.11 of node-1, port 40000, on node-2, 20 packets, counted by node-2',
    'node-to-pod-network udp node-2 > node-1 172.27.1.1: L3, from 10.28.0.12 of node-2, port 40000, on node-1, 20 packets, counted by node-1',
  ]);
});
