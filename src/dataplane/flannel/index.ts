import { nodePlace, type Step } from '../../model/hop.ts';
import type { Packet } from '../../model/packet.ts';
import type { Dataplane } from '../dataplane.ts';
import { arriveFrom, crossLink, deliverTo, sendFrom } from '../linux-host/index.ts';

/** Octets that VXLAN over IPv4 adds to a packet: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348). */
export const VXLAN_OVERHEAD = 50;

/** flannel's vxlan backend: one VXLAN device per node, with static neighbour and FDB entries for every peer. */
export const flannel: Dataplane = {
  id: 'flannel',
  detect: (view) =>
    [...view.networks.values()].some((network) => network.overlay !== null) ||
    view.inventory.nodes.some((node) => node.annotations['flannel.alpha.coreos.com/backend-type'] === 'vxlan'),
  carry(view, from, to) {
    const remoteNetwork = view.podNetworkOf(to);
    const ownNetwork = view.podNetworkOf(from);
    const { overlay } = view.networkOf(from);
    if (remoteNetwork === null || ownNetwork === null || overlay?.vxlan == null || from.ip === null || to.ip === null)
      return null;
    const fromIp = from.ip;
    const toIp = to.ip;
    const dev = overlay.name;
    const remote = view.networkOf(to).overlay?.name ?? dev;
    const port = overlay.vxlan.port;
    const uplinkOut = view.networkOf(from).uplink?.name ?? 'eth0';
    const uplinkIn = view.networkOf(to).uplink?.name ?? 'eth0';
    return {
      oif: dev,
      iif: remote,
      source: ownNetwork.network,
      steps(packet): readonly Step[] {
        const outer: Packet = {
          proto: 'udp',
          src: fromIp,
          dst: toIp,
          dport: port,
          state: 'new',
          ...(packet.size === undefined ? {} : { size: packet.size + VXLAN_OVERHEAD }),
        };
        return [
          { hop: { place: nodePlace(from.name), point: 'neigh', dev, via: remoteNetwork.network }, packet },
          { hop: { place: nodePlace(from.name), point: 'fdb', dev, via: toIp }, packet },
          { hop: { place: nodePlace(from.name), point: 'tunnel', dev, dir: 'out' }, packet },
          ...sendFrom(from, uplinkOut, outer),
          ...crossLink(view, fromIp, toIp, outer),
          ...arriveFrom(to, uplinkIn, outer),
          ...deliverTo(to, uplinkIn, outer),
          { hop: { place: nodePlace(to.name), point: 'tunnel', dev: remote, dir: 'in' }, packet },
        ];
      },
    };
  },
};
