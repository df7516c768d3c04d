import type { Endpoint, Inventory, Pod } from '../../model/inventory.ts';
import type { Probe } from '../../model/probe.ts';
import { addressAt, familyOf, firstIPv4 } from './cidr.ts';
import { addressKey } from './netfilter/address.ts';
import type { Classes } from './netfilter/classes.ts';
import { matchesSelector } from './policy.ts';

/*
 * Who sends and receives the flows of `flows.ts`, in groups that no rule tells apart.
 */

/** Addresses that meet the same fate; there can be thousands, so that they are listed only where somebody asks. */
export type Addresses = { readonly list: () => readonly string[] };

/** A port that is served; `own` is one that only netcheck's probes are known to use. */
type Service = { readonly proto: 'tcp' | 'udp'; readonly port: number; readonly own?: true };

/** Someone who may be an end of a flow, with what is served there; `key` is the address as rules compare it. */
export type Member = {
  readonly node: string | null;
  readonly ip: string;
  readonly key: string;
  readonly services: readonly Service[];
  readonly answersPing: boolean;
  readonly mayCall: boolean;
};

/** What the members of a class serve, port by port class. */
type Served = readonly { readonly proto: 'tcp' | 'udp'; readonly ports: readonly number[]; readonly own: boolean }[];

/** Members that no rule tells apart. */
type Class = { readonly members: readonly Member[]; readonly services: Served };

/** A class as one side of an exchange: two of its members stand for all. */
export type Group = Addresses & { readonly some: readonly Member[]; readonly services: Served };

/** A TCP port that stands for any other, where a pod names none. */
const ANY_PORT = 18_080;

/**
 * Finds everyone in a cluster. The function that it returns groups them, seen from a node, by what its rules tell apart.
 * Pods that a NetworkPolicy selects take part only where a probe is planned because it lets them.
 */
export function createParties(inventory: Inventory, probes: readonly Probe[]): (node: string, classes: Classes) => Parties {
  const homes = homesOf(inventory, probes);
  // most nodes have rules that tell the same addresses apart
  const known = new Map<string, Classified>();
  return (node, classes) => {
    const classified = known.get(classes.key) ?? classify(homes, classes);
    known.set(classes.key, classified);
    return partiesOf(classified, node);
  };
}

const KINDS = ['self', 'bridge', 'overlay', 'pods', 'apiServers'] as const;
type Kind = (typeof KINDS)[number];

/** Everyone: nodes by their own address and by those in the pod network, pods, and API servers that are no node. */
type Homes = Readonly<Record<Kind, readonly Member[]>>;
type Classified = Readonly<Record<Kind, readonly Class[]>>;

function homesOf(inventory: Inventory, probes: readonly Probe[]): Homes {
  const probed = probedServices(probes);
  const api = inventory.endpoints.filter(isApiServer);
  const host = (node: string | null, ip: string, services: readonly Service[] = []): Member => {
    const served = api.filter((endpoint) => endpoint.ip === ip).flatMap(servicesOf);
    const expected = probed.get(ip)?.services ?? [];
    return { node, ip, key: addressKey(ip), services: [...services, ...served, ...expected], answersPing: true, mayCall: true };
  };
  const nodes = inventory.nodes.map((node) => {
    const block = firstIPv4(node.podCIDRs);
    return { ...node, block, kubelet: { proto: 'tcp', port: node.kubeletPort } as const };
  });
  const nodeAddresses = new Set(nodes.map(({ ip }) => ip));
  return {
    self: nodes.flatMap(({ name, ip, kubelet }) => (ip === null || familyOf(ip) === 6 ? [] : [host(name, ip, [kubelet])])),
    bridge: nodes.flatMap(({ name, block, kubelet }) => (block === null ? [] : [host(name, addressAt(block, 1), [kubelet])])),
    overlay: nodes.flatMap(({ name, block }) => (block === null ? [] : [host(name, addressAt(block, 0))])),
    pods: podMembers(inventory, probed),
    apiServers: api.filter(({ ip }) => !nodeAddresses.has(ip)).map(({ ip }) => host(null, ip)),
  };
}

function classify(homes: Homes, classes: Classes): Classified {
  const classOf = ({ key, answersPing, mayCall }: Member): number =>
    classes.address(key) * 4 + Number(answersPing) * 2 + Number(mayCall);
  const classesOf = (members: readonly Member[]): Class[] =>
    [...Map.groupBy(members, classOf).values()].map((same) => ({ members: same, services: servedBy(same, classes) }));
  return {
    self: classesOf(homes.self),
    bridge: classesOf(homes.bridge),
    overlay: classesOf(homes.overlay),
    pods: classesOf(homes.pods),
    apiServers: classesOf(homes.apiServers),
  };
}

function servedBy(members: readonly Member[], classes: Classes): Served {
  const services = new Map<string, Service>();
  for (const service of members.flatMap((member) => member.services)) {
    const key = `${service.proto} ${service.port}`;
    if (service.own === undefined || !services.has(key)) services.set(key, service);
  }
  const same = Map.groupBy(services.values(), ({ proto, port, own }) => `${proto} ${classes.port(port)} ${own ?? false}`);
  return [...same.values()].map((group) => ({
    proto: group[0]?.proto ?? 'tcp',
    ports: group.map(({ port }) => port).toSorted((a, b) => a - b),
    own: group[0]?.own ?? false,
  }));
}

