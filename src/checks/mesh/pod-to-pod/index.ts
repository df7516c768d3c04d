import { podEntity } from '../../../model/entity.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromPod, oneWayToPod, type ProbeNode, pingAndTcp, probePort } from '../../kit/probe.ts';

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
      return pingAndTcp(
        podToPod,
        base,
        { count, denied: denies(inventory, here, there, 'ICMP') },
        { port, listens, denied: denies(inventory, here, there, 'TCP', port), ifSilent: true },
      );
    }),
  oneWay(source, target, context) {
    const base = common(source, target);
    return base === null || source.probePod === null ? null : oneWayToPod(podToPod, base, source.probePod, target, context);
  },
});
