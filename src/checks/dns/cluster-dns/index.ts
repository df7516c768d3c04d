import { type Entity, nodeEntity, podEntity } from '../../../model/entity.ts';
import type { Pod } from '../../../model/inventory.ts';
import type { Probe } from '../../../model/probe.ts';
import { corednsPods, dnsService } from '../../kit/coredns.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromNode, fromPod, type ProbeContext, type ProbeNode, probe } from '../../kit/probe.ts';

const DNS_PORT = 53;

/**
 * M4: a query for the API server's name to every CoreDNS pod by itself, and to the Service in front of them, from every
 * node and from netcheck's pod on it.
 */
export const clusterDns = defineProbe({
  id: 'cluster-dns',
  row: 'M4',
  layer: 'DNS',
  title: 'Cluster DNS, every server by itself',
  why: 'A resolver that answers sometimes is the most common shape of a network fault.',
  plan: (context) =>
    context.sources.flatMap((source) => {
      const fromHost = from(context, source, null);
      return source.probePod === null ? fromHost : [...fromHost, ...from(context, source, source.probePod)];
    }),
});

function from(
  { inventory, clusterDomain }: ProbeContext,
  source: ProbeNode,
  inside: (Pod & { readonly ip: string }) | null,
): readonly Probe[] {
  const subject: Entity = inside === null ? nodeEntity(source.node.name) : podEntity(inside.namespace, inside.name);
  const origin = inside === null ? fromNode(source) : fromPod(source, inside);
  const name = `kubernetes.default.svc.${clusterDomain}`;
  const common = { method: 'dns', subject, from: origin, port: DNS_PORT, name } as const;
  const pods = corednsPods(inventory).map((pod) => ({
    pod,
    denied: denies(inventory, inside ?? source.node, pod, 'UDP', DNS_PORT),
  }));
  const servers = pods.map(({ pod, denied }) =>
    probe(clusterDns, { ...common, target: podEntity(pod.namespace, pod.name), on: pod.node, ip: pod.ip, denied }),
  );
  const service = dnsService(inventory);
  if (service === null) return servers;
  return [
    ...servers,
    probe(clusterDns, {
      ...common,
      target: { kind: 'Service', namespace: service.namespace, name: service.name },
      on: null,
      ip: service.clusterIP,
      // Any of the servers may be asked: what one of them is forbidden to answer may go unanswered.
      denied: pods.flatMap(({ denied }) => denied ?? [])[0] ?? null,
    }),
  ];
}
