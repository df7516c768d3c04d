import { expect, test } from 'vitest';
import { denyAll, plannedLines, withoutPods, withPolicies } from '../../../../test/probe-context.ts';
import type { NodeNetwork } from '../../kit/node-network.ts';
import type { ProbeNode } from '../../kit/probe.ts';
import { fullSizePackets } from './index.ts';

const byNode = (from: number, to: number, bytes = 1500) =>
  `full-size-packets ping ${bytes} bytes node-${from} > node-${to} 10.28.0.1${to}: L3, from 10.28.0.1${from} of node-${from}, on node-${to}, 3 packets, ${bytes} bytes, not to be fragmented`;
const byPod = (from: number, to: number, bytes = 1450) =>
  `full-size-packets ping ${bytes} bytes netcheck-agents/netcheck-probe-${from} > netcheck-agents/netcheck-probe-${to} 172.27.${to}.4: L3, from 172.27.${from}.4 of netcheck-agents/netcheck-probe-${from} on node-${from}, on node-${to}, 3 packets, ${bytes} bytes, not to be fragmented`;

/** The devices of one node, changed. */
const changed = (name: string, change: (network: NodeNetwork) => NodeNetwork | null) => ({
  node: (node: ProbeNode): ProbeNode =>
    node.node.name === name && node.network !== null ? { ...node, network: change(node.network) } : node,
});
const smaller =
  (device: keyof NodeNetwork, mtu: number) =>
  (network: NodeNetwork): NodeNetwork => {
    const link = network[device];
    return link === null ? network : { ...network, [device]: { ...link, mtu } };
  };

test('nodes and pods ask with the largest packets that their devices carry', () => {
  expect(plannedLines(fullSizePackets)).toEqual([byNode(1, 2), byPod(1, 2), byNode(2, 1), byPod(2, 1)]);
});

test('without netcheck’s pods only nodes ask', () => {
  expect(plannedLines(fullSizePackets, withoutPods('netcheck-agents'))).toEqual([byNode(1, 2), byNode(2, 1)]);
});

test.for<[keyof NodeNetwork, number, readonly string[]]>([
  ['uplink', 1400, [byNode(1, 2, 1400), byPod(1, 2), byNode(2, 1, 1400), byPod(2, 1)]],
  ['overlay', 1400, [byNode(1, 2), byPod(1, 2, 1400), byNode(2, 1), byPod(2, 1, 1400)]],
  ['bridge', 1400, [byNode(1, 2), byPod(1, 2), byNode(2, 1), byPod(2, 1, 1400)]],
])('the smaller of both ends counts: %s of node-2', ([device, mtu, lines]) => {
  expect(plannedLines(fullSizePackets, changed('node-2', smaller(device, mtu)))).toEqual(lines);
});

test('a target whose devices are not known is taken to be built like the one that asks', () => {
  expect(
    plannedLines(
      fullSizePackets,
      changed('node-2', () => null),
    ),
  ).toEqual([byNode(1, 2), byPod(1, 2)]);
});

test.for(['ingress', 'egress'] as const)('what a policy of %s forbids to pods is expected to fail', (direction) => {
  const denied = (line: string) => `${line}, denied by netcheck-agents/deny-all`;
  expect(plannedLines(fullSizePackets, withPolicies(denyAll('netcheck-agents', direction)))).toEqual([
    byNode(1, 2),
    denied(byPod(1, 2)),
    byNode(2, 1),
    denied(byPod(2, 1)),
  ]);
});
