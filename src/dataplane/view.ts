import { addressAt, createIsWithin, firstIPv4 } from '../checks/kit/cidr.ts';
import { bridgeAddress, type NodeNetwork } from '../checks/kit/node-network.ts';
import type { Endpoint, Inventory, Node, Pod, Service } from '../model/inventory.ts';

/**
 * The cluster as the dataplanes look at it: the inventory with its indexes, and the devices that were found on each
 * node. A node whose agent did not answer has no entry in `networks`.
 */
export type View = {
  readonly inventory: Inventory;
  readonly networks: ReadonlyMap<string, NodeNetwork>;
  readonly nodeByName: (name: string) => Node | undefined;
  readonly nodeByAddress: (ip: string) => Node | undefined;
  readonly podByAddress: (ip: string) => Pod | undefined;
  /** The pod network of a node: its IPv4 prefix with its first two addresses, or null. */
  readonly podNetworkOf: (node: Node) => PodNetwork | null;
  /** The node whose podCIDR holds the address; the narrowest one. */
  readonly nodeOfPodAddress: (ip: string) => Node | undefined;
  readonly serviceByAddress: (ip: string) => Service | undefined;
  readonly endpointsOf: (service: Service, port: number) => readonly Endpoint[];
  /** The devices of a node; what was not seen on it is taken from a node that has it. */
  readonly networkOf: (node: Node) => NodeNetwork;
};

/** `network` is the address that a tunnel device holds, `gateway` the bridge's. */
export type PodNetwork = { readonly block: string; readonly network: string; readonly gateway: string };

/** Indexes an inventory. */
export function createView(inventory: Inventory, networks: ReadonlyMap<string, NodeNetwork>): View {
  const byName = new Map(inventory.nodes.map((node) => [node.name, node]));
  const byAddress = new Map(inventory.nodes.flatMap((node) => (node.ip === null ? [] : [[node.ip, node] as const])));
  const pods = new Map(inventory.pods.flatMap((pod) => (pod.ip === null || pod.hostNetwork ? [] : [[pod.ip, pod] as const])));
  const services = new Map(
    inventory.services.flatMap((service) => (service.clusterIP === null ? [] : [[service.clusterIP, service] as const])),
  );
  const isWithin = createIsWithin();
  const podNetworks = new Map(
    inventory.nodes.flatMap((node) => {
      const block = firstIPv4(node.podCIDRs);
      if (block === null) return [];
      const gateway = bridgeAddress(block, networks.get(node.name)?.bridge ?? null);
      return [[node.name, { block, network: addressAt(block, 0), gateway }] as const];
    }),
  );
  // Where podCIDRs overlap, routes go by the narrower one.
  const narrowestFirst = [...podNetworks].toSorted(([, a], [, b]) => prefixOf(b.block) - prefixOf(a.block));
  const ofPodAddress = new Map<string, Node | undefined>();
  const seen = [...networks.values()];
  const usual: NodeNetwork = {
    uplink: seen.find((network) => network.uplink !== null)?.uplink ?? null,
    bridge: seen.find((network) => network.bridge !== null)?.bridge ?? null,
    overlay: seen.find((network) => network.overlay !== null)?.overlay ?? null,
  };
  return {
    inventory,
    networks,
    nodeByName: (name) => byName.get(name),
    nodeByAddress: (ip) => byAddress.get(ip),
    podByAddress: (ip) => pods.get(ip),
    podNetworkOf: (node) => podNetworks.get(node.name) ?? null,
    nodeOfPodAddress(ip) {
      if (!ofPodAddress.has(ip)) {
        const [owner] = narrowestFirst.find(([, { block }]) => isWithin(ip, block)) ?? [];
        ofPodAddress.set(ip, owner === undefined ? undefined : byName.get(owner));
      }
      return ofPodAddress.get(ip);
    },
    serviceByAddress: (ip) => services.get(ip),
    endpointsOf: (service, port) =>
      inventory.endpoints.filter(
        (endpoint) =>
          endpoint.namespace === service.namespace &&
          endpoint.service === service.name &&
          endpoint.ready &&
          portOf(service, endpoint, port) !== null,
      ),
    networkOf(node) {
      const own = networks.get(node.name);
      if (own === undefined) return usual;
      return { uplink: own.uplink ?? usual.uplink, bridge: own.bridge ?? usual.bridge, overlay: own.overlay ?? usual.overlay };
    },
  };
}

function prefixOf(block: string): number {
  return Number(block.split('/', 2)[1] ?? 0);
}

/** The port that an endpoint serves a service's port on, or null. Matched by name, as EndpointSlices do. */
export function portOf(service: Service, endpoint: Endpoint, port: number): number | null {
  const wanted = service.ports.find((candidate) => candidate.port === port);
  if (wanted === undefined) return null;
  return (
    endpoint.ports.find((candidate) => (candidate.name ?? '') === (wanted.name ?? '') && candidate.protocol === wanted.protocol)
      ?.port ?? null
  );
}
