import { z } from 'zod';
import { podEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, nodePlace, podPlace } from '../../../model/hop.ts';
import type { Inventory, Pod, PodLog, Service } from '../../../model/inventory.ts';
import type { PodState } from '../../../model/wire/agent.ts';
import { type Draft, defineCheck } from '../../kit/check.ts';
import { dnsPods, dnsService } from '../../kit/coredns.ts';
import { corefileOf, forwardsIn } from '../../kit/corefile.ts';
import { namesText } from '../../kit/dns-servers.ts';
import { parsePods, podName, podsOn } from '../../kit/pods.ts';
import { PODS } from '../../kit/readings.ts';
import { isLoopback } from '../../kit/resolv-conf.ts';

/** So many nodes and more should have more than one DNS server. */
const NODES_FOR_TWO = 3;

/** D1, D7. Source: kubernetes.io, "Debugging DNS Resolution"; CoreDNS's plugin loop, "Troubleshooting Loops in Kubernetes Clusters". */
export const corednsUnavailable = defineCheck({
  id: 'coredns-unavailable',
  row: 'D1, D7',
  layer: 'DNS',
  scope: 'cluster',
  title: 'DNS servers of the cluster are missing, crash or ask themselves',
  why: 'Names stop to resolve for a part of all lookups, or for all of them.',
  codes: {
    'coredns-not-ready': 'A DNS pod is not ready: it crashes, waits or is not scheduled.',
    'dns-no-endpoints': 'The Service of the cluster’s DNS has no ready endpoint: every lookup fails.',
    'coredns-too-few': 'One DNS pod serves a cluster of several nodes: when it restarts, all lookups fail.',
    'coredns-on-one-node': 'All DNS pods are on one node: they go down with it.',
    'dns-forwarding-loop':
      'A DNS pod forwards to itself, through a loopback address or the cluster’s own DNS: it stops, or answers late or never.',
  },
  params: z.strictObject({}),
  collect: { pods: PODS },
  parse: ({ pods }) => parsePods(pods),
  evaluate: (facts: ReadonlyMap<string, PodState>, { inventory }) => {
    const service = dnsService(inventory);
    const pods = dnsPods(inventory);
    // What could not be listed is not missing; the gap itself is told.
    if (inventory.gaps.some(({ what }) => what === 'pods')) return [];
    const loops = loopsIn(facts, inventory, pods, service);
    const explained = new Set(loops.map(({ pod }) => pod.uid));
    const down = pods.filter((pod) => !pod.ready && !explained.has(pod.uid) && !isStarting(pod, inventory.readAt));
    return [
      ...loops.map(({ draft }) => draft),
      ...down.map((pod) => notReady(pod, loggedBy(inventory, pod))),
      ...(service === null ? [] : withoutEndpoints(inventory, service, pods)),
      ...placement(inventory, pods),
    ];
  },
});

/** How long a pod that was not restarted is given to become ready. */
const START_MS = 120_000;

function isStarting(pod: Pod, readAt: string): boolean {
  const age = pod.startedAt === null ? Number.POSITIVE_INFINITY : Date.parse(readAt) - Date.parse(pod.startedAt);
  return restartsOf(pod) === 0 && age < START_MS;
}

/** What a DNS pod that does not answer harms. */
function ofPod(pod: Pod): Pick<Draft, 'entity' | 'at' | 'harms'> {
  return {
    entity: podEntity(pod.namespace, pod.name),
    at: [{ place: podPlace(pod.namespace, pod.name), point: 'socket' }],
    harms: [
      { proto: 'udp', dport: 53 },
      { proto: 'tcp', dport: 53 },
      { proto: 'tcp', dport: 9153 },
    ],
  };
}

/** What a pod's log told lately, the most frequent lines first. */
function loggedBy({ logs }: Inventory, { namespace, name }: Pod): PodLog['lines'] {
  return logs.find((log) => log.namespace === namespace && log.pod === name)?.lines ?? [];
}

function logCitations(pod: Pod, lines: PodLog['lines']): readonly Citation[] {
  return lines
    .slice(0, 3)
    .map(({ text, count }) => ({ where: podName(pod), source: 'its log', text: count > 1 ? `${text} (${count} times)` : text }));
}

function notReady(pod: Pod, logged: PodLog['lines']): Draft {
  const stopped = pod.containers.find(({ kind, state }) => kind !== 'ephemeral' && state !== 'running' && state !== 'unknown');
  return {
    ...ofPod(pod),
    code: 'coredns-not-ready',
    // A process that runs may be called not ready for what the network does to the kubelet's probe.
    certainty: stopped === undefined ? 'suspect' : 'certain',
    summary: `the DNS pod ${podName(pod)}${pod.node === null ? '' : ` on ${pod.node}`} is not ready: ${stateText(pod)}`,
    advice: `kubectl -n ${pod.namespace} describe pod ${pod.name}, then logs ${pod.name}${restartsOf(pod) > 0 ? ' --previous' : ''}: an error in the Corefile, a forwarding loop, no access to the API server, too little memory.`,
    evidence: [stateCitation(pod), ...logCitations(pod, logged)],
  };
}

