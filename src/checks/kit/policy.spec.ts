import { expect, test } from 'vitest';
import { simulate } from '../../../test/simulate.ts';
import type { Inventory, NetworkPolicy, Pod } from '../../model/inventory.ts';
import { denies, deniesOutbound, matchesSelector } from './policy.ts';

const { inventory } = simulate(2);
const [a, b] = ['netcheck-probe-1', 'netcheck-probe-2'].map((name) => inventory.pods.find((pod) => pod.name === name)) as [
  Pod,
  Pod,
];
const [node1, node2] = inventory.nodes as [Inventory['nodes'][number], Inventory['nodes'][number]];

function policy(more: Partial<NetworkPolicy>): NetworkPolicy {
  return { namespace: 'netcheck-agents', name: 'p', podSelector: {}, ingress: null, egress: null, ...more };
}

function withPolicies(...policies: NetworkPolicy[]): Inventory {
  return { ...inventory, policies, namespaces: [{ name: 'netcheck-agents', labels: { team: 'net' } }] };
}

test('without a policy everything is allowed', () => {
  expect(denies(inventory, a, b, 'TCP', 80)).toBeNull();
});

test('a default deny isolates the pods of its namespace, in the direction that it names, and no others', () => {
  const denyIngress = withPolicies(policy({ name: 'default-deny', ingress: [] }));
  expect(denies(denyIngress, a, b, 'TCP', 80)).toEqual({ policy: 'netcheck-agents/default-deny', direction: 'ingress' });
  expect(denies(denyIngress, a, b, 'ICMP')).toEqual({ policy: 'netcheck-agents/default-deny', direction: 'ingress' });
  expect(denies(withPolicies(policy({ egress: [] })), a, b, 'TCP', 80)).toEqual({
    policy: 'netcheck-agents/p',
    direction: 'egress',
  });
  expect(denies(withPolicies(policy({ namespace: 'default', ingress: [] })), a, b, 'TCP', 80)).toBeNull();
});

test('a pod is always reached from its own node, and from another one only by an address block', () => {
  const denied = withPolicies(policy({ ingress: [] }));
  expect(denies(denied, node2, b, 'TCP', 80)).toBeNull();
  expect(denies(denied, node1, b, 'TCP', 80)).toEqual({ policy: 'netcheck-agents/p', direction: 'ingress' });
  const block = { peers: [{ ipBlock: { cidr: '10.28.0.0/16', except: [] } }], ports: [] };
  expect(denies(withPolicies(policy({ ingress: [block] })), node1, b, 'TCP', 80)).toBeNull();
  const except = { peers: [{ ipBlock: { cidr: '10.28.0.0/16', except: ['10.28.0.11/32'] } }], ports: [] };
  expect(denies(withPolicies(policy({ ingress: [except] })), node1, b, 'TCP', 80)).not.toBeNull();
});

test('out of a pod, an address that is no pod’s needs a block of its own; the pod’s own node does not', () => {
  const allowed = {
    peers: [{ ipBlock: { cidr: '10.28.0.0/16', except: [] } }],
    ports: [{ protocol: 'TCP', port: 6443, endPort: null }],
  };
  const selecting = withPolicies(policy({ egress: [allowed] }));
  const denied = { policy: 'netcheck-agents/p', direction: 'egress' };
  expect([
    deniesOutbound(inventory, a, '10.28.0.2', 'TCP', 6443),
    deniesOutbound(withPolicies(policy({ egress: [] })), a, '10.28.0.2', 'TCP', 6443),
    deniesOutbound(withPolicies(policy({ egress: [] })), a, node1.ip ?? '', 'TCP', 6443),
    deniesOutbound(withPolicies(policy({ egress: [] })), { ...a, hostNetwork: true }, '10.28.0.2', 'TCP', 6443),
    deniesOutbound(withPolicies(policy({ ingress: [] })), a, '10.28.0.2', 'TCP', 6443),
    deniesOutbound(selecting, a, '10.28.0.2', 'TCP', 6443),
    deniesOutbound(selecting, a, '10.28.0.2', 'TCP', 443),
    deniesOutbound(selecting, a, '192.0.2.1', 'TCP', 6443),
    deniesOutbound(withPolicies(policy({ egress: [{ peers: [{ podSelector: {} }], ports: [] }] })), a, '10.28.0.2', 'TCP', 6443),
    deniesOutbound(withPolicies(policy({ egress: [{ peers: [], ports: [] }] })), a, '10.28.0.2', 'TCP', 6443),
  ]).toEqual([null, denied, null, null, null, null, denied, denied, denied, null]);
});

test('what any policy allows is allowed: by pod, by namespace, by port and range', () => {
  const allow = (rule: NetworkPolicy['ingress']) =>
    withPolicies(policy({ ingress: [] }), policy({ name: 'allow', ingress: rule }));
  const ports = [{ protocol: 'TCP', port: 8000, endPort: 8100 }];
  expect(
    denies(
      allow([{ peers: [{ podSelector: { matchLabels: { 'app.kubernetes.io/name': 'netcheck-probe' } } }], ports: [] }]),
      a,
      b,
      'TCP',
      1,
    ),
  ).toBeNull();
  expect(
    denies(allow([{ peers: [{ namespaceSelector: { matchLabels: { team: 'net' } } }], ports: [] }]), a, b, 'ICMP'),
  ).toBeNull();
  expect(
    denies(allow([{ peers: [{ namespaceSelector: { matchLabels: { team: 'web' } } }], ports: [] }]), a, b, 'ICMP'),
  ).not.toBeNull();
  expect(denies(allow([{ peers: [], ports }]), a, b, 'TCP', 8050)).toBeNull();
  expect(denies(allow([{ peers: [], ports }]), a, b, 'TCP', 8101)).not.toBeNull();
  expect(denies(allow([{ peers: [], ports }]), a, b, 'UDP', 8050)).not.toBeNull();
  expect(denies(allow([{ peers: [], ports }]), a, b, 'ICMP')).not.toBeNull();
});

test('selector expressions mean what the API says', () => {
  const expression = (operator: string, values?: string[]) => ({
    matchExpressions: [{ key: 'app', operator, ...(values === undefined ? {} : { values }) }],
  });
  const matches = (selector: Parameters<typeof matchesSelector>[0]) =>
    [{ app: 'a' }, { app: 'b' }, {}].map((labels) => matchesSelector(selector, labels as Record<string, string>));
  expect(matches({})).toEqual([true, true, true]);
  expect(matches(expression('In', ['a']))).toEqual([true, false, false]);
  expect(matches(expression('NotIn', ['a']))).toEqual([false, true, true]);
  expect(matches(expression('Exists'))).toEqual([true, true, false]);
  expect(matches(expression('DoesNotExist'))).toEqual([false, false, true]);
  const missing = (operator: string) => matchesSelector({ matchExpressions: [{ key: 'constructor', operator }] }, {});
  expect([missing('Exists'), missing('DoesNotExist')]).toEqual([false, true]);
});
