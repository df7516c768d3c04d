import { nodeEntity } from '../../../model/entity.ts';
import { flannelAnnotation } from '../../kit/flannel.ts';
import { bridgeAddress } from '../../kit/node-network.ts';
import { defineProbe, fromNode, oneWayToNode, type ProbeNode, pingAndTcp } from '../../kit/probe.ts';

/** Null where nobody holds the first address of the podCIDR: without a bridge (Calico, Cilium). */
function common(source: ProbeNode, target: ProbeNode) {
  if (target.podCIDR === null || (target.network ?? source.network)?.bridge == null) return null;
  return {
    subject: nodeEntity(source.node.name),
    target: nodeEntity(target.node.name),
    from: fromNode(source),
    on: target.node.name,
    ip: bridgeAddress(target.podCIDR, target.network?.bridge ?? null),
  };
}

/** Packets to the address that the overlay uses. */
const FOLLOW_UP_PACKETS = 3;

/**
 * M2: the first address of every other node's podCIDR, as the operators' loop over cni0 does. It ends in the other
 * node's INPUT chain: it shows the overlay, and acquits neither forwarding nor the pod bridge.
 */
export const nodeToPodNetwork = defineProbe({
  id: 'node-to-pod-network',
  row: 'M2',
  layer: 'L3',
  title: "Node to every other node's pod bridge",
  why: 'The pod network between two nodes carries everything that pods say to each other.',
  plan: ({ pairs, count }) =>
    pairs.flatMap(([source, target]) => {
      const base = common(source, target);
      const tcp = { port: target.node.kubeletPort, listens: target.answers, ifSilent: true };
      return base === null ? [] : pingAndTcp(nodeToPodNetwork, base, { count }, tcp);
    }),
  followUp(source, target) {
    // Where the overlay sends to another address than the Node's, whether that one is reached at all.
    const endpoint = flannelAnnotation(target.node, 'public-ip');
    const isOwn = endpoint === flannelAnnotation(source.node, 'public-ip');
    if (endpoint === null || endpoint === target.ip || isOwn || target.podCIDR === null) return [];
    const ends = { subject: nodeEntity(source.node.name), target: nodeEntity(target.node.name), from: fromNode(source) };
    return pingAndTcp(
      nodeToPodNetwork,
      { ...ends, on: null, ip: endpoint },
      { count: FOLLOW_UP_PACKETS },
      { port: target.node.kubeletPort, listens: target.answers },
    );
  },
  oneWay(source, target, { count }) {
    const base = common(source, target);
    return base === null ? null : oneWayToNode(nodeToPodNetwork, base, target, count);
  },
});
