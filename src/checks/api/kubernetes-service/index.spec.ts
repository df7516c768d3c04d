import { expect, test } from 'vitest';
import { type ContextChange, denyAll, plannedLines, withoutPods, withPolicies } from '../../../../test/probe-context.ts';
import { kubernetesService } from './index.ts';

const directly = (from: number) =>
  `kubernetes-service tls node-${from} > 10.28.0.2 10.28.0.2: L7, from 10.28.0.1${from} of node-${from}, port 6443, anywhere, 3 packets, for kubernetes.default.svc`;
const byNode = (from: number) =>
  `kubernetes-service tls node-${from} > default/kubernetes 172.26.0.1: L7, from 10.28.0.1${from} of node-${from}, port 443, anywhere, 3 packets, for kubernetes.default.svc`;
const byPod = (from: number) =>
  `kubernetes-service tls netcheck-agents/netcheck-probe-${from} > default/kubernetes 172.26.0.1: L7, from 172.27.${from}.4 of netcheck-agents/netcheck-probe-${from} on node-${from}, port 443, anywhere, 3 packets, for kubernetes.default.svc`;

test('directly and through the Service from every node, through the Service from netcheck’s pod', () => {
  expect(plannedLines(kubernetesService)).toEqual([directly(1), byNode(1), byPod(1), directly(2), byNode(2), byPod(2)]);
});

test('without netcheck’s pods only nodes ask', () => {
  expect(plannedLines(kubernetesService, withoutPods('netcheck-agents'))).toEqual([
    directly(1),
    byNode(1),
    directly(2),
    byNode(2),
  ]);
});

test('what is not known is not asked: no Service, no server', () => {
  const no = (what: 'services' | 'endpoints'): ContextChange => ({ inventory: (inventory) => ({ ...inventory, [what]: [] }) });
  expect(plannedLines(kubernetesService, no('services'))).toEqual([directly(1), directly(2)]);
  expect(plannedLines(kubernetesService, no('endpoints'))).toEqual([byNode(1), byPod(1), byNode(2), byPod(2)]);
});

test('a policy that keeps netcheck’s pods in makes them expected to fail, and no node', () => {
  const denied = (line: string) => `${line}, denied by netcheck-agents/deny-all`;
  expect(plannedLines(kubernetesService, withPolicies(denyAll('netcheck-agents', 'egress')))).toEqual([
    directly(1),
    byNode(1),
    denied(byPod(1)),
    directly(2),
    byNode(2),
    denied(byPod(2)),
  ]);
});

test('a policy that lets them out to the server itself does not, though it says nothing of the Service', () => {
  const rule = {
    peers: [{ ipBlock: { cidr: '10.28.0.2/32', except: [] } }],
    ports: [{ protocol: 'TCP', port: 6443, endPort: null }],
  };
  const policy = { ...denyAll('netcheck-agents', 'egress'), egress: [rule] };
  expect(plannedLines(kubernetesService, withPolicies(policy))).toEqual(plannedLines(kubernetesService));
});