/** Everyone, seen from one node. */
export type Parties = {
  readonly ownPods: readonly Group[];
  readonly farPods: readonly Group[];
  readonly own: readonly Group[];
  readonly ownBridge: readonly Group[];
  readonly ownOverlay: readonly Group[];
  readonly farNodes: readonly Group[];
  readonly farOverlays: readonly Group[];
  readonly farBridges: readonly Group[];
  readonly apiServers: readonly Group[];
};

function partiesOf(classified: Classified, name: string): Parties {
  const on = (kind: Kind, isMine: boolean): Group[] =>
    classified[kind].flatMap((same) => groupOf(same, (node) => (node === name) === isMine));
  return {
    ownPods: on('pods', true),
    farPods: on('pods', false),
    own: on('self', true),
    ownBridge: on('bridge', true),
    ownOverlay: on('overlay', true),
    farNodes: on('self', false),
    farOverlays: on('overlay', false),
    farBridges: on('bridge', false),
    apiServers: on('apiServers', false),
  };
}

/** The members of a class that are on certain nodes; none when there are none. */
function groupOf({ members, services }: Class, isThere: (node: string | null) => boolean): Group[] {
  const some: Member[] = [];
  for (const member of members) {
    if (some.length === 2) break;
    if (isThere(member.node)) some.push(member);
  }
  const list = (): string[] => members.filter(({ node }) => isThere(node)).map(({ ip }) => ip);
  return some.length === 0 ? [] : [{ some, services, list }];
}

type Probed = { readonly services: readonly Service[]; readonly isPinged: boolean };

/** What the run's own probes expect to reach, by address. */
function probedServices(probes: readonly Probe[]): ReadonlyMap<string, Probed> {
  const byAddress = Map.groupBy(
    probes.filter((probe) => probe.expect === 'reach'),
    (probe) => probe.packet.dst,
  );
  return new Map(
    [...byAddress].map(([ip, found]) => {
      const services = found.flatMap(({ packet: { proto, dport } }): Service[] =>
        (proto === 'tcp' || proto === 'udp') && dport !== undefined ? [{ proto, port: dport, own: true }] : [],
      );
      return [ip, { services, isPinged: found.some(({ packet }) => packet.proto === 'icmp') }];
    }),
  );
}

function isApiServer(endpoint: Endpoint): boolean {
  return endpoint.namespace === 'default' && endpoint.service === 'kubernetes' && endpoint.ready && familyOf(endpoint.ip) === 4;
}

function servicesOf({ ports }: Pick<Endpoint, 'ports'>): Service[] {
  return ports.flatMap(({ protocol, port }) =>
    protocol === 'SCTP' ? [] : [{ proto: protocol === 'UDP' ? ('udp' as const) : ('tcp' as const), port }],
  );
}

/** All pods; a node without one is stood for by the first address that its pods get. */
function podMembers(inventory: Inventory, probed: ReadonlyMap<string, Probed>): Member[] {
  const usable = inventory.pods.filter(
    (pod) => pod.ip !== null && familyOf(pod.ip) === 4 && !pod.hostNetwork && !pod.terminating,
  );
  const settled = new Set(usable.map(({ node }) => node));
  const behind = Map.groupBy(inventory.endpoints, (endpoint) => endpoint.ip);
  const anyPort: Service = { proto: 'tcp', port: ANY_PORT };
  const standIns = inventory.nodes.flatMap((node): Member[] => {
    const block = firstIPv4(node.podCIDRs);
    if (block === null || settled.has(node.name)) return [];
    const ip = addressAt(block, 2);
    return [{ node: node.name, ip, key: addressKey(ip), services: [anyPort], answersPing: true, mayCall: true }];
  });
  const members = usable.map((pod): Member => {
    const ip = pod.ip ?? '';
    const isolated = isolation(inventory, pod);
    const expected = probed.get(ip) ?? { services: [], isPinged: false };
    const declared = [...servicesOf(pod), ...(behind.get(ip) ?? []).flatMap(servicesOf)];
    const any = declared.some(({ proto }) => proto === 'tcp') ? [] : [anyPort];
    return {
      node: pod.node,
      ip,
      key: addressKey(ip),
      services: [...(isolated.ingress ? [] : [...declared, ...any]), ...expected.services],
      answersPing: !isolated.ingress || expected.isPinged,
      mayCall: !isolated.egress,
    };
  });
  return [...members, ...standIns];
}

/** The directions in which some NetworkPolicy selects a pod: there, not everything has to work. */
function isolation({ policies }: Inventory, pod: Pod): { readonly ingress: boolean; readonly egress: boolean } {
  const selecting = policies.filter(
    (policy) => policy.namespace === pod.namespace && matchesSelector(policy.podSelector, pod.labels),
  );
  return {
    ingress: selecting.some((policy) => policy.ingress !== null),
    egress: selecting.some((policy) => policy.egress !== null),
  };
}
