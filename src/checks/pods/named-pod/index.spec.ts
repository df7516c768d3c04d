import { expect, test } from 'vitest';
import { lineOf, probeContext } from '../../../../test/probe-context.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { namedPod } from './index.ts';

/** What is planned when the first CoreDNS pod is the one that was named, a line each. */
function planned(change: (inventory: Inventory) => Inventory = (same) => same, pod: object = {}): readonly string[] {
  const context = probeContext({ inventory: change });
  const named = context.inventory.pods.find(({ name }) => name === 'coredns-1');
  if (named?.ip == null) throw new Error('there is no such pod');
  return namedPod.plan({ ...context, named: { ...named, ip: named.ip, ...pod } }).map(lineOf);
}

test('nobody is named, nothing is sent; nor to a pod that does not run', () => {
  expect(namedPod.plan(probeContext())).toEqual([]);
  expect(planned(undefined, { phase: 'Pending' })).toEqual([]);
});

test('from its own node and the others, from nodes and from probe pods: a ping and a connection to each port', () => {
  expect(planned()).toEqual([
    'named-pod ping node-1 > kube-system/coredns-1 172.27.1.5: L3, from 10.28.0.11 of node-1, on node-1, 20 packets, beside tcp',
    'named-pod tcp 9153 node-1 > kube-system/coredns-1 172.27.1.5: L4, from 10.28.0.11 of node-1, port 9153, on node-1, 3 packets, where somebody listens',
    'named-pod tcp 7410 node-1 > kube-system/coredns-1 172.27.1.5: L4, from 10.28.0.11 of node-1, port 7410, on node-1, 3 packets, where nobody may listen',
    'named-pod ping netcheck-agents/netcheck-probe-1 > kube-system/coredns-1 172.27.1.5: L3, from 172.27.1.4 of netcheck-agents/netcheck-probe-1 on node-1, on node-1, 20 packets, beside tcp',
    'named-pod tcp 9153 netcheck-agents/netcheck-probe-1 > kube-system/coredns-1 172.27.1.5: L4, from 172.27.1.4 of netcheck-agents/netcheck-probe-1 on node-1, port 9153, on node-1, 3 packets, where somebody listens',
    'named-pod tcp 7410 netcheck-agents/netcheck-probe-1 > kube-system/coredns-1 172.27.1.5: L4, from 172.27.1.4 of netcheck-agents/netcheck-probe-1 on node-1, port 7410, on node-1, 3 packets, where nobody may listen',
    'named-pod ping node-2 > kube-system/coredns-1 172.27.1.5: L3, from 10.28.0.12 of node-2, on node-1, 20 packets, beside tcp',
    'named-pod tcp 9153 node-2 > kube-system/coredns-1 172.27.1.5: L4, from 10.28.0.12 of node-2, port 9153, on node-1, 3 packets, where somebody listens',
    'named-pod tcp 7410 node-2 > kube-system/coredns-1 172.27.1.5: L4, from 10.28.0.12 of node-2, port 7410, on node-1, 3 packets, where nobody may listen',
    'named-pod ping netcheck-agents/netcheck-probe-2 > kube-system/coredns-1 172.27.1.5: L3, from 172.27.2.4 of netcheck-agents/netcheck-probe-2 on node-2, on node-1, 20 packets, beside tcp',
    'named-pod tcp 9153 netcheck-agents/netcheck-probe-2 > kube-system/coredns-1 172.27.1.5: L4, from 172.27.2.4 of netcheck-agents/netcheck-probe-2 on node-2, port 9153, on node-1, 3 packets, where somebody listens',
    'named-pod tcp 7410 netcheck-agents/netcheck-probe-2 > kube-system/coredns-1 172.27.1.5: L4, from 172.27.2.4 of netcheck-agents/netcheck-probe-2 on node-2, port 7410, on node-1, 3 packets, where nobody may listen',
  ]);
});

test('of many ports those that a Service sends to come first', () => {
  const ports = Array.from({ length: 12 }, (_, index) => ({ port: 1000 + index, protocol: 'TCP' as const }));
  const lines = planned(undefined, { ports: [...ports, { port: 53, protocol: 'UDP' }] });
  const own = lines.filter((line) => line.startsWith('named-pod tcp') && line.includes(' node-1 >'));
  expect(own.map((line) => line.split(' ')[2])).toEqual(['9153', '1000', '1001', '1002', '1003', '1004', '1005', '1006']);
});

test('a pod without ports is connected to on one that nobody has to serve', () => {
  const lines = planned((inventory) => ({ ...inventory, endpoints: [] }), { ports: [] });
  expect(lines.filter((line) => line.includes(' tcp ')).map((line) => line.split(' ')[2])).toEqual([
    '10250',
    '10250',
    '10250',
    '10250',
  ]);
});

test('what a policy denies is expected to fail, but not for a pod on the network of its node', () => {
  const policy = { namespace: 'kube-system', name: 'deny', podSelector: {}, ingress: [], egress: null };
  const deny = (inventory: Inventory): Inventory => ({ ...inventory, policies: [policy] });
  const denied = (lines: readonly string[]): number => lines.filter((line) => line.includes('deny')).length;
  // Its own node always gets through.
  expect([denied(planned(deny)), denied(planned(deny, { hostNetwork: true }))]).toEqual([planned(deny).length - 3, 0]);
});
