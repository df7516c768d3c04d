import type { Inventory, Node } from '../../model/inventory.ts';
import { addressAt, firstIPv4, isWithin } from './cidr.ts';
import type { Link } from './links.ts';

/**
 * The devices of a node that cluster traffic goes through, found out from what is there: `uplink` holds the node's own
 * address; `bridge` is the pod bridge (holds the first address of the podCIDR); `overlay` is the VXLAN device of the
 * pod network. Any of them may be null.
 */
export type NodeNetwork = {
  readonly uplink: Link | null;
  readonly bridge: Link | null;
  readonly overlay: Link | null;
};

/** `nodeNetwork` for a node by its name; nothing is known of one that the inventory does not have. */
export function networkOf(inventory: Inventory, name: string, links: readonly Link[]): NodeNetwork {
  const node = inventory.nodes.find((candidate) => candidate.name === name);
  return node === undefined ? { uplink: null, bridge: null, overlay: null } : nodeNetwork(node, links);
}

/** Finds the devices of a node by the addresses they hold, never by name. */
export function nodeNetwork(node: Node, links: readonly Link[]): NodeNetwork {
  const podCIDR = firstIPv4(node.podCIDRs);
  const holds = (link: Link, ip: string): boolean => link.addresses.some((address) => address.ip === ip);
  return {
    uplink: (node.ip !== null && links.find((link) => holds(link, node.ip ?? ''))) || null,
    bridge:
      (podCIDR !== null && links.find((link) => link.kind === 'bridge' && holds(link, addressAt(podCIDR, 1)))) ||
      (podCIDR !== null &&
        links.find((link) => link.kind === 'bridge' && link.addresses.some((a) => a.family === 4 && isWithin(a.ip, podCIDR)))) ||
      null,
    overlay:
      links.find(
        (link) =>
          link.vxlan !== null && podCIDR !== null && link.addresses.some((a) => a.family === 4 && isWithin(a.ip, podCIDR)),
      ) ??
      links.find((link) => link.vxlan !== null && link.name.startsWith('flannel')) ??
      null,
  };
}

/**
 * The address of a node's pod bridge: the first of the podCIDR, which flannel and kubenet give it. Where the bridge is seen to
 * hold another one out of the podCIDR, and not that, the one it holds: the Node object may be wrong, and nobody has the first.
 */
export function bridgeAddress(podCIDR: string, bridge: Link | null): string {
  const first = addressAt(podCIDR, 1);
  const held = (bridge?.addresses ?? []).flatMap(({ family, ip }) => (family === 4 && isWithin(ip, podCIDR) ? [ip] : []));
  return held.includes(first) ? first : (held[0] ?? first);
}
