import type { Inventory } from '../../model/inventory.ts';
import { isWithin } from './cidr.ts';
import { corefileOf, forwardsIn } from './corefile.ts';
import type { ProbeNode } from './probe.ts';

/** A DNS server outside the cluster's own: `zone` is what it is asked for, `.` for everything. */
export type Upstream = { readonly ip: string; readonly port: number; readonly zone: string };

/** The most servers that one node is asked to ask. */
const MAX_UPSTREAMS = 6;

/**
 * The DNS servers that names outside the cluster come from, as seen from a node: those of its own resolv.conf and those
 * that the Corefile forwards to. Addresses of the cluster's own Services and pods are left out.
 */
export function upstreamServers(inventory: Inventory, { resolvers }: Pick<ProbeNode, 'resolvers'>): readonly Upstream[] {
  const inside = new Set([
    ...inventory.services.flatMap(({ clusterIP }) => clusterIP ?? []),
    ...inventory.pods.flatMap(({ ip, hostNetwork }) => (ip === null || hostNetwork ? [] : [ip])),
  ]);
  const servers = [
    ...resolvers.map((ip) => ({ ip, port: 53, zone: '.' })),
    ...forwardsIn(corefileOf(inventory) ?? '').flatMap(({ zone, servers: targets }) =>
      targets.map(({ ip, port }) => ({ ip, port, zone: zone.endsWith('.') ? zone : `${zone}.` })),
    ),
  ].filter(({ ip }) => !inside.has(ip) && !isWithin(ip, '127.0.0.0/8'));
  return [...new Map(servers.toReversed().map((server) => [`${server.ip}:${server.port}`, server])).values()]
    .toReversed()
    .slice(0, MAX_UPSTREAMS);
}

/** Whether an address is of the node's link alone: cloud metadata servers, which pods are often kept from on purpose. */
export function isLinkLocal(ip: string): boolean {
  return isWithin(ip, '169.254.0.0/16');
}

/** The group of probes whose targets stand in for each other: the servers of one zone. */
export function upstreamGroup({ zone }: Upstream): string {
  return `upstream DNS for ${zone}`;
}
