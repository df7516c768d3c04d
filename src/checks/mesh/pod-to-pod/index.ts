import { podEntity } from '../../../model/entity.ts';
import { defineProbe, denial, fromPod, probe } from '../../kit/probe.ts';

/** M2: from netcheck's pod on each node to the one on every other node, each way by itself as well. */
export const podToPod = defineProbe({
  id: 'pod-to-pod',
  row: 'M2',
  layer: 'L3',
  title: 'Pod to pod across nodes',
  why: 'This is what applications do.',
  plan: ({ pairs, count, inventory }) =>
    pairs.flatMap(([source, target]) => {
      const here = source.probePod;
      const there = target.probePod;
      if (here === null || there === null || !source.answersInPod) return [];
      const common = {
        subject: podEntity(here.namespace, here.name),
        target: podEntity(there.namespace, there.name),
        from: fromPod(source, here),
        on: target.node.name,
        ip: there.ip,
      };
      const port = target.listening.pod?.tcp ?? target.node.kubeletPort;
      const tcp = probe(podToPod, {
        ...common,
        method: 'tcp',
        port,
        layer: 'L4',
        listens: target.listening.pod !== null,
        denied: denial(inventory, here, there, 'TCP', port),
      });
      const ping = probe(podToPod, {
        ...common,
        method: 'ping',
        count,
        sibling: tcp.id,
        denied: denial(inventory, here, there, 'ICMP'),
      });
      const ports = target.listening.pod;
      if (ports === null) return [ping, tcp];
      return [
        ping,
        tcp,
        probe(podToPod, {
          ...common,
          method: 'udp',
          port: ports.udp,
          count,
          receiver: target.node.name,
          denied: denial(inventory, here, there, 'UDP', ports.udp),
        }),
      ];
    }),
});
