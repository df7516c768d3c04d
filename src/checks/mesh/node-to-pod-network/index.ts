import { nodeEntity } from '../../../model/entity.ts';
import { addressAt } from '../../kit/cidr.ts';
import { defineProbe, fromNode, probe } from '../../kit/probe.ts';

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
      // Without a bridge (Calico, Cilium) nobody holds the first address.
      if (target.podCIDR === null || (target.network ?? source.network)?.bridge == null) return [];
      const common = {
        subject: nodeEntity(source.node.name),
        target: nodeEntity(target.node.name),
        from: fromNode(source),
        on: target.node.name,
        ip: addressAt(target.podCIDR, 1),
      };
      const tcp = probe(nodeToPodNetwork, {
        ...common,
        method: 'tcp',
        port: target.node.kubeletPort,
        layer: 'L4',
        listens: target.answers,
      });
      const ping = probe(nodeToPodNetwork, { ...common, method: 'ping', count, sibling: tcp.id });
      const { node: ports } = target.listening;
      if (ports === null) return [ping, tcp];
      return [
        ping,
        tcp,
        probe(nodeToPodNetwork, { ...common, method: 'udp', port: ports.udp, count, receiver: target.node.name }),
      ];
    }),
});
