import type { Handle } from '../handle.ts';
import { type PodRole, podsOf, type Topology } from '../topology.ts';

/** The address of the first pod with this role on a node. Throws when there is none. */
export function podIp(lab: Handle, role: PodRole, node: string): string {
  const pod = lab.topology.pods.find((candidate) => candidate.role === role && candidate.node === node);
  if (pod === undefined) throw new Error(`there is no ${role} pod on ${node}`);
  return pod.ip;
}

/** A node of the lab that is none of those given, or null when there is no other. */
export function otherNode(lab: Handle, ...without: readonly string[]): string | null {
  return lab.topology.nodes.find((node) => !without.includes(node.name))?.name ?? null;
}

/** The nodes that have a CoreDNS pod. */
export function nodesWithDns(topology: Topology): readonly string[] {
  return [...new Set(podsOf(topology, 'coredns').map(({ node }) => node))];
}
