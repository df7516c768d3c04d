import { nodePlace, podPlace } from '../../model/hop.ts';
import type { Dataplane } from '../dataplane.ts';

/** Pods on a Linux bridge (cni0, cbr0): a veth pair each, the node's stack on the bridge device itself. */
export const linuxBridge: Dataplane = {
  id: 'linux-bridge',
  detect: (view) => [...view.networks.values()].some((network) => network.bridge !== null),
  attach(view, node, pod, packet, direction) {
    const { bridge } = view.networkOf(node);
    if (bridge === null || pod.ip === null) return null;
    const dev = bridge.name;
    const gateway = view.podNetworkOf(node)?.gateway ?? 'gateway';
    const host = nodePlace(node.name);
    const inside = podPlace(pod.namespace, pod.name);
    if (direction === 'to-pod') {
      return [
        { hop: { place: host, point: 'neigh', dev, via: pod.ip }, packet },
        { hop: { place: host, point: 'dev', dev, dir: 'out' }, packet },
        { hop: { place: host, point: 'bridge', dev, dir: 'out', via: pod.ip }, packet },
        { hop: { place: inside, point: 'dev', dir: 'in' }, packet },
        { hop: { place: inside, point: 'input' }, packet },
        { hop: { place: inside, point: 'socket' }, packet },
      ];
    }
    return [
      { hop: { place: inside, point: 'output' }, packet },
      { hop: { place: inside, point: 'route' }, packet },
      { hop: { place: inside, point: 'neigh', via: gateway }, packet },
      { hop: { place: inside, point: 'dev', dir: 'out' }, packet },
      { hop: { place: host, point: 'bridge', dev, dir: 'in', via: pod.ip }, packet },
      { hop: { place: host, point: 'dev', dev, dir: 'in' }, packet },
    ];
  },
  bridge(view, node, from, to, packet) {
    const dev = view.networkOf(node).bridge?.name;
    if (dev === undefined || from.ip === null || to.ip === null) return null;
    const host = nodePlace(node.name);
    const source = podPlace(from.namespace, from.name);
    const target = podPlace(to.namespace, to.name);
    return [
      { hop: { place: source, point: 'output' }, packet },
      { hop: { place: source, point: 'neigh', via: to.ip }, packet },
      { hop: { place: source, point: 'dev', dir: 'out' }, packet },
      { hop: { place: host, point: 'bridge', dev, dir: 'in', via: from.ip }, packet },
      // With bridge-nf-call-iptables 1 bridged packets cross FORWARD as well; br_netfilter.c.
      { hop: { place: host, point: 'forward', iif: dev, oif: dev }, packet },
      { hop: { place: host, point: 'bridge', dev, dir: 'out', via: to.ip }, packet },
      { hop: { place: target, point: 'dev', dir: 'in' }, packet },
      { hop: { place: target, point: 'input' }, packet },
      { hop: { place: target, point: 'socket' }, packet },
    ];
  },
};
