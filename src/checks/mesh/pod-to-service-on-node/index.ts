import { podEntity } from '../../../model/entity.ts';
import { corednsPods, dnsService } from '../../kit/coredns.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromPod, probe } from '../../kit/probe.ts';

const DNS_PORT = 53;

/** How likely it may be that the endpoint on the node is never chosen. */
const MISSED = 0.001;

/** At least and at most so many queries; with more than a handful of endpoints it stays a sample. */
const FEWEST = 3;
const MOST = 40;

/**
 * N19: from netcheck's pod to the Service of the cluster's DNS, on the nodes where one of its pods runs. It is the only
 * Service that every cluster has with an endpoint of its own beside netcheck's pod. kube-proxy picks an endpoint for each
 * query: so many are sent, each from a port of its own, that the one on the node is asked.
 */
export const podToServiceOnNode = defineProbe({
  id: 'pod-to-service-on-node',
  row: 'N19',
  layer: 'L4',
  title: 'Pod to a Service with an endpoint on the same node',
  why: 'Answers between pods of one node stay on the bridge: a Service may work from everywhere but there.',
  plan: ({ sources, inventory, clusterDomain }) => {
    const service = dnsService(inventory);
    const ready = inventory.endpoints.filter(
      (endpoint) => endpoint.namespace === service?.namespace && endpoint.service === service.name && endpoint.ready,
    );
    const addresses = new Set(ready.map(({ ip }) => ip));
    const pods = corednsPods(inventory).filter(({ ip, hostNetwork }) => addresses.has(ip) && !hostNetwork);
    return sources.flatMap((source) => {
      const pod = source.probePod;
      const isLocal = pods.some(({ node }) => node === source.node.name);
      if (service === null || pod === null || source.network?.bridge == null || !isLocal) return [];
      const denied = pods.flatMap((server) => denies(inventory, pod, server, 'UDP', DNS_PORT) ?? [])[0] ?? null;
      return [
        probe(podToServiceOnNode, {
          method: 'dns',
          subject: podEntity(pod.namespace, pod.name),
          target: { kind: 'Service', namespace: service.namespace, name: service.name },
          from: fromPod(source, pod),
          on: null,
          ip: service.clusterIP,
          port: DNS_PORT,
          name: `kubernetes.default.svc.${clusterDomain}`,
          count: queriesFor(addresses.size),
          every: true,
          denied,
        }),
      ];
    });
  },
});

/** Queries after which one of so many endpoints has been asked, all but certainly. */
function queriesFor(endpoints: number): number {
  if (endpoints <= 1) return FEWEST;
  return Math.min(MOST, Math.ceil(Math.log(MISSED) / Math.log(1 - 1 / endpoints)));
}
