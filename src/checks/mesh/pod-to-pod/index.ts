import { podEntity } from '../../../model/entity.ts';
import { defineProbe, denial, fromPod, oneWayToPod, type ProbeNode, probe, probePort } from '../../kit/probe.ts';

function common(source: ProbeNode, target: ProbeNode) {
  const here = source.probePod;
  const there = target.probePod;
  if (here === null || there === null) return null;
  return {
    subject: podEntity(here.namespace, here.name),
    target: podEntity(there.namespace, there.name),
    from: fromPod(source, here),
    on: target.node.name,
    ip: there.ip,
  };
}

/** M2: from netcheck's pod on each node to the one on every other, and each way by itself where that fails. */
export const podToPod = defineProbe({
  id: 'pod-to-pod',
  row: 'M2',
  layer: 'L3',
  title: 'Pod to pod across nodes',
  why: 'This is what applications do.',
  plan: ({ pairs, count, inventory }) =>
    pairs.flatMap(([source, target]) => {
      const base = common(source, target);
      const here = source.probePod;
      const there = target.probePod;
      if (base === null || here === null || there === null) return [];
      const { port, listens } = probePort(target.node, there);
      const denied = denial(inventory, here, there, 'TCP', port);
      const tcp = probe(podToPod, { ...base, method: 'tcp', port, layer: 'L4', listens, denied, ifSilent: true });
      return [
        probe(podToPod, { ...base, method: 'ping', count, sibling: tcp.id, denied: denial(inventory, here, there, 'ICMP') }),
        tcp,
      ];
    }),
  oneWay(source, target, context) {
    const base = common(source, target);
    return base === null || source.probePod === null ? null : oneWayToPod(podToPod, base, source.probePod, target, context);
  },
});
