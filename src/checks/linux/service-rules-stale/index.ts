import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory, Pod, Service } from '../../../model/inventory.ts';
import type { PodState } from '../../../model/wire/agent.ts';
import { allParsed, type Draft, defineCheck, unsupported } from '../../kit/check.ts';
import { isWithin } from '../../kit/cidr.ts';
import { parsePods, podName } from '../../kit/pods.ts';
import { matchesSelector } from '../../kit/policy.ts';
import { PROXY_COLLECT } from '../../kit/proxy-mode.ts';
import { PODS, readingText } from '../../kit/readings.ts';
import { parseServiceRules, type RuleSystem, type ServiceRules } from '../../kit/service-rules.ts';

type Facts = { readonly rules: ServiceRules; readonly pods: PodState };

/** A port of a Service with a cluster address: the `IP:PORT` pairs behind it that are ready, and all addresses behind it. */
type ServicePort = {
  readonly service: Service;
  readonly ip: string;
  readonly key: string;
  readonly ready: readonly string[];
  readonly listed: ReadonlySet<string>;
};

/** A Service port of which a node's rules lead to endpoints that are gone. */
type Stale = {
  readonly port: ServicePort;
  readonly system: RuleSystem;
  readonly endpoints: readonly string[];
  readonly gone: readonly string[];
};

/** S2. Source: kubernetes, pkg/proxy/{iptables,nftables}/proxier.go: only what changed is written anew, all of it once an hour. */
export const serviceRulesStale = defineCheck({
  id: 'service-rules-stale',
  row: 'S2',
  layer: 'L4',
  scope: 'cluster',
  title: "kube-proxy's rules for a Service are missing or stale on a node",
  why: 'From that node and its pods the Service leads nowhere, or to pods that are gone; from the other nodes it works.',
  codes: {
    'service-rules-missing': 'A node has no rule for a Service port that has endpoints and that other nodes have rules for.',
    'service-rules-stale': "kube-proxy's rules on a node lead a Service to addresses that it no longer has.",
  },
  params: z.strictObject({}),
  collect: { ...PROXY_COLLECT, pods: PODS },
  parse: ({ pods, ...rules }) => {
    const parsed = allParsed<Facts>({ rules: parseServiceRules(rules), pods: parsePods(pods) });
    if (parsed.outcome !== 'ok' || !parsed.facts.rules.modes.includes('ipvs')) return parsed;
    return unsupported('kube-proxy works in IPVS mode here, which has no rules for a Service');
  },
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory }) => {
    const ports = servicePorts(inventory);
    const isGone = createIsGone(facts, inventory);
    const carried = new Set([...facts.values()].flatMap(({ rules }) => rules.portals.map(({ key }) => key)));
    return [...facts].flatMap(([node, { rules }]) => {
      const missing = missingOn(
        node,
        rules,
        inventory,
        ports.filter(({ key }) => carried.has(key)),
      );
      const stale = staleOn(ports, rules, isGone);
      return [
        ...(missing.length === 0 ? [] : [missingRules(node, missing, facts, inventory)]),
        ...(stale.length === 0 ? [] : [staleRules(node, stale, inventory)]),
      ];
    });
  },
});

function servicePorts({ services, endpoints }: Inventory): readonly ServicePort[] {
  const behind = Map.groupBy(endpoints, ({ namespace, service }) => `${namespace}/${service}`);
  return services.flatMap((service) => {
    const { clusterIP: ip } = service;
    if (ip === null) return [];
    const own = behind.get(podName(service)) ?? [];
    const listed = new Set(own.map((endpoint) => endpoint.ip));
    return service.ports
      .filter(({ protocol }) => protocol !== 'SCTP')
      .map(({ name, port, protocol }) => ({
        service,
        ip,
        key: `${ip}:${port}/${protocol.toLowerCase()}`,
        ready: own
          .filter(({ ready }) => ready)
          .flatMap((endpoint) =>
            endpoint.ports.flatMap((to) => (to.name === name && to.protocol === protocol ? [`${endpoint.ip}:${to.port}`] : [])),
          ),
        listed,
      }));
  });
}

