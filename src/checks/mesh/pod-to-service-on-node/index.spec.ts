import { expect, test } from 'vitest';
import { denyAll, plannedLines, withoutPods, withPolicies } from '../../../../test/probe-context.ts';
import { podToServiceOnNode } from './index.ts';

test('netcheck’s pod asks the DNS Service so often that the server on its node is asked', () => {
  expect(plannedLines(podToServiceOnNode)).toEqual(linesOf(10));
});

test('more endpoints take more queries, up to a number', () => {
  const withServers = (count: number) =>
    plannedLines(podToServiceOnNode, {
      inventory: (inventory) => {
        const [first] = inventory.endpoints.filter(({ service }) => service === 'kube-dns');
        if (first === undefined) throw new Error('no DNS endpoint');
        const more = Array.from({ length: count - 2 }, (_, index) => ({ ...first, ip: `172.27.9.${index + 1}` }));
        return { ...inventory, endpoints: [...inventory.endpoints, ...more] };
      },
    });
  expect(withServers(3)).toEqual(linesOf(18));
  expect(withServers(20)).toEqual(linesOf(40));
});

test('there is nothing to ask where no server is on the node, or it is not ready', () => {
  expect(plannedLines(podToServiceOnNode, withoutPods('kube-system'))).toEqual([]);
  expect(plannedLines(podToServiceOnNode, { inventory: (inventory) => ({ ...inventory, endpoints: [] }) })).toEqual([]);
});

test('without netcheck’s pod or a bridge nobody asks', () => {
  expect(plannedLines(podToServiceOnNode, withoutPods('netcheck-agents'))).toEqual([]);
  expect(
    plannedLines(podToServiceOnNode, {
      node: (node) => ({ ...node, network: node.network && { ...node.network, bridge: null } }),
    }),
  ).toEqual([]);
});

test('what a policy forbids is expected to fail', () => {
  const lines = plannedLines(podToServiceOnNode, withPolicies(denyAll('kube-system', 'ingress')));
  expect(lines).toHaveLength(2);
  expect(lines.filter((line) => !line.endsWith('denied by kube-system/deny-all'))).toEqual([]);
});

function linesOf(count: number): readonly string[] {
  return [1, 2].map(
    (index) =>
      `pod-to-service-on-node dns netcheck-agents/netcheck-probe-${index} > kube-system/kube-dns 172.26.0.10: L4, from 172.27.${index}.4 of netcheck-agents/netcheck-probe-${index} on node-${index}, port 53, anywhere, ${count} of them, each for itself, for kubernetes.default.svc.cluster.test`,
  );
}
