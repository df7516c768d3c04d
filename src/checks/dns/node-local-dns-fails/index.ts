import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory, Pod } from '../../../model/inventory.ts';
import type { PodState } from '../../../model/wire/agent.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { namesText } from '../../kit/dns-servers.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { cachePods, NODE_LOCAL_DNS } from '../../kit/node-local-dns.ts';
import { parsePods, podName, podsOn } from '../../kit/pods.ts';
import { ADDRESSES, PODS } from '../../kit/readings.ts';

type Facts = { readonly pods: PodState; readonly links: readonly Link[] };

/** D8. Source: kubernetes.io, "Using NodeLocal DNSCache in Kubernetes Clusters". */
export const nodeLocalDnsFails = defineCheck({
  id: 'node-local-dns-fails',
  row: 'D8',
  layer: 'DNS',
  scope: 'cluster',
  title: 'NodeLocal DNSCache is down or bypassed on a node',
  why: 'Pods that have the cache as their only resolver resolve nothing; the others lose what it was put there for.',
  codes: {
    'node-local-dns-down': 'The DNS cache of a node is not ready, or is missing where pods ask it.',
    'node-local-dns-bypassed': 'The DNS cache of a node is ready, and no device of the node holds its address.',
  },
  params: z.strictObject({}),
  collect: { pods: PODS, links: ADDRESSES },
  parse: ({ pods, links }) => allParsed<Facts>({ pods: parsePods(pods), links: parseLinks(links) }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory }) => {
    const caches = cachePods(inventory);
    const isUsual = [...facts.values()].some(({ links }) => holderIn(links) !== undefined);
    // With another address (-localip) nothing is known of where it should be.
    if (caches.length === 0 || !isUsual) return [];
    return [...facts].flatMap(([node, own]) => judge(node, own, caches, inventory));
  },
});

function holderIn(links: readonly Link[]): Link | undefined {
  return links.find(({ addresses }) => addresses.some(({ ip }) => ip === NODE_LOCAL_DNS));
}

function judge(node: string, { pods, links }: Facts, caches: readonly Pod[], inventory: Inventory): readonly Draft[] {
  const cache = caches.find((pod) => pod.node === node);
  const askers = podsOn(pods, inventory, node).filter(
    ({ namespace }) => namespace.resolv?.nameservers.includes(NODE_LOCAL_DNS) === true,
  );
  const holder = holderIn(links);
  const whom =
    askers.length === 0
      ? ''
      : `; ${namesText(askers.map(({ pod }) => podName(pod)))} ${askers.length > 1 ? 'have' : 'has'} it as resolver`;
  const common = {
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'socket' }],
    harms: [{ dst: NODE_LOCAL_DNS, dport: 53 }],
  } satisfies Partial<Draft>;
  const cited: readonly Citation[] = [
    {
      where: node,
      source: ADDRESSES.argv.join(' '),
      text: holder === undefined ? `no device holds ${NODE_LOCAL_DNS}` : `${holder.name} holds ${NODE_LOCAL_DNS}`,
    },
    ...(cache === undefined ? [] : [stateOf(cache)]),
  ];
  if (cache === undefined) {
    // The cache may be meant for some nodes only: it is missing where somebody asks it.
    if (askers.length === 0) return [];
    return [down(common, `no NodeLocal DNSCache runs on ${node}${whom}`, cited)];
  }
  if (!cache.ready) {
    const stopped = cache.containers.find(({ state }) => state !== 'running');
    const reason =
      stopped === undefined ? 'not ready' : `not ready (${stopped.reason || stopped.state}, ${stopped.restarts} restarts)`;
    return [down(common, `the NodeLocal DNSCache ${podName(cache)} on ${node} is ${reason}${whom}`, cited)];
  }
  if (holder !== undefined) return [];
  return [
    {
      ...common,
      code: 'node-local-dns-bypassed',
      summary: `the NodeLocal DNSCache ${podName(cache)} on ${node} is ready, and no device there holds ${NODE_LOCAL_DNS}: nothing reaches it${whom}`,
      advice: `Delete the pod ${podName(cache)}: it makes its device nodelocaldns and its rules when it starts. Then look what took the device away (a network manager, a script).`,
      evidence: [...cited],
    },
  ];
}

function down(common: Pick<Draft, 'entity' | 'at' | 'harms'>, summary: string, evidence: readonly Citation[]): Draft {
  return {
    ...common,
    code: 'node-local-dns-down',
    summary,
    advice: `kubectl -n kube-system get pods -l k8s-app=node-local-dns -o wide, then the log of the one on ${common.entity.name}. Where kube-proxy uses iptables pods fall back to CoreDNS once the device is gone; where the kubelets name ${NODE_LOCAL_DNS} (as with IPVS) they do not.`,
    evidence: [...evidence],
  };
}

function stateOf(pod: Pod): Citation {
  const containers = pod.containers.map(
    ({ name, state, reason, restarts }) => `${name} ${state}${reason === '' ? '' : ` (${reason})`}, ${restarts} restarts`,
  );
  return {
    where: podName(pod),
    source: 'Kubernetes API, status of the pod',
    text: [`phase ${pod.phase}, ready ${pod.ready}`, ...containers].join('; '),
  };
}
