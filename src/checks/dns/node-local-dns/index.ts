import { type Entity, nodeEntity, podEntity } from '../../../model/entity.ts';
import type { Pod } from '../../../model/inventory.ts';
import { cachePods, NODE_LOCAL_DNS } from '../../kit/node-local-dns.ts';
import { deniesOutbound } from '../../kit/policy.ts';
import { defineProbe, fromNode, fromPod, probe } from '../../kit/probe.ts';

/** D8: the DNS cache on each node that has one, asked from the node and from netcheck's pod on it. */
export const nodeLocalDns = defineProbe({
  id: 'node-local-dns',
  row: 'D8',
  layer: 'DNS',
  title: 'NodeLocal DNSCache, from its node and from a pod there',
  why: 'Where the kubelets name the cache as resolver, it is the only one that the pods of a node have.',
  plan: ({ sources, targets, inventory, clusterDomain }) => {
    // With another address (-localip) there is nobody to ask here.
    if (!targets.some(({ addresses }) => addresses.includes(NODE_LOCAL_DNS))) return [];
    return sources.flatMap((source) => {
      const cache = cachePods(inventory).find(({ node }) => node === source.node.name);
      if (cache === undefined) return [];
      const target = podEntity(cache.namespace, cache.name);
      const ask = (subject: Entity, from: ReturnType<typeof fromNode>, inside: Pod | null) =>
        probe(nodeLocalDns, {
          method: 'dns',
          subject,
          target,
          from,
          on: source.node.name,
          ip: NODE_LOCAL_DNS,
          port: 53,
          name: `kubernetes.default.svc.${clusterDomain}`,
          denied: inside === null ? null : deniesOutbound(inventory, inside, NODE_LOCAL_DNS, 'UDP', 53),
        });
      const pod = source.probePod;
      const fromHost = ask(nodeEntity(source.node.name), fromNode(source), null);
      return pod === null ? [fromHost] : [fromHost, ask(podEntity(pod.namespace, pod.name), fromPod(source, pod), pod)];
    });
  },
});