/** Why a pod is not ready, in the words of its containers, else of its conditions. */
function stateText(pod: Pod): string {
  const container = pod.containers.find(({ state, ready }) => state !== 'running' || !ready);
  const ended =
    container?.last === null || container?.last === undefined
      ? ''
      : `, ended last with ${container.last.reason || 'an error'} (exit code ${container.last.exitCode})`;
  if (container !== undefined && container.state !== 'running')
    return `${container.reason || container.state}, ${container.restarts} restarts${ended}${container.message === '' ? '' : `: ${container.message.slice(0, 200)}`}`;
  if (container !== undefined)
    return `it runs, and its readiness probe fails${container.restarts > 0 ? ` (${container.restarts} restarts${ended})` : ''}`;
  const condition = pod.conditions.find(({ status }) => status !== 'True');
  return condition === undefined
    ? `phase ${pod.phase}`
    : `${condition.reason || condition.type}${condition.message === '' ? '' : `: ${condition.message.slice(0, 200)}`}`;
}

function restartsOf({ containers }: Pod): number {
  return Math.max(0, ...containers.map(({ restarts }) => restarts));
}

function stateCitation(pod: Pod): Citation {
  return {
    where: podName(pod),
    source: 'Kubernetes API, status of the pod',
    text: `phase ${pod.phase}, ready ${pod.ready}; ${pod.containers.map(({ name, state, reason, restarts }) => `${name} ${state}${reason === '' ? '' : ` (${reason})`}, ${restarts} restarts`).join('; ')}`,
  };
}

function withoutEndpoints(
  inventory: Inventory,
  service: Service & { readonly clusterIP: string },
  pods: readonly Pod[],
): readonly Draft[] {
  if (inventory.gaps.some(({ what }) => what === 'endpointslices' || what === 'services')) return [];
  const own = inventory.endpoints.filter(
    (endpoint) => endpoint.namespace === service.namespace && endpoint.service === service.name,
  );
  if (own.some(({ ready }) => ready)) return [];
  const why =
    pods.length === 0
      ? `no pod has its labels (${Object.entries(service.selector)
          .map(([key, value]) => `${key}=${value}`)
          .join(', ')})`
      : pods.some(({ ready }) => ready)
        ? `${namesText(pods.filter(({ ready }) => ready).map(podName))} should be one: look at the EndpointSlices and the controller manager`
        : `${namesText(pods.map(podName))} ${pods.length > 1 ? 'are' : 'is'} not ready`;
  const at: readonly HopPattern[] = inventory.nodes.map(({ name }) => ({
    place: nodePlace(name),
    point: 'nat',
    via: service.clusterIP,
  }));
  return [
    {
      code: 'dns-no-endpoints',
      entity: { kind: 'Service', namespace: service.namespace, name: service.name },
      at: [...at],
      harms: [{ dst: service.clusterIP }],
      summary: `the Service ${service.namespace}/${service.name} (${service.clusterIP}) has no ready endpoint, so that every lookup in the cluster fails: ${why}`,
      advice: `kubectl -n ${service.namespace} get pods -l ${Object.entries(service.selector)
        .map(([key, value]) => `${key}=${value}`)
        .join(',')} -o wide, and kubectl -n ${service.namespace} get endpointslices: bring one DNS server back first.`,
      evidence: [
        {
          where: `${service.namespace}/${service.name}`,
          source: 'Kubernetes API, EndpointSlices',
          text: own.length === 0 ? 'no endpoints' : own.map(({ ip, ready }) => `${ip} ready ${ready}`).join(', '),
        },
      ],
    },
  ];
}

/** Too few servers, or all in one place; told only while they work. */
function placement(inventory: Inventory, pods: readonly Pod[]): readonly Draft[] {
  const ready = pods.filter((pod) => pod.ready && !pod.terminating);
  const nodes = inventory.nodes.filter(({ os, unschedulable, ready: is }) => os === 'linux' && !unschedulable && is === 'True');
  const [first] = ready;
  if (first === undefined) return [];
  const common = { severity: 'warning', at: ofPod(first).at, harms: [] } as const;
  const evidence = ready.map(stateCitation).slice(0, 4);
  if (ready.length === 1 && pods.length === 1 && nodes.length >= NODES_FOR_TWO)
    return [
      {
        ...common,
        at: [...common.at],
        harms: [],
        code: 'coredns-too-few',
        entity: podEntity(first.namespace, first.name),
        summary: `${podName(first)} is the only DNS server of ${nodes.length} nodes: while it restarts, or its node is down, no name resolves`,
        advice: 'Run two or more, on different nodes (replicas of the Deployment, or the DNS autoscaler).',
        evidence,
      },
    ];
  const places = new Set(ready.map(({ node }) => node));
  if (ready.length < 2 || places.size > 1 || nodes.length < 2) return [];
  return [
    {
      ...common,
      at: [...common.at],
      harms: [],
      code: 'coredns-on-one-node',
      entity: podEntity(first.namespace, first.name),
      summary: `all ${ready.length} DNS pods are on ${first.node} (${namesText(ready.map(podName))}): with that node every name in the cluster goes`,
      advice:
        'Delete one of them, so that it is scheduled anew, and give the Deployment an anti-affinity or a topology spread by node.',
      evidence,
    },
  ];
}

