import type { Inventory, LabelSelector, NetworkPolicy, Node, Pod, PolicyPeer, PolicyRule } from '../../model/inventory.ts';
import { own } from '../../model/own.ts';
import { isWithin } from './cidr.ts';

/** The policy, `NAMESPACE/NAME`, that isolates a pod without allowing this traffic, and in which direction. */
export type Denial = { readonly policy: string; readonly direction: 'ingress' | 'egress' };

/**
 * Whether the NetworkPolicies deny traffic from a pod or a node to a pod, or null when they allow it. Both directions are
 * looked at: egress of the source, ingress of the target. A pod is isolated by any policy that selects it and then
 * reached only by what some policy allows. Traffic between a pod and its own node is always allowed; ICMP counts as
 * denied unless all ports are open, because the API leaves it to the implementation.
 * Source: kubernetes.io, Concepts, Network Policies.
 */
export function denies(
  inventory: Inventory,
  from: Pod | Node,
  to: Pod,
  protocol: 'TCP' | 'UDP' | 'ICMP',
  port?: number,
): Denial | null {
  const traffic: Traffic = { protocol, port: port ?? null };
  const outbound = isPod(from) ? deniedEgress(inventory, from, to, traffic) : null;
  if (outbound !== null) return outbound;
  if (!isPod(from) && from.name === to.node) return null;
  const ingress = inventory.policies.filter((policy) => policy.ingress !== null && selectsPod(policy, to));
  const refused = refusedBy(inventory, ingress, (policy) => policy.ingress ?? [], from, traffic);
  return refused === null ? null : { policy: refused, direction: 'ingress' };
}

/**
 * Whether the NetworkPolicies deny traffic from a pod to an address that is no pod's: of a node, or outside the cluster.
 * A pod may always talk to its own node.
 */
export function deniesOutbound(
  inventory: Inventory,
  from: Pod,
  ip: string,
  protocol: 'TCP' | 'UDP' | 'ICMP',
  port?: number,
): Denial | null {
  const isOwnNode = inventory.nodes.some((node) => node.name === from.node && node.ip === ip);
  return isOwnNode ? null : deniedEgress(inventory, from, { ip }, { protocol, port: port ?? null });
}

function deniedEgress(inventory: Inventory, from: Pod, to: Subject, traffic: Traffic): Denial | null {
  if (from.hostNetwork) return null;
  const egress = inventory.policies.filter((policy) => policy.egress !== null && selectsPod(policy, from));
  const refused = refusedBy(inventory, egress, (policy) => policy.egress ?? [], to, traffic);
  return refused === null ? null : { policy: refused, direction: 'egress' };
}

/** A pod, or anything else that is known by its address. */
type Subject = Pod | Pick<Node, 'ip'>;

type Traffic = { readonly protocol: 'TCP' | 'UDP' | 'ICMP'; readonly port: number | null };

function refusedBy(
  inventory: Inventory,
  policies: readonly NetworkPolicy[],
  rulesOf: (policy: NetworkPolicy) => readonly PolicyRule[],
  peer: Subject,
  traffic: Traffic,
): string | null {
  const [first] = policies;
  if (first === undefined) return null;
  const allowed = policies.some((policy) =>
    rulesOf(policy).some(
      (rule) =>
        (rule.peers.length === 0 || rule.peers.some((candidate) => matchesPeer(inventory, policy, candidate, peer))) &&
        (rule.ports.length === 0 || rule.ports.some((candidate) => matchesPort(candidate, traffic))),
    ),
  );
  return allowed ? null : `${first.namespace}/${first.name}`;
}

function isPod(subject: Subject): subject is Pod {
  return 'namespace' in subject;
}

function selectsPod(policy: NetworkPolicy, pod: Pod): boolean {
  return policy.namespace === pod.namespace && !pod.hostNetwork && matchesSelector(policy.podSelector, pod.labels);
}

function matchesPeer(inventory: Inventory, policy: NetworkPolicy, peer: PolicyPeer, subject: Subject): boolean {
  if (peer.ipBlock !== undefined) {
    const { cidr, except } = peer.ipBlock;
    return subject.ip !== null && isWithin(subject.ip, cidr) && !except.some((block) => isWithin(subject.ip ?? '', block));
  }
  if (!isPod(subject)) return false;
  const inNamespace =
    peer.namespaceSelector === undefined
      ? subject.namespace === policy.namespace
      : matchesSelector(
          peer.namespaceSelector,
          inventory.namespaces.find(({ name }) => name === subject.namespace)?.labels ?? {},
        );
  return inNamespace && (peer.podSelector === undefined || matchesSelector(peer.podSelector, subject.labels));
}

function matchesPort(rule: PolicyRule['ports'][number], { protocol, port }: Traffic): boolean {
  if (protocol === 'ICMP' || rule.protocol !== protocol) return false;
  if (rule.port === null) return true;
  // A named port resolves per pod; not knowing it is no proof that the traffic is denied.
  if (typeof rule.port === 'string' || port === null) return true;
  return port >= rule.port && port <= (rule.endPort ?? rule.port);
}

/** Whether labels match a selector; an empty selector matches everything. */
export function matchesSelector(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  const equal = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => own(labels, key) === value);
  return (
    equal &&
    (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      const value = own(labels, key);
      if (operator === 'In') return value !== undefined && values.includes(value);
      if (operator === 'NotIn') return value === undefined || !values.includes(value);
      return (operator === 'Exists') === (value !== undefined);
    })
  );
}
