import { expect, test } from 'vitest';
import { lineOf, oneWayLines, plannedLines, probeContext, withoutPods } from '../../../../test/probe-context.ts';
import type { Link } from '../../kit/links.ts';
import type { ProbeNode } from '../../kit/probe.ts';
import { nodeToNode } from './index.ts';

const ALL = [
  'node-to-node ping node-1 > node-2 10.28.0.12: L3, from 10.28.0.11 of node-1, on node-2, 20 packets, beside tcp',
  'node-to-node tcp node-1 > node-2 10.28.0.12: L4, from 10.28.0.11 of node-1, port 10250, on node-2, 3 packets, where somebody listens',
  'node-to-node ping node-2 > node-1 10.28.0.11: L3, from 10.28.0.12 of node-2, on node-1, 20 packets, beside tcp',
  'node-to-node tcp node-2 > node-1 10.28.0.11: L4, from 10.28.0.12 of node-2, port 10250, on node-1, 3 packets, where somebody listens',
];

test('every node asks every other by ICMP and by TCP; pods do not matter', () => {
  expect(plannedLines(nodeToNode)).toEqual(ALL);
  expect(plannedLines(nodeToNode, withoutPods('netcheck-agents'))).toEqual(ALL);
});

test('a node that does not answer is asked, does not ask, and nothing is known to listen on it', () => {
  const silent = (node: ProbeNode): ProbeNode => (node.node.name === 'node-2' ? { ...node, answers: false } : node);
  expect(plannedLines(nodeToNode, { node: silent })).toEqual([
    ALL[0],
    ALL[1]?.replace('where somebody listens', 'where nobody may listen'),
  ]);
});

test('one way, the agent of the target counts', () => {
  expect(oneWayLines(nodeToNode)).toEqual([
    'node-to-node udp node-1 > node-2 10.28.0.12: L3, from 10.28.0.11 of node-1, port 40000, on node-2, 20 packets, counted by node-2',
    'node-to-node udp node-2 > node-1 10.28.0.11: L3, from 10.28.0.12 of node-2, port 40000, on node-1, 20 packets, counted by node-1',
  ]);
  expect(oneWayLines(nodeToNode, { node: (node) => ({ ...node, listening: { node: null, pod: null } }) })).toEqual([]);
});

/** What is asked afterwards, when the source's uplink has this prefix. */
function followUp(prefix: number | null): readonly string[] | undefined {
  const uplink = (link: Link): Link => ({
    ...link,
    addresses: link.addresses.map((address) => ({ ...address, prefix: prefix ?? 0 })),
  });
  const { pairs } = probeContext({
    node: (node) => ({
      ...node,
      network: node.network?.uplink == null || prefix === null ? null : { ...node.network, uplink: uplink(node.network.uplink) },
    }),
  });
  return pairs.slice(0, 1).flatMap(([source, target]) => (nodeToNode.followUp?.(source, target) ?? []).map(lineOf));
}

test('by ARP only afterwards, and only on the same link', () => {
  const arp = ['node-to-node arp node-1 > node-2 10.28.0.12: L2, from 10.28.0.11 of node-1, on node-2, 1 packets'];
  // 10.28.0.11 and 10.28.0.12 share a /29, not a /30.
  expect([16, 29, 30, null].map(followUp)).toEqual([arp, arp, [], []]);
});

/** What is asked afterwards, when node-1 or node-2 has this neighbour entry for the other. */
function followUpWith(holder: string, mac: string | null, state: string): readonly string[] {
  const { pairs } = probeContext({
    node: (node) => ({
      ...node,
      neighbours:
        node.node.name === holder ? [{ ip: holder === 'node-1' ? '10.28.0.12' : '10.28.0.11', dev: 'eth0', mac, state }] : [],
    }),
  });
  return pairs.slice(0, 1).flatMap(([source, target]) => (nodeToNode.followUp?.(source, target) ?? []).map(lineOf));
}

test('not by ARP where an entry has the address of another card: that would mend it', () => {
  const wrong = '02:00:00:00:de:ad';
  const macs = new Map(probeContext().targets.map(({ node, network }) => [node.name, network?.uplink?.mac ?? '']));
  const asked = [
    followUpWith('node-1', wrong, 'REACHABLE'),
    followUpWith('node-2', wrong, 'STALE'),
    followUpWith('node-1', macs.get('node-2') ?? '', 'REACHABLE'),
    followUpWith('node-1', null, 'FAILED'),
    followUpWith('node-1', wrong, 'PERMANENT'),
  ].map(({ length }) => length);
  expect(asked).toEqual([0, 0, 1, 1, 1]);
});
