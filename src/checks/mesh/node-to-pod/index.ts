import { nodeEntity, podEntity } from '../../../model/entity.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromNode, oneWayToPod, type ProbeNode, pingAndTcp, probePort } from '../../kit/probe.ts';

function common(source: ProbeNode, target: ProbeNode) {
  const pod = target.probePod;
  if (pod === null) return null;
  return {
    subject: nodeEntity(source.node.name),
    target: podEntity(pod.namespace, pod.name),
    from: fromNode(source),
    on: target.node.name,
    ip: pod.ip,
  };
}

/** M2: netcheck's own pod on every other node, from the node: forwarding and the pod bridge are on this way. */
export const nodeToPod = defineProbe({
  id: 'node-to-pod',
  row: 'M2',
  layer: 'L3',
  title: 'Node to a pod on every other node',
  why: 'A node that does not forward answers on its bridge address and still cuts off its pods.',
  plan: ({ pairs, count, inventory }) =>
    pairs.flatMap(([source, target]) => {
      const base = common(source, target);
      const pod = target.probePod;
      if (base === null || pod === null) return [];
      const { port, listens } = probePort(target.node, pod);
      return pingAndTcp(
        nodeToPod,
        base,
        { count, denied: denies(inventory, source.node, pod, 'ICMP') },
        { port, listens, denied: denies(inventory, source.node, pod, 'TCP', port) },
      );
    }),
  oneWay(source, target, context) {
    const base = common(source, target);
    return base === null ? null : oneWayToPod(nodeToPod, base, source.node, target, context);
  },
});