/**
 * The ports that a node has no rule for, of those that a node has rules for: a Service that no kube-proxy carries is somebody
 * else's. Where a node has no rules of kube-proxy at all, kube-proxy has to be meant to run there.
 */
function missingOn(
  node: string,
  { portals, refused }: ServiceRules,
  inventory: Inventory,
  carried: readonly ServicePort[],
): readonly ServicePort[] {
  if (portals.length === 0 && kubeProxyOn(node, inventory) === undefined) return [];
  const own = new Set(portals.filter(({ endpoints }) => endpoints.length > 0).map(({ key }) => key));
  return carried.filter(({ key, ready }) => ready.length > 0 && !own.has(key) && !refused.has(key));
}

/** Where both kinds of iptables have the rules of kube-proxy, only one decides: both must lead the port astray then. */
function staleOn(
  ports: readonly ServicePort[],
  { portals }: ServiceRules,
  isGone: (endpoint: string, port: ServicePort) => boolean,
): readonly Stale[] {
  const systems = new Set(portals.map(({ system }) => system));
  const byKey = Map.groupBy(portals, ({ key }) => key);
  return ports.flatMap((port) => {
    const stale = (byKey.get(port.key) ?? []).map(({ system, endpoints }) => ({
      port,
      system,
      endpoints,
      gone: endpoints.filter((endpoint) => isGone(endpoint, port)),
    }));
    return stale.length === systems.size && stale.every(({ gone }) => gone.length > 0) ? stale.slice(0, 1) : [];
  });
}

/**
 * Tells whether nobody who is behind a Service has an endpoint's address: no EndpointSlice, and no pod or node, or else one
 * that the Service does not select. A pod that came after the API server was asked is in the network namespaces of its node.
 */
function createIsGone(
  facts: ReadonlyMap<string, Facts>,
  { nodes, pods }: Inventory,
): (endpoint: string, port: ServicePort) => boolean {
  const held = new Set(
    [...facts.values()].flatMap(({ pods: { namespaces } }) => namespaces.flatMap(({ addresses }) => addresses)),
  );
  const ofNodes = new Set(nodes.map(({ ip }) => ip));
  const unread = nodes.filter(({ name, os }) => !facts.has(name) && os === 'linux');
  const running = Map.groupBy(
    pods.filter(({ phase }) => phase !== 'Succeeded' && phase !== 'Failed'),
    ({ ip }) => ip,
  );
  return (endpoint, { service: { namespace, selector }, listed: known }) => {
    const ip = endpoint.slice(0, endpoint.lastIndexOf(':'));
    if (known.has(ip) || ofNodes.has(ip)) return false;
    const holders = running.get(ip) ?? [];
    if (holders.length > 0)
      return (
        Object.keys(selector).length > 0 &&
        holders.every((pod) => pod.namespace !== namespace || !matchesSelector({ matchLabels: selector }, pod.labels))
      );
    // On a node that was not read, a pod may have come meanwhile.
    return !held.has(ip) && unread.every(({ podCIDRs }) => podCIDRs.length > 0 && !podCIDRs.some((block) => isWithin(ip, block)));
  };
}

/** kube-proxy's pod on a node, as kubeadm, EKS, AKS and GKE label it. */
function kubeProxyOn(node: string, { pods }: Inventory): Pod | undefined {
  return pods.find(
    (pod) => pod.node === node && [pod.labels['k8s-app'], pod.labels['component']].includes('kube-proxy') && !pod.terminating,
  );
}

/** The remedy that restarts kube-proxy by deleting exactly its pod; nothing for a static pod, whose deletion restarts nothing. */
function restartKubeProxy(node: string, inventory: Inventory): Draft['remedy'] {
  const pod = kubeProxyOn(node, inventory);
  if (pod === undefined || pod.owner?.kind !== 'DaemonSet') return undefined;
  return { id: 'restart-kube-proxy', node, params: { namespace: pod.namespace, pod: pod.name, uid: pod.uid } };
}

