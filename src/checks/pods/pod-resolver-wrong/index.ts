import { z } from 'zod';
import { entityName, nodeEntity, podEntity } from '../../../model/entity.ts';
import { podPlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PodNamespace, PodState } from '../../../model/wire/agent.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { type PodOnNode, parsePods, podName, podsOn } from '../../kit/pods.ts';
import { ADDRESSES, PODS } from '../../kit/readings.ts';

type Facts = { readonly pods: PodState; readonly links: readonly Link[] };
type Resolver = NonNullable<PodNamespace['resolv']>;
type Seen = PodOnNode & { readonly node: string; readonly resolv: Resolver };

/** D5. Source: kubernetes.io, "DNS for Services and Pods", pod's DNS policy. */
export const podResolverWrong = defineCheck({
  id: 'pod-resolver-wrong',
  row: 'D5',
  layer: 'DNS',
  scope: 'cluster',
  title: "A pod asks another name server than the cluster's",
  why: 'Names of Services do not resolve in this pod, while the DNS of the cluster works.',
  codes: {
    'pod-nameserver-wrong':
      'The resolv.conf of a pod with dnsPolicy ClusterFirst names no name server of the cluster, while those of other pods do.',
    'pod-search-wrong': "The resolv.conf of such a pod lacks the cluster's search domains, while those of other pods have them.",
    'host-network-dns-policy':
      'The pod that was named uses the network of its node with dnsPolicy ClusterFirst, which means Default there: it asks the name servers of the node.',
  },
  params: z.strictObject({}),
  collect: { pods: PODS, addresses: ADDRESSES },
  parse: ({ pods, addresses }) => allParsed<Facts>({ pods: parsePods(pods), links: parseLinks(addresses) }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) => {
    const seen = [...facts].flatMap(([node, { pods }]) =>
      podsOn(pods, inventory, node).flatMap((found) => {
        const { resolv } = found.namespace;
        return found.pod.dnsPolicy === 'ClusterFirst' && resolv !== null ? [{ ...found, node, resolv }] : [];
      }),
    );
    const isServer = createIsServer(inventory, facts);
    const isUsual = (one: Seen): boolean => one.resolv.nameservers.some((ip) => isServer(ip, one.node));
    const isSearching = ({ pod, resolv }: Seen): boolean =>
      resolv.searches.some((domain) => domain.startsWith(`${pod.namespace}.svc.`));
    const usual = seen.filter(isUsual);
    const [wrong, searchless] = [isUsual, isSearching].map((isRight) => {
      const others = seen.filter((one) => !isRight(one));
      // Where the kubelets are told to use something else on purpose, hardly any pod has the cluster's.
      return others.length * 2 < seen.length ? [...Map.groupBy(others, ({ node }) => node).values()] : [];
    });
    return [
      ...(wrong ?? []).map((group) => wrongServer(group, usual)),
      ...(searchless ?? []).map(wrongSearch),
      ...onHostNetwork(inventory, probed),
    ];
  },
});

/** Whether an address is a name server that a kubelet may be told: a Service's on port 53, the node's own, or link-local. */
function createIsServer({ services }: Inventory, facts: ReadonlyMap<string, Facts>): (ip: string, node: string) => boolean {
  const served = new Set(
    services.flatMap(({ clusterIP, ports }) => (ports.some(({ port }) => port === 53) ? (clusterIP ?? []) : [])),
  );
  return (ip, node) =>
    served.has(ip) ||
    ip.startsWith('169.254.') ||
    (facts.get(node)?.links ?? []).some(({ addresses }) => addresses.some((address) => address.ip === ip));
}

/** So many pods of the system are like this, and content with it, that it is told only of the pod that was named. */
function onHostNetwork({ pods }: Inventory, probed: readonly Probed[]): readonly Draft[] {
  const named = new Set(
    probed
      .filter(({ probe, result }) => probe.check === 'named-pod' && result.status !== 'unknown')
      .map(({ probe }) => entityName(probe.target)),
  );
  return pods
    .filter((pod) => pod.hostNetwork && pod.dnsPolicy === 'ClusterFirst' && named.has(podName(pod)))
    .map((pod) => ({
      code: 'host-network-dns-policy',
      entity: podEntity(pod.namespace, pod.name),
      severity: 'info',
      at: [],
      harms: [],
      summary: `the pod ${podName(pod)} uses the network of ${pod.node ?? 'its node'} with dnsPolicy ClusterFirst, which means Default there: it asks the name servers of the node, and names of Services do not resolve in it`,
      advice: 'If it has to resolve names of Services, set dnsPolicy: ClusterFirstWithHostNet.',
      evidence: [
        { where: 'Kubernetes API', source: `Pod ${podName(pod)}, spec`, text: `hostNetwork true, dnsPolicy ${pod.dnsPolicy}` },
      ],
    }));
}

/** Pods of one node. Where a pod resolves names is its own matter: nothing that netcheck sends goes by its resolv.conf. */
function draft(group: readonly Seen[], rest: Pick<Draft, 'code' | 'summary' | 'advice'>): Draft {
  const [first] = group;
  const one = first !== undefined && group.length === 1 ? first.pod : null;
  return {
    entity: one === null ? nodeEntity(first?.node ?? '') : podEntity(one.namespace, one.name),
    severity: 'warning',
    at: group.map(({ pod }) => ({ place: podPlace(pod.namespace, pod.name), point: 'socket' })),
    harms: [],
    evidence: group.slice(0, SHOWN).map(({ pod, node, namespace, resolv }) => ({
      where: node,
      source: `/etc/resolv.conf of ${podName(pod)} (process ${namespace.pid})`,
      text: `nameserver ${resolv.nameservers.join(' ')}; search ${resolv.searches.join(' ')}; options ${resolv.options.join(' ')}`,
    })),
    ...rest,
  };
}

const SHOWN = 3;

const ADVICE =
  'The kubelet writes this file when a pod is made: compare its clusterDNS and clusterDomain on this node with those of the others, then delete the pod so that it gets a new one. Or a mount or the image replaces it.';

function wrongServer(group: readonly Seen[], usual: readonly Seen[]): Draft {
  const asked = [...new Set(group.flatMap(({ resolv }) => resolv.nameservers))].slice(0, SHOWN).join(', ');
  const others = [...new Set(usual.flatMap(({ resolv }) => resolv.nameservers))].slice(0, SHOWN).join(', ');
  return draft(group, {
    code: 'pod-nameserver-wrong',
    summary: `resolv.conf in ${named(group)} names ${asked === '' ? 'no name server' : `the name server ${asked}`}; other pods ask ${others}`,
    advice: ADVICE,
  });
}

function wrongSearch(group: readonly Seen[]): Draft {
  const [first] = group;
  return draft(group, {
    code: 'pod-search-wrong',
    summary: `resolv.conf in ${named(group)} does not search ${first?.pod.namespace}.svc (it has ${first?.resolv.searches.join(' ') || 'no search list'}): short names of Services do not resolve`,
    advice: ADVICE,
  });
}

function named(group: readonly Seen[]): string {
  const names = group.map(({ pod }) => podName(pod));
  const shown = names.slice(0, SHOWN).join(', ');
  return `${names.length > SHOWN ? `${shown} and ${names.length - SHOWN} more pods` : shown} on ${group[0]?.node}`;
}