/**
 * D7: servers whose forwarding leads back to themselves, by the Corefile, by the resolv.conf that their pod got, or by their
 * own word: the plugin loop ends the server when a question of its own comes back.
 */
function loopsIn(
  facts: ReadonlyMap<string, PodState>,
  inventory: Inventory,
  pods: readonly Pod[],
  service: (Service & { readonly clusterIP: string }) | null,
): readonly { readonly pod: Pod; readonly draft: Draft }[] {
  const forwards = forwardsIn(corefileOf(inventory) ?? '').filter(({ zone }) => zone === '.');
  const isOwn = (ip: string): boolean => isLoopback(ip) || ip === service?.clusterIP || pods.some((pod) => pod.ip === ip);
  const named = forwards.flatMap(({ servers }) => servers).find(({ ip, port }) => isOwn(ip) && port === 53);
  const isByFile = forwards.some(({ files }) => files.includes('/etc/resolv.conf'));
  const namespaces = [...facts].flatMap(([node, state]) => podsOn(state, inventory, node));
  return pods.flatMap((pod) => {
    if (named !== undefined) {
      const evidence = { where: 'kube-system/coredns', source: 'Corefile', text: `forward . ${named.ip}` };
      return [{ pod, draft: loop(pod, named.ip, 'the Corefile', evidence, loggedBy(inventory, pod)) }];
    }
    const resolv = namespaces.find((seen) => seen.pod.uid === pod.uid)?.namespace.resolv ?? null;
    const own = isByFile ? resolv?.nameservers.find(isOwn) : undefined;
    if (resolv === null || own === undefined) return toldLoop(pod, loggedBy(inventory, pod));
    const text = resolv.nameservers.map((server) => `nameserver ${server}`).join(', ');
    const evidence = { where: podName(pod), source: '/etc/resolv.conf', text };
    const where = 'its /etc/resolv.conf, which the Corefile forwards to';
    return [{ pod, draft: loop(pod, own, where, evidence, loggedBy(inventory, pod)) }];
  });
}

/** A loop of which only the log tells; of a server that is ready again it is over. */
function toldLoop(pod: Pod, logged: PodLog['lines']): readonly { readonly pod: Pod; readonly draft: Draft }[] {
  const told = logged.filter(isOfLoop);
  if (pod.ready || told.length === 0) return [];
  const draft: Draft = {
    ...ofPod(pod),
    code: 'dns-forwarding-loop',
    certainty: 'certain',
    summary: `${podName(pod)}${pod.node === null ? '' : ` on ${pod.node}`} ended because its own question came back to it: ${stateText(pod)}`,
    advice:
      'Some server that it forwards to asks the cluster’s DNS in turn: look at every forward of the Corefile, at /etc/resolv.conf in the pod, and at what those servers forward to. Forward to real servers outside instead, then restart the pod.',
    evidence: [...logCitations(pod, told), stateCitation(pod)],
  };
  return [{ pod, draft }];
}

function isOfLoop({ text }: PodLog['lines'][number]): boolean {
  return text.startsWith('plugin/loop: ');
}

function loop(pod: Pod, ip: string, where: string, evidence: Citation, logged: PodLog['lines']): Draft {
  const own = isLoopback(ip) ? 'which inside the pod is the server itself' : 'which is the cluster’s own DNS';
  const stub =
    ip === '127.0.0.53'
      ? ' The address is systemd-resolved’s stub on the node: let the kubelet use /run/systemd/resolve/resolv.conf (resolvConf in its configuration).'
      : '';
  return {
    ...ofPod(pod),
    code: 'dns-forwarding-loop',
    certainty: 'certain',
    summary: `${podName(pod)}${pod.node === null ? '' : ` on ${pod.node}`} forwards outside names to ${ip}, ${own}, by ${where}${pod.ready ? '' : `; it is not ready: ${stateText(pod)}`}`,
    advice: `Forward to real servers outside instead, then restart the pod.${stub} With the plugin loop CoreDNS says “Loop … detected” and ends (kubectl -n ${pod.namespace} logs ${pod.name} --previous); without it questions go round until memory is used up.`,
    evidence: [
      evidence,
      ...logCitations(
        pod,
        logged.filter((line) => isOfLoop(line) || line.text.includes(` ${ip}:`)),
      ),
      ...(pod.ready ? [] : [stateCitation(pod)]),
    ],
  };
}
