import { firstIPv4 } from '../src/checks/kit/cidr.ts';
import type { ProbeContext, ProbeKind, ProbeNode } from '../src/checks/kit/probe.ts';
import { probePodOf } from '../src/diagnosis/plan.ts';
import type { Inventory, NetworkPolicy } from '../src/model/inventory.ts';
import type { Probe } from '../src/model/probe.ts';
import { simulate } from './simulate.ts';

/** Changes of the cluster that probes are planned for. */
export type ContextChange = {
  readonly inventory?: (inventory: Inventory) => Inventory;
  /** Changes what is known of a node. */
  readonly node?: (node: ProbeNode) => ProbeNode;
};

/** What probes are planned from in a simulated cluster of two nodes that both answer, with probe pods and two CoreDNS pods. */
export function probeContext({
  inventory: changed = (same) => same,
  node: seen = (same) => same,
}: ContextChange = {}): ProbeContext {
  const { inventory: whole, view } = simulate(2);
  const inventory = changed(whole);
  const targets = inventory.nodes.map((node) =>
    seen({
      node,
      ip: node.ip ?? '',
      podCIDR: firstIPv4(node.podCIDRs),
      network: view.networks.get(node.name) ?? null,
      neighbours: [],
      answers: true,
      probePod: probePodOf(inventory, node.name),
      listening: { node: { udp: 40_000 }, pod: { udp: 41_000 } },
      resolvers: [],
      addresses: [],
    }),
  );
  const sources = targets.filter(({ answers }) => answers);
  const pairs = sources.flatMap((source) =>
    targets.filter((target) => target.node.name !== source.node.name).map((target) => [source, target] as const),
  );
  return { inventory, clusterDomain: 'cluster.test', sources, targets, pairs, count: 20, named: null };
}

/** The probes that a kind plans for the first round, a line each. */
export function plannedLines(kind: ProbeKind, change?: ContextChange): readonly string[] {
  return kind.plan(probeContext(change)).map(lineOf);
}

/** The one-way probes of a kind for every pair of nodes, a line each. */
export function oneWayLines(kind: ProbeKind, change?: ContextChange): readonly string[] {
  const context = probeContext(change);
  return context.pairs.flatMap(([source, target]) => {
    const probe = kind.oneWay?.(source, target, context) ?? null;
    return probe === null ? [] : [lineOf(probe)];
  });
}

/** A probe in words: all that its id does not say. */
export function lineOf(probe: Probe): string {
  const { id, layer, from, to, count, bytes, name, listens, ifSilent, every, sibling, receiver, expect, deniedBy, group } = probe;
  const facts = [
    layer,
    `from ${from.ip} ${from.pod === null ? `of ${from.node}` : `of ${from.pod} on ${from.node}`}`,
    to.port === undefined ? null : `port ${to.port}`,
    to.node === null ? 'anywhere' : `on ${to.node}`,
    every === true ? `${count} of them, each for itself` : `${count} packets`,
    bytes === undefined ? null : `${bytes} bytes, not to be fragmented`,
    name === undefined ? null : `for ${name}`,
    listens === undefined ? null : listens ? 'where somebody listens' : 'where nobody may listen',
    ifSilent === true ? 'if ping is silent' : null,
    sibling === undefined ? null : `beside ${sibling.replace(/^\S+ (\S+) .*/, '$1')}`,
    receiver === undefined ? null : `counted by ${receiver}`,
    expect === 'deny' ? `denied by ${deniedBy}` : null,
    group === undefined ? null : `one of ${group}`,
  ];
  return `${id}: ${facts.filter((fact) => fact !== null).join(', ')}`;
}

/** A policy that lets nothing into or out of the pods of a namespace. */
export function denyAll(namespace: string, direction: 'ingress' | 'egress'): NetworkPolicy {
  return {
    namespace,
    name: 'deny-all',
    podSelector: {},
    ingress: direction === 'ingress' ? [] : null,
    egress: direction === 'egress' ? [] : null,
  };
}

/** The inventory with policies. */
export function withPolicies(...policies: readonly NetworkPolicy[]): ContextChange {
  return { inventory: (inventory) => ({ ...inventory, policies: [...policies] }) };
}

/** The inventory without the pods of a namespace, or with those that pass. */
export function withoutPods(namespace: string): ContextChange {
  return { inventory: (inventory) => ({ ...inventory, pods: inventory.pods.filter((pod) => pod.namespace !== namespace) }) };
}
