import { expect, test } from 'vitest';
import { type ContextChange, denyAll, plannedLines, withPolicies } from '../../../../test/probe-context.ts';
import type { Inventory, Pod } from '../../../model/inventory.ts';
import { nodeLocalDns } from './index.ts';

const ADDRESS = '169.254.20.10';

/** A cache on the nodes given, made of one of the cluster's own pods. */
const caching = (...nodes: readonly string[]): ContextChange => ({
  node: (node) => ({ ...node, addresses: [ADDRESS] }),
  inventory: (inventory) => ({ ...inventory, pods: [...inventory.pods, ...nodes.map((node) => cache(inventory, node))] }),
});

function cache({ pods }: Inventory, node: string): Pod {
  const [pod] = pods;
  if (pod === undefined) throw new Error('there is no pod');
  const name = `cache-of-${node}`;
  return { ...pod, namespace: 'kube-system', name, node, hostNetwork: true, labels: { 'k8s-app': 'node-local-dns' } };
}

const tail = (on: number) => `port 53, on node-${on}, 3 packets, for kubernetes.default.svc.cluster.test`;
const fromNode = (on: number) =>
  `node-local-dns dns node-${on} > kube-system/cache-of-node-${on} ${ADDRESS}: DNS, from 10.28.0.1${on} of node-${on}, ${tail(on)}`;
const fromPod = (on: number) =>
  `node-local-dns dns netcheck-agents/netcheck-probe-${on} > kube-system/cache-of-node-${on} ${ADDRESS}: DNS, from 172.27.${on}.4 of netcheck-agents/netcheck-probe-${on} on node-${on}, ${tail(on)}`;

test('each cache is asked from its own node and from netcheck’s pod there', () => {
  expect(plannedLines(nodeLocalDns, caching('node-1', 'node-2'))).toEqual([1, 2].flatMap((on) => [fromNode(on), fromPod(on)]));
});

test('nodes without a cache are not asked, nor are clusters whose caches have another address', () => {
  expect(plannedLines(nodeLocalDns, caching('node-2'))).toEqual([fromNode(2), fromPod(2)]);
  expect(
    plannedLines(nodeLocalDns, { ...caching('node-2'), node: (node) => ({ ...node, addresses: ['169.254.25.10'] }) }),
  ).toEqual([]);
  expect(plannedLines(nodeLocalDns)).toEqual([]);
});

test('what a policy forbids to pods is expected to fail', () => {
  const change = caching('node-1');
  const policies = withPolicies(denyAll('netcheck-agents', 'egress')).inventory ?? ((same: Inventory) => same);
  const both: ContextChange = { ...change, inventory: (inventory) => policies(change.inventory?.(inventory) ?? inventory) };
  expect(plannedLines(nodeLocalDns, both)).toEqual([fromNode(1), `${fromPod(1)}, denied by netcheck-agents/deny-all`]);
});
