import { NODE_LOCAL_DNS } from '../checks/kit/node-local-dns.ts';
import type { Step } from '../model/hop.ts';
import { nodePlace } from '../model/hop.ts';
import type { Node, Pod } from '../model/inventory.ts';
import type { Packet } from '../model/packet.ts';
import type { Probe } from '../model/probe.ts';
import type { Carriage, Dataplane } from './dataplane.ts';
import { flannel } from './flannel/index.ts';
import { kubeProxy } from './kube-proxy/index.ts';
import { linuxBridge } from './linux-bridge/index.ts';
import { arriveFrom, crossLink, deliverTo, forwardThrough, sendFrom } from './linux-host/index.ts';
import { opaque } from './opaque/index.ts';
import { routed } from './routed/index.ts';
import type { View } from './view.ts';

/** Every dataplane, the first that answers wins; the last answers for what none of the others knows. */
export const DATAPLANES: readonly Dataplane[] = [linuxBridge, flannel, routed, kubeProxy, opaque];

/**
 * The way of one probe. Each alternative is an ordered path; there are several where a service picks one of its
 * endpoints. `reply` is empty for a one-way probe.
 */
export type Paths = { readonly request: readonly (readonly Step[])[]; readonly reply: readonly (readonly Step[])[] };

/** One end of a path: the node's own stack, a pod on a node, or a host that is no node. */
type End = { readonly node: Node | null; readonly pod: Pod | null; readonly ip: string };

