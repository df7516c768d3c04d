import { z } from 'zod';
import { Packet } from './packet.ts';

/**
 * The stages that a packet goes through, in the terms of Linux networking. `port` and `wire` are outside every node:
 * the node's own link to the network, and what lies between two such links. `opaque` is a dataplane that netcheck does
 * not model inside.
 */
export const POINTS = [
  'socket',
  'output',
  'prerouting',
  'input',
  'forward',
  'postrouting',
  'nat',
  'route',
  'rp-filter',
  'forwarding',
  'neigh',
  'fdb',
  'dev',
  'tunnel',
  'bridge',
  'port',
  'wire',
  'opaque',
] as const;
export const Point = z.enum(POINTS);
export type Point = z.infer<typeof Point>;

/**
 * One place that a packet passes: the network namespace it is in, the stage, and what tells two such stages apart.
 *
 * `place` is `node/NAME`, `pod/NAMESPACE/NAME`, `host/ADDRESS`, or `net` for what lies between hosts; `dev` a network
 * device; `dir` whether the packet comes in or goes out there; `iif` and `oif` the devices that a forwarded packet
 * enters and leaves by; `via` the next hop's address, a peer's address or, for `wire`, `FROM>TO`.
 */
export const Hop = z.strictObject({
  place: z.string(),
  point: Point,
  dev: z.string().optional(),
  dir: z.enum(['in', 'out']).optional(),
  iif: z.string().optional(),
  oif: z.string().optional(),
  via: z.string().optional(),
});
export type Hop = z.infer<typeof Hop>;

/** Where a finding is: every field given has to be equal; a field left out matches every hop. */
export const HopPattern = Hop.partial({ point: true });
export type HopPattern = z.infer<typeof HopPattern>;

/** A hop with the packet as it is there: after encapsulation and address translation, if there was any before. */
export const Step = z.strictObject({ hop: Hop, packet: Packet });
export type Step = z.infer<typeof Step>;

/** The place of a node's own network namespace. */
export function nodePlace(node: string): string {
  return `node/${node}`;
}

/** The place of a pod's network namespace. */
export function podPlace(namespace: string, name: string): string {
  return `pod/${namespace}/${name}`;
}

/** The place of a host that is no node of the cluster. */
export function hostPlace(address: string): string {
  return `host/${address}`;
}
