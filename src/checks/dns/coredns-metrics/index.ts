import { nodeEntity, podEntity } from '../../../model/entity.ts';
import { corednsPods } from '../../kit/coredns.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromNode, probe } from '../../kit/probe.ts';

const METRICS_PORT = 9153;

/**
 * M3: an HTTP GET of every CoreDNS pod's metrics from every node: a TCP service that every cluster has. What curl prints
 * as 000 is four things, told apart here: refused, rejected at once, no neighbour, and silence.
 */
export const corednsMetrics = defineProbe({
  id: 'coredns-metrics',
  row: 'M3',
  layer: 'L7',
  title: 'Node to every CoreDNS pod, TCP',
  why: 'A TCP service on the pod network that every cluster has; it shows what ping cannot.',
  plan: ({ sources, inventory }) =>
    sources.flatMap((source) =>
      corednsPods(inventory).map((pod) =>
        probe(corednsMetrics, {
          method: 'http',
          subject: nodeEntity(source.node.name),
          target: podEntity(pod.namespace, pod.name),
          from: fromNode(source),
          on: pod.node,
          ip: pod.ip,
          port: METRICS_PORT,
          name: '/metrics',
          denied: denies(inventory, source.node, pod, 'TCP', METRICS_PORT),
        }),
      ),
    ),
});