/** Finds the path of any probe through the dataplanes that were detected. Pure. */
export function createPaths(view: View): (probe: Probe) => Paths {
  const present = DATAPLANES.filter((dataplane) => dataplane.detect(view));

  function first<T>(ask: (dataplane: Dataplane) => T | null | undefined): T | null {
    for (const dataplane of present) {
      const answer = ask(dataplane);
      if (answer !== null && answer !== undefined) return answer;
    }
    return null;
  }

  function endOf(ip: string): End {
    const pod = view.podByAddress(ip) ?? null;
    const node = pod !== null ? nodeOfPod(pod) : (view.nodeByAddress(ip) ?? view.nodeOfPodAddress(ip) ?? null);
    return { node, pod, ip };
  }

  function nodeOfPod(pod: Pod): Node | null {
    return (pod.node !== null && view.nodeByName(pod.node)) || null;
  }

  /** The far end of a packet: the cache that a node keeps for itself is on whichever node asks. */
  function targetOf(from: End, ip: string): End {
    return ip === NODE_LOCAL_DNS && from.node !== null ? { node: from.node, pod: null, ip } : endOf(ip);
  }

  function uplinkOf(node: Node): string {
    return view.networkOf(node).uplink?.name ?? 'eth0';
  }

  function bridgeOf(node: Node): string {
    return view.networkOf(node).bridge?.name ?? 'pod network';
  }

  /** Whether the address is in a node's pod network: one of its pods, its bridge or its tunnel device. */
  function podNetworkOf(end: End): Node | null {
    return end.pod === null && end.node?.ip === end.ip ? null : end.node;
  }

  function carriage(from: Node, to: Node, packet: Packet): Carriage | null {
    return first((dataplane) => dataplane.carry?.(view, from, to, packet));
  }

  /** From one end to another, after all address translation. */
  function walk(from: End, to: End, packet: Packet): readonly Step[] {
    if (from.node !== null && to.node !== null && from.node.name === to.node.name) return walkInside(from.node, from, to, packet);
    const remotePodNetwork = podNetworkOf(to);
    const carried = from.node !== null && remotePodNetwork !== null ? carriage(from.node, remotePodNetwork, packet) : null;
    if (from.node !== null && carried !== null && remotePodNetwork !== null) {
      const inner = from.pod === null ? { ...packet, src: carried.source } : packet;
      return [
        ...leave(from.node, from, carried.oif, inner),
        ...carried.steps(inner),
        ...arriveFrom(remotePodNetwork, carried.iif, inner),
        ...enter(remotePodNetwork, to, carried.iif, inner),
      ];
    }
    // Over the link itself, from here on with the address that the packet leaves its node with.
    const outer = { ...packet, src: leavingAddress(from, packet) };
    return [
      ...(from.node === null ? [] : leave(from.node, from, uplinkOf(from.node), from.pod === null ? outer : packet)),
      ...crossLink(view, from.node?.ip ?? from.ip, to.node?.ip ?? to.ip, outer),
      ...(to.node === null
        ? [{ hop: { place: `host/${to.ip}`, point: 'socket' as const }, packet: outer }]
        : [...arriveFrom(to.node, uplinkOf(to.node), outer), ...enter(to.node, to, uplinkOf(to.node), packet)]),
    ];
  }

  /** The address that a packet has once it is on the link: most pods' own does not leave their node, it is masqueraded. */
  function leavingAddress({ node, pod, ip }: End, packet: Packet): string {
    if (node === null || pod === null) return node?.ip ?? ip;
    const isTranslated = first((dataplane) => dataplane.masquerades?.(view, node, packet)) ?? true;
    return isTranslated ? (node.ip ?? ip) : ip;
  }

  function walkInside(node: Node, from: End, to: End, packet: Packet): readonly Step[] {
    if (from.pod !== null && to.pod !== null) {
      const { pod } = from;
      const target = to.pod;
      return first((dataplane) => dataplane.bridge?.(view, node, pod, target, packet)) ?? [];
    }
    const place = nodePlace(node.name);
    if (from.pod !== null) {
      return [
        ...detach(node, from.pod, packet),
        ...arriveFrom(node, bridgeOf(node), packet),
        ...deliverTo(node, bridgeOf(node), packet),
      ];
    }
    if (to.pod !== null) return [...sendFrom(node, bridgeOf(node), packet), ...attach(node, to.pod, packet)];
    return [{ hop: { place, point: 'output', oif: 'lo' }, packet }, ...deliverTo(node, 'lo', packet)];
  }

  /** From a process of the node, or a pod on it, to the device that leads away. */
  function leave(node: Node, from: End, oif: string, packet: Packet): readonly Step[] {
    if (from.pod === null) return sendFrom(node, oif, packet);
    const bridge = bridgeOf(node);
    return [...detach(node, from.pod, packet), ...arriveFrom(node, bridge, packet), ...forwardThrough(node, bridge, oif, packet)];
  }

  /** From the device that a packet came in by to a process of the node, or a pod on it. */
  function enter(node: Node, to: End, iif: string, packet: Packet): readonly Step[] {
    if (to.pod === null) return deliverTo(node, iif, packet);
    return [...forwardThrough(node, iif, bridgeOf(node), packet), ...attach(node, to.pod, packet)];
  }

  function attach(node: Node, pod: Pod, packet: Packet): readonly Step[] {
    return first((dataplane) => dataplane.attach?.(view, node, pod, packet, 'to-pod')) ?? [];
  }

  function detach(node: Node, pod: Pod, packet: Packet): readonly Step[] {
    return first((dataplane) => dataplane.attach?.(view, node, pod, packet, 'from-pod')) ?? [];
  }

  /** The reply to a packet: to the address that it came from, be it the pod's, the tunnel's or the masquerading node's. */
  function walkBack(target: End, source: End, request: Packet): readonly Step[] {
    const remote = source.node !== null && source.node.name !== target.node?.name ? podNetworkOf(target) : null;
    if (source.node !== null && source.pod === null && remote !== null) {
      const carried = carriage(source.node, remote, request);
      const ip = carried?.source ?? source.ip;
      return walk(target, { ...source, ip }, replyTo({ ...request, src: ip }));
    }
    if (source.node !== null && source.pod !== null && source.node.name !== target.node?.name && podNetworkOf(target) === null) {
      const outer = replyTo({ ...request, src: leavingAddress(source, request) });
      const inner = replyTo(request);
      const uplink = uplinkOf(source.node);
      return [
        ...(target.node === null ? [] : sendFrom(target.node, uplinkOf(target.node), outer)),
        ...crossLink(view, target.ip, source.node.ip ?? source.ip, outer),
        ...arriveFrom(source.node, uplink, outer),
        ...enter(source.node, source, uplink, inner),
      ];
    }
    return walk(target, source, replyTo(request));
  }

  /** Where the service address is translated: on the way into the node's stack. */
  function translation(from: End, packet: Packet): Step | null {
    if (from.node === null) return null;
    return { hop: { place: nodePlace(from.node.name), point: 'nat', via: packet.dst }, packet };
  }

  /** On the node that translated a connection, its packets carry that mark, both ways; elsewhere nobody can see it. */
  function atTranslator(from: End | null, packet: Packet, steps: readonly Step[]): readonly Step[] {
    if (from?.node == null) return steps;
    const place = nodePlace(from.node.name);
    const isOfConnection = (seen: Packet): boolean => seen.dst === packet.dst || seen.src === packet.dst;
    return steps.map((step) =>
      step.hop.place === place && isOfConnection(step.packet) ? { ...step, packet: { ...step.packet, dnat: true } } : step,
    );
  }

  /** ARP is the link's own business: it goes through no hook, no route and no neighbour table. */
  function arpPaths(probe: Probe): Paths {
    const onLink = (from: string, to: string, packet: Packet): readonly Step[] =>
      crossLink(view, from, to, packet).filter(({ hop }) => hop.point !== 'neigh');
    const { packet } = probe;
    return { request: [onLink(packet.src, packet.dst, packet)], reply: [onLink(packet.dst, packet.src, replyTo(packet))] };
  }

  return (probe) => {
    if (probe.method === 'arp') return arpPaths(probe);
    const from = endOf(probe.from.ip);
    const translated = first((dataplane) => dataplane.translate?.(view, probe.packet));
    const nat = translated === null ? null : translation(from, probe.packet);
    const packets = translated === null ? [probe.packet] : translated;
    const request = packets.map((packet) => [
      ...(nat === null ? [] : [nat]),
      ...atTranslator(nat === null ? null : from, packet, walk(from, targetOf(from, packet.dst), packet)),
    ]);
    if (packets.length === 0) return { request: nat === null ? [] : [[nat]], reply: [] };
    if (probe.method === 'udp') return { request, reply: [] };
    const reply = packets.map((packet) =>
      atTranslator(nat === null ? null : from, packet, walkBack(targetOf(from, packet.dst), from, packet)),
    );
    return { request, reply };
  };
}

function replyTo(packet: Packet): Packet {
  const { src, dst, sport, dport, ...rest } = packet;
  return {
    ...rest,
    src: dst,
    dst: src,
    ...(dport === undefined ? {} : { sport: dport }),
    ...(sport === undefined ? {} : { dport: sport }),
    state: 'established',
  };
}
