import { isWithin } from '../../checks/kit/cidr.ts';
import { nodePlace } from '../../model/hop.ts';
import type { Dataplane } from '../dataplane.ts';
import { crossLink } from '../linux-host/index.ts';
import type { View } from '../view.ts';

/**
 * Pod networks without a tunnel: packets of pods cross the network between the nodes as they are. With flannel's host-gw
 * each node has a route to every other; with kubenet (or a bridge and the routes of a cloud) they go to the gateway, and the
 * cloud's network knows which node has which pods.
 */
export const routed: Dataplane = {
  id: 'routed',
  detect: isRouted,
  carry(view, from, to) {
    const uplink = view.networkOf(from).uplink?.name;
    const into = view.networkOf(to).uplink?.name;
    if (from.ip === null || to.ip === null || uplink === undefined || into === undefined) return null;
    const ends = [from.ip, to.ip] as const;
    const isDirect = from.annotations[BACKEND] === 'host-gw';
    return {
      oif: uplink,
      iif: into,
      source: from.ip,
      // The cloud's gateway is the next hop for all of them; which address it has, the devices do not say.
      steps: (packet) =>
        crossLink(view, ...ends, packet).map((step) =>
          isDirect || step.hop.point !== 'neigh'
            ? step
            : { ...step, hop: { place: nodePlace(from.name), point: 'neigh' as const, dev: uplink } },
        ),
    };
  },
  // Clouds route private addresses, so that pods keep theirs (ip-masq-agent's default); flannel translates them all.
  masquerades: (_view, node, packet) =>
    node.annotations[BACKEND] !== undefined || !PRIVATE.some((block) => isWithin(packet.dst, block)),
};

const BACKEND = 'flannel.alpha.coreos.com/backend-type';

/** RFC 1918. */
const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'];

function isRouted({ networks, inventory }: View): boolean {
  const seen = [...networks.values()];
  const backends = inventory.nodes.map(({ annotations }) => annotations[BACKEND]);
  return (
    seen.some(({ bridge }) => bridge !== null) && seen.every(({ overlay }) => overlay === null) && !backends.includes('vxlan')
  );
}