/** What both findings have in common: where the ports are translated, and what is sent to them. */
function ofPorts(
  node: string,
  ports: readonly ServicePort[],
  inventory: Inventory,
): Pick<Draft, 'entity' | 'at' | 'harms' | 'remedy'> {
  const packets = ports.map(({ ip, key }) => {
    const [, port = '', proto = ''] = /:(\d+)\/(\w+)$/.exec(key) ?? [];
    return { dst: ip, dport: Number(port), proto: proto === 'udp' ? ('udp' as const) : ('tcp' as const) };
  });
  return {
    entity: nodeEntity(node),
    at: [...new Set(ports.map(({ ip }) => ip))].map((via) => ({ place: nodePlace(node), point: 'nat', via })),
    harms: packets.map((packet) => ({ ...packet, state: 'new' })),
    remedy: restartKubeProxy(node, inventory),
  };
}

function missingRules(
  node: string,
  missing: readonly ServicePort[],
  facts: ReadonlyMap<string, Facts>,
  inventory: Inventory,
): Draft {
  const hasNone = facts.get(node)?.rules.portals.length === 0;
  const text = (one: ServicePort): string =>
    `${portText(one)}${one.ready.length === 1 ? '' : ` (${one.ready.length} endpoints)`}`;
  return {
    ...ofPorts(node, missing, inventory),
    code: 'service-rules-missing',
    summary: hasNone
      ? `${node} has no rules of kube-proxy for any Service: ${listed(missing.map(text))} lead nowhere from this node and its pods`
      : `${node} has no rule of kube-proxy for ${listed(missing.map(text))}, which the other nodes have: from this node and its pods it leads nowhere`,
    advice: adviceFor(node, inventory),
    evidence: missing
      .slice(0, SHOWN)
      .flatMap(({ key, ready }): Citation[] => [
        { where: node, source: 'rules of iptables and nft', text: `no rule for ${key}` },
        ...elsewhere(key, node, facts),
        { where: 'Kubernetes API', source: 'EndpointSlices', text: `${key}: ${listed(ready)} ready` },
      ]),
  };
}

function elsewhere(key: string, node: string, facts: ReadonlyMap<string, Facts>): readonly Citation[] {
  const found = [...facts].flatMap(([where, { rules }]) =>
    where === node ? [] : rules.portals.filter((portal) => portal.key === key).map((portal) => ({ where, ...portal })),
  );
  return found.slice(0, 1).map(({ where, system, endpoints }) => ({
    where,
    source: readingText(PROXY_COLLECT[system]),
    text: `${key} leads to ${listed(endpoints)}`,
  }));
}

function staleRules(node: string, stale: readonly Stale[], inventory: Inventory): Draft {
  const isWhole = stale.every(({ gone, endpoints }) => gone.length === endpoints.length);
  return {
    ...ofPorts(
      node,
      stale.map(({ port }) => port),
      inventory,
    ),
    code: 'service-rules-stale',
    partial: isWhole ? false : 'flows',
    summary: `kube-proxy's rules on ${node} are behind: they lead ${listed(stale.map(({ port, gone }) => `${portText(port)} to ${listed(gone)}`))}, where nobody of the Service is any more`,
    advice: adviceFor(node, inventory),
    evidence: stale.slice(0, SHOWN).flatMap(({ port: { key, ready }, system, endpoints }): Citation[] => [
      { where: node, source: readingText(PROXY_COLLECT[system]), text: `${key} leads to ${listed(endpoints)}` },
      { where: 'Kubernetes API', source: 'EndpointSlices', text: `${key}: ${listed(ready) || 'none'} ready` },
    ]),
  };
}

function adviceFor(node: string, inventory: Inventory): string {
  const pod = kubeProxyOn(node, inventory);
  if (pod === undefined)
    return `Restart kube-proxy on ${node}: it writes all rules anew when it starts. Its log says why it did not.`;
  const state = pod.ready ? '' : ', which is not ready';
  return `Restart kube-proxy on ${node} (${podName(pod)}${state}): it writes all rules anew when it starts. Its log says why it did not: kubectl -n ${pod.namespace} logs ${pod.name}`;
}

const SHOWN = 3;

function portText({ service, key }: ServicePort): string {
  return `${podName(service)} (${key})`;
}

function listed(items: readonly string[]): string {
  return items.length > SHOWN ? `${items.slice(0, SHOWN).join(', ')} and ${items.length - SHOWN} more` : items.join(', ');
}
