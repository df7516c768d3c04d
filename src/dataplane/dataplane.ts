import type { Step } from '../model/hop.ts';
import type { Node, Pod } from '../model/inventory.ts';
import type { Packet } from '../model/packet.ts';
import type { View } from './view.ts';

/**
 * One way of moving packets. A dataplane answers only for its own part and returns null for everything else; the path is
 * put together from the answers of all that were detected.
 */
export type Dataplane = {
  readonly id: string;
  /** Whether this cluster has it. */
  readonly detect: (view: View) => boolean;
  /** Where a service address is translated to: one packet for each endpoint that may be chosen. */
  readonly translate?: (view: View, packet: Packet) => readonly Packet[] | null;
  /** The steps between a node's stack and a pod on it: `toPod`, or from the pod to the stack. */
  readonly attach?: (
    view: View,
    node: Node,
    pod: Pod,
    packet: Packet,
    direction: 'to-pod' | 'from-pod',
  ) => readonly Step[] | null;
  /** The steps between two pods of one node that do not go through the node's routing. */
  readonly bridge?: (view: View, node: Node, from: Pod, to: Pod, packet: Packet) => readonly Step[] | null;
  /**
   * How a packet for another node's pod network is carried there: the device it is routed to, the source address that
   * the node itself would take, and the steps from routing on one node to the packet being back out of the tunnel on the
   * other.
   */
  readonly carry?: (view: View, from: Node, to: Node, packet: Packet) => Carriage | null;
  /** Whether a pod's packet gets the address of its node when it leaves for something that is no pod. */
  readonly masquerades?: (view: View, node: Node, packet: Packet) => boolean;
};

export type Carriage = {
  readonly oif: string;
  readonly iif: string;
  readonly source: string;
  readonly steps: (packet: Packet) => readonly Step[];
};
