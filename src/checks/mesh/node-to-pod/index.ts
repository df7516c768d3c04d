import { nodeEntity, podEntity } from '../../../model/entity.ts';
import { defineProbe, denial, fromNode, probe } from '../../kit/probe.ts';

/** M2: netcheck's own pod on every other node, from the node: forwarding and the pod bridge are on this way. */
export const nodeToPod = defineProbe({
  id: 'node-to-pod',
  row: 'M2',
  layer: 'L3',
  title: 'Node to a pod on every other node',
  why: 'A node that does not forward answers on its bridge address and still cuts off its pods.',
  plan: ({ pairs, count, inventory }) =>
    pairs.flatMap(([source, target]) => {
      const pod = target.probePod;
      if (pod === null) return [];
      const common = {
        subject: nodeEntity(source.node.name),
        target: podEntity(pod.namespace, pod.name),
        from: fromNode(source),
        on: target.node.name,
        ip: pod.ip,
      };
      const port = target.listening.pod?.tcp ?? target.node.kubeletPort;
      const tcp = probe(nodeToPod, {
        ...common,
        method: 'tcp',
        port,
        layer: 'L4',
        listens: target.listening.pod !== null,
        denied: denial(inventory, source.node, pod, 'TCP', port),
      });
      const denied = denial(inventory, source.node, pod, 'ICMP');
      const ping = probe(nodeToPod, { ...common, method: 'ping', count, sibling: tcp.id, denied });
      const ports = target.listening.pod;
      if (ports === null) return [ping, tcp];
      return [
        ping,
        tcp,
        probe(nodeToPod, {
          ...common,
          method: 'udp',
          port: ports.udp,
          count,
          receiver: target.node.name,
          denied: denial(inventory, source.node, pod, 'UDP', ports.udp),
        }),
      ];
    }),
});
