import { hostPlace, nodePlace, type Step } from '../../model/hop.ts';
import type { Node } from '../../model/inventory.ts';
import type { Packet } from '../../model/packet.ts';
import type { View } from '../view.ts';

/*
 * The stages of a Linux host's IPv4 stack that every dataplane goes through. Source: the kernel's netfilter hooks
 * (ip_output.c, ip_forward.c, ip_input.c), neighbour.c and fib_frontend.c (reverse path filter).
 */

/** What a host is called in a path: a node by its name, anything else by its address. */
export function placeOfAddress(view: View, ip: string): string {
  const node = view.nodeByAddress(ip);
  return node === undefined ? hostPlace(ip) : nodePlace(node.name);
}

/** A packet that a process of the node sends, up to the point where it is handed to a device. */
export function sendFrom(node: Node, oif: string, packet: Packet): readonly Step[] {
  const place = nodePlace(node.name);
  return [
    { hop: { place, point: 'output', oif }, packet },
    { hop: { place, point: 'route', via: packet.dst }, packet },
    { hop: { place, point: 'postrouting', oif }, packet },
  ];
}

/** A packet that the node forwards from one device to another. */
export function forwardThrough(node: Node, iif: string, oif: string, packet: Packet): readonly Step[] {
  const place = nodePlace(node.name);
  return [
    { hop: { place, point: 'forwarding', dev: iif }, packet },
    { hop: { place, point: 'route', via: packet.dst }, packet },
    { hop: { place, point: 'forward', iif, oif }, packet },
    { hop: { place, point: 'postrouting', oif }, packet },
  ];
}

/** A packet that arrives from a device, before it is known whether it is for the node itself. */
export function arriveFrom(node: Node, iif: string, packet: Packet): readonly Step[] {
  const place = nodePlace(node.name);
  return [
    { hop: { place, point: 'prerouting', iif }, packet },
    { hop: { place, point: 'rp-filter', dev: iif }, packet },
  ];
}

/** A packet that is delivered to a process, or to the kernel itself, on the node. */
export function deliverTo(node: Node, iif: string, packet: Packet): readonly Step[] {
  const place = nodePlace(node.name);
  return [
    { hop: { place, point: 'input', iif }, packet },
    { hop: { place, point: 'socket' }, packet },
  ];
}

/** A packet between two hosts that share a link, from the neighbour table of one to the device of the other. */
export function crossLink(view: View, from: string, to: string, packet: Packet): readonly Step[] {
  const source = view.nodeByAddress(from);
  const target = view.nodeByAddress(to);
  const out = source === undefined ? undefined : (view.networkOf(source).uplink?.name ?? 'eth0');
  const into = target === undefined ? undefined : (view.networkOf(target).uplink?.name ?? 'eth0');
  const fromPlace = placeOfAddress(view, from);
  const toPlace = placeOfAddress(view, to);
  const names = `${fromPlace}>${toPlace}`;
  return [
    ...(out === undefined
      ? []
      : ([
          { hop: { place: fromPlace, point: 'neigh', dev: out, via: to }, packet },
          { hop: { place: fromPlace, point: 'dev', dev: out, dir: 'out' }, packet },
        ] as const)),
    { hop: { place: fromPlace, point: 'port', dir: 'out' }, packet },
    { hop: { place: 'net', point: 'wire', via: names }, packet },
    { hop: { place: toPlace, point: 'port', dir: 'in' }, packet },
    ...(into === undefined ? [] : ([{ hop: { place: toPlace, point: 'dev', dev: into, dir: 'in' }, packet }] as const)),
  ];
}
