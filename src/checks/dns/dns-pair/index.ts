import { podEntity } from '../../../model/entity.ts';
import { corednsPods, dnsService } from '../../kit/coredns.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromPod, probe } from '../../kit/probe.ts';

const DNS_PORT = 53;

/** Pairs of queries, each pair from a socket of its own. */
const PAIRS = 10;

/** The probe that asks the same Service from the same pod, one query from each socket. */
const SINGLE = { id: 'cluster-dns', layer: 'DNS' } as const;

/**
 * D6: the IPv4 and the IPv6 address of a name asked for at once from one socket, as the C library does, from netcheck's pod
 * on each node through the Service of the cluster's DNS. Only the first packet of a connection is translated and given an
 * entry: where both of a pair are taken for the first, one of them is lost, and a program waits five seconds for it.
 */
export const dnsPair = defineProbe({
  id: 'dns-pair',
  row: 'D6',
  layer: 'DNS',
  title: 'Two DNS queries at once from one socket',
  why: 'Programs ask for IPv4 and IPv6 addresses at once: where one answer is lost, every look-up takes five seconds.',
  plan: ({ sources, inventory, clusterDomain }) => {
    const service = dnsService(inventory);
    if (service === null) return [];
    return sources.flatMap((source) => {
      const pod = source.probePod;
      // Where a policy may forbid the answer, one that is missing says nothing.
      const isFree =
        pod !== null && corednsPods(inventory).every((server) => denies(inventory, pod, server, 'UDP', DNS_PORT) === null);
      if (!isFree) return [];
      const common = {
        subject: podEntity(pod.namespace, pod.name),
        target: { kind: 'Service', namespace: service.namespace, name: service.name },
        from: fromPod(source, pod),
        on: null,
        ip: service.clusterIP,
        port: DNS_PORT,
        name: `kubernetes.default.svc.${clusterDomain}`,
      } as const;
      const sibling = probe(SINGLE, { ...common, method: 'dns' }).id;
      return [probe(dnsPair, { ...common, method: 'dns-pair', count: PAIRS, every: true, sibling })];
    });
  },
});
