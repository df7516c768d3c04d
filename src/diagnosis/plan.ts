import { PROBES } from '../checks/index.ts';
import { firstIPv4 } from '../checks/kit/cidr.ts';
import { corednsPods } from '../checks/kit/coredns.ts';
import type { Neighbour } from '../checks/kit/neighbours.ts';
import type { NodeNetwork } from '../checks/kit/node-network.ts';
import type { ListeningPort, ProbeContext, ProbeKind, ProbeNode } from '../checks/kit/probe.ts';
import type { Inventory, Node, Pod } from '../model/inventory.ts';
import type { Probe } from '../model/probe.ts';
import type { NotChecked, RunRequest } from '../model/verdict.ts';
import { Exchange } from '../model/wire/agent.ts';
import { isHalfAnswered, type Judged, nodesOf, pairKey } from './classify.ts';
import { counted, sortNames } from './words.ts';

/** Packets of a ping: as many as keep a node's sweep at about this many packets in all, between the two bounds. */
const PACKETS_PER_NODE = 400;
const MIN_PACKETS = 2;
const MAX_PACKETS = 20;

/** Up to so many nodes every way between nodes is measured one way as well, at once; beyond, where something fails. */
const ONE_WAY_AT_ONCE = 20;

/** Packets that a lossy way is measured with, and one of which only the direction is asked. */
const LOSS_PACKETS = 100;
const DIRECTION_PACKETS = 10;

/** Pairs of queries that are sent when one of few was answered only by half. */
const PAIRS_AGAIN = 40;

/** How many measurements of loss, and how many pairs for each kind of probe, one second round makes at most. */
const MAX_FOCUS = 48;
const MAX_PAIRS = 6;

/** Methods that ask and are answered, other than ping. */
const EXCHANGES: ReadonlySet<Probe['method']> = new Set<Probe['method']>([...Exchange.shape.method.options, 'dns-pair']);

/**
 * What is left in the tables of a node that does not say, for the kernel's defaults: entries up to which no neighbour is ever
 * thrown out (gc_thresh1), and connections on a machine with more than 1 GiB. Source: arp(7), nf_conntrack-sysctl.
 */
const DEFAULT_FREE_NEIGHBOURS = 128;
const DEFAULT_FREE_CONNTRACK = 65_536;

/** From how many sources a target that fails is asked in another way. */
const FOLLOW_UPS = 4;

/** What a node that answers said of itself before the sweep. `free` entries of its tables, infinite without one; null where it could not be read. */
export type NodeState = {
  readonly network: NodeNetwork | null;
  readonly neighbours: readonly Neighbour[];
  readonly listening: { readonly node: ListeningPort | null; readonly pod: ListeningPort | null };
  readonly resolvers: readonly string[];
  readonly addresses: readonly string[];
  readonly freeNeighbours: number | null;
  readonly freeConntrack: number | null;
};

/** The nodes that a run asks: every Linux node with an address. The others are named, with the reason. */
export function nodesToAsk(inventory: Inventory): {
  readonly nodes: readonly (Node & { readonly ip: string })[];
  readonly omitted: readonly NotChecked[];
} {
  const nodes: (Node & { readonly ip: string })[] = [];
  const omitted: NotChecked[] = [];
  for (const node of inventory.nodes) {
    if (node.os !== 'linux')
      omitted.push({ what: 'every check', where: node.name, reason: `${node.os} nodes are not supported` });
    else if (node.ip === null)
      omitted.push({ what: 'every check', where: node.name, reason: 'the Node object has no InternalIP' });
    else nodes.push({ ...node, ip: node.ip });
  }
  return { nodes, omitted };
}

/** netcheck's own pod on a node, if it runs and has an address. */
export function probePodOf(inventory: Inventory, node: string): (Pod & { readonly ip: string }) | null {
  const pod = inventory.pods.find(
    (candidate) =>
      candidate.node === node &&
      candidate.namespace === inventory.agentNamespace &&
      candidate.labels['app.kubernetes.io/name'] === 'netcheck-probe' &&
      candidate.phase === 'Running' &&
      !candidate.terminating,
  );
  return pod?.ip == null ? null : { ...pod, ip: pod.ip };
}

/**
 * The probes of the first round that start on the given nodes. `states` holds what the nodes that answered said;
 * `sources` are the ones to plan for now (a node that answers late is planned for when it does). Pure.
 */
export function planSweep(
  inventory: Inventory,
  request: RunRequest,
  nodes: readonly (Node & { readonly ip: string })[],
  states: ReadonlyMap<string, NodeState>,
  sources: ReadonlySet<string>,
): { readonly probes: readonly Probe[]; readonly omitted: readonly NotChecked[] } {
  const named = namedPod(inventory, request);
  const isInScope = (name: string): boolean =>
    request.kind === 'cluster' || name === (request.kind === 'node' ? request.node : named?.node);
  const all = nodes.map((node) => probeNode(inventory, node, states.get(node.name)));
  const answering = all.filter(({ node }) => sources.has(node.name));
  const omitted: NotChecked[] = [];
  const pairs = answering.flatMap((source) => {
    const wanted = all.filter((target) => target !== source && (isInScope(source.node.name) || isInScope(target.node.name)));
    const state = states.get(source.node.name);
    const budget = peersWithin(state, wanted.length);
    if (budget.peers < wanted.length) {
      omitted.push({
        what: `probes of ${counted(wanted.length - budget.peers, 'peer')}`,
        where: source.node.name,
        reason: budget.isKnown
          ? `the sweep would use more than its share of the node's ${budget.table}`
          : `the limits of the node's ${budget.table} could not be read, and the sweep would use more than its share of one with the kernel's defaults`,
      });
    }
    return rotated(wanted, all.indexOf(source))
      .slice(0, budget.peers)
      .map((target) => [source, target] as const);
  });
  const context: ProbeContext = {
    inventory,
    clusterDomain: clusterDomain(inventory),
    sources: answering.filter(({ node }) => isInScope(node.name)),
    targets: all.filter(({ node }) => isInScope(node.name)),
    pairs,
    count: packetsFor(all.length),
    named: named?.ip == null ? null : { ...named, ip: named.ip },
  };
  const kinds = Object.values(PROBES);
  const oneWay =
    all.length > ONE_WAY_AT_ONCE
      ? []
      : kinds.flatMap((kind) => pairs.flatMap(([source, target]) => kind.oneWay?.(source, target, context) ?? []));
  const known = new Map([...kinds.flatMap((kind) => kind.plan(context)), ...oneWay].map((probe) => [probe.id, probe]));
  return { probes: [...known.values()], omitted };
}

/** Probes that are sent when the rest of the first round is through; some `instead` of one that is planned, by its id. */
export type LatePlan = { readonly probes: readonly Probe[]; readonly instead: ReadonlyMap<string, Probe> };

/**
 * What nodes that answered late make of the plan: the probes that go one way to them, as they began to listen when others
 * had been swept, and packets of full size whose target takes others than those that were sent before it said so.
 * `sources` are the nodes that can still send, `only` the ids that are wanted, of all when absent. Pure.
 */
export function planLate(
  inventory: Inventory,
  request: RunRequest,
  nodes: readonly (Node & { readonly ip: string })[],
  states: ReadonlyMap<string, NodeState>,
  sources: ReadonlySet<string>,
  planned: readonly Probe[],
  only?: ReadonlySet<string>,
): LatePlan {
  const known = new Set(planned.map(({ id }) => id));
  const bySize = new Map(planned.flatMap((probe) => (probe.bytes === undefined ? [] : [[sizedWay(probe), probe.id] as const])));
  const probes = planSweep(inventory, request, nodes, states, sources).probes.flatMap((probe) =>
    !known.has(probe.id) &&
    (only?.has(probe.id) ?? true) &&
    (probe.bytes !== undefined || (probe.method === 'udp' && listensAtOnce(nodes)))
      ? [{ ...probe, late: true }]
      : [],
  );
  const instead = probes.flatMap((probe) => {
    const before = probe.bytes === undefined ? undefined : bySize.get(sizedWay(probe));
    return before === undefined ? [] : [[before, probe] as const];
  });
  return { probes, instead: new Map(instead) };
}

/** What a packet of full size is sent for, whatever its size. */
function sizedWay({ check, from, to }: Probe): string {
  return `${check} ${from.node} ${from.pod ?? ''} ${to.ip}`;
}

/** Whether agents open their ears before the sweep. */
export function listensAtOnce(nodes: readonly unknown[]): boolean {
  return nodes.length <= ONE_WAY_AT_ONCE;
}

/** The pod that a run is about, or null: it is about another thing, or there is no such pod. */
export function namedPod(inventory: Inventory, request: RunRequest): Pod | null {
  if (request.kind !== 'pod') return null;
  return inventory.pods.find(({ namespace, name }) => namespace === request.namespace && name === request.pod) ?? null;
}

/** Why the pod that a run is about cannot be probed. */
export function unreachable(inventory: Inventory, request: RunRequest): readonly NotChecked[] {
  const pod = namedPod(inventory, request);
  if (pod === null || (pod.ip !== null && pod.phase === 'Running')) return [];
  const waits = pod.conditions.find(({ status, message, reason }) => status !== 'True' && (message !== '' || reason !== ''));
  const why = waits === undefined ? '' : ` (${waits.type}: ${waits.message || waits.reason})`;
  const state = pod.ip === null ? `it has no address, its phase is ${pod.phase}` : `its phase is ${pod.phase}`;
  return [{ what: 'probes to the pod', where: `${pod.namespace}/${pod.name}`, reason: `${state}${why}` }];
}

/** What follows from missing probe pods or DNS pods: probes that cannot even be planned. */
export function unplannable(inventory: Inventory, nodes: readonly Node[]): readonly NotChecked[] {
  const without = nodes.filter((node) => probePodOf(inventory, node.name) === null);
  const reason = `no running pod of the DaemonSet netcheck-probe in ${inventory.agentNamespace}`;
  const gaps: NotChecked[] =
    without.length === 0
      ? []
      : [{ what: 'probes from and to pods', where: sortNames(without.map(({ name }) => name)).join(', '), reason }];
  if (corednsPods(inventory).length > 0) return gaps;
  return [...gaps, { what: 'cluster DNS', where: 'kube-system', reason: 'no running pod with the label k8s-app=kube-dns' }];
}

function probeNode(inventory: Inventory, node: Node & { readonly ip: string }, state: NodeState | undefined): ProbeNode {
  return {
    node,
    ip: node.ip,
    podCIDR: firstIPv4(node.podCIDRs),
    network: state?.network ?? null,
    neighbours: state?.neighbours ?? [],
    answers: state !== undefined,
    probePod: probePodOf(inventory, node.name),
    listening: state?.listening ?? { node: null, pod: null },
    resolvers: state?.resolvers ?? [],
    addresses: state?.addresses ?? [],
  };
}

/**
 * How many peers a node may probe: at most half of the neighbour entries that are left until the kernel collects
 * garbage, and one percent of the free connection-tracking entries; `isKnown` says whether the node told how many those
 * are. The sweep must never be the fault.
 */
function peersWithin(
  state: NodeState | undefined,
  wanted: number,
): { readonly peers: number; readonly table: string; readonly isKnown: boolean } {
  const flowsPerPeer = 12;
  const neighbours = state?.freeNeighbours ?? null;
  const conntrack = state?.freeConntrack ?? null;
  const byNeighbours = Math.max(1, Math.floor((neighbours ?? DEFAULT_FREE_NEIGHBOURS) / 2));
  const byConntrack = Math.max(1, Math.floor((conntrack ?? DEFAULT_FREE_CONNTRACK) / 100 / flowsPerPeer));
  return byNeighbours <= byConntrack
    ? { peers: Math.min(wanted, byNeighbours), table: 'neighbour table', isKnown: neighbours !== null }
    : { peers: Math.min(wanted, byConntrack), table: 'conntrack table', isKnown: conntrack !== null };
}

/** Each node begins with another peer, so that peers beyond a budget differ from node to node. */
function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function packetsFor(nodes: number): number {
  // Address of the node, of its bridge and of its pod, and the pod's own sweep.
  const targets = 4 * Math.max(1, nodes - 1);
  return Math.min(MAX_PACKETS, Math.max(MIN_PACKETS, Math.floor(PACKETS_PER_NODE / targets)));
}

/** The cluster's DNS domain, as CoreDNS is configured for it; `cluster.local` where that cannot be read. */
export function clusterDomain(inventory: Inventory): string {
  return configuredDomain(inventory) ?? 'cluster.local';
}

/** The cluster's DNS domain in the configuration of CoreDNS, or null. */
export function configuredDomain(inventory: Inventory): string | null {
  const corefile = inventory.configs['kube-system/coredns']?.['Corefile'] ?? '';
  return /^\s*kubernetes\s+([^\s{]+)/m.exec(corefile)?.[1] ?? null;
}

/**
 * What is to be measured again: ways on which packets were lost, exchanges without an answer, or some, where nothing else fails,
 * failures that have a follow-up, and failures of which the direction is not known. `ears` are the nodes that have to
 * listen for it, in their own namespace or in that of their probe pod.
 */
export type Focus = {
  readonly lossy: readonly Judged[];
  readonly unanswered: readonly Judged[];
  readonly followUps: readonly { readonly kind: ProbeKind; readonly from: string; readonly to: string }[];
  readonly directions: readonly {
    readonly kind: ProbeKind;
    readonly from: string;
    readonly to: string;
    readonly count: number;
  }[];
  readonly ears: { readonly node: readonly string[]; readonly pod: readonly string[] };
};

/** Chooses what the second round measures, or null where there is nothing to. `answering` are the nodes that can. Pure. */
export function chooseFocus(judged: readonly Judged[], answering: ReadonlySet<string>): Focus | null {
  const broken = judged.filter(
    ({ probe, meaning }) => (meaning === 'fail' || meaning === 'lossy') && probe.method === 'ping' && probe.bytes === undefined,
  );
  const known = new Set(
    judged.filter(({ probe, meaning }) => probe.method === 'udp' && meaning !== 'unknown').map(({ probe }) => wayKey(probe)),
  );
  const directions: Focus['directions'][number][] = [];
  for (const kind of Object.values(PROBES)) {
    if (kind.oneWay === undefined) continue;
    const pairs = new Map<string, Judged>();
    for (const item of broken) {
      const { check, from, to } = item.probe;
      if (check !== kind.id || to.node === null || !answering.has(from.node) || !answering.has(to.node)) continue;
      // Loss is measured again with more packets even where datagrams have been counted.
      if (known.has(wayKey(item.probe)) && item.meaning === 'fail') continue;
      pairs.set(pairKey(item.probe), item);
    }
    for (const { probe, meaning } of [...pairs.values()].slice(0, MAX_PAIRS)) {
      const count = meaning === 'lossy' ? LOSS_PACKETS : DIRECTION_PACKETS;
      const [a, b] = [probe.from.node, probe.to.node ?? ''];
      directions.push({ kind, from: a, to: b, count }, { kind, from: b, to: a, count });
    }
  }
  const lossy = broken.filter(({ meaning }) => meaning === 'lossy');
  const followUps = chooseFollowUps(broken);
  const failing = new Set(
    broken.filter(({ meaning }) => meaning === 'fail').flatMap(({ probe }) => [nodesOf(probe), probe.from.node]),
  );
  const unanswered = judged
    .filter(
      ({ probe, result, meaning }) =>
        isHalfAnswered(result) ||
        ((meaning === 'fail' || (meaning === 'lossy' && probe.every === true)) &&
          result.how === 'timeout' &&
          EXCHANGES.has(probe.method)),
    )
    .filter(({ probe }) => !failing.has(nodesOf(probe)));
  if ([directions, lossy, followUps, unanswered].every((list) => list.length === 0)) return null;
  // Whether a kind ends in a pod or on the node is seen from any of its probes.
  const inPod = new Set(
    broken.filter(({ probe }) => probe.target.kind === 'Pod' || probe.from.pod !== null).map(({ probe }) => probe.check),
  );
  const earsOf = (isPod: boolean): readonly string[] =>
    sortNames(directions.filter(({ kind }) => inPod.has(kind.id) === isPod).flatMap(({ from, to }) => [from, to]));
  return { lossy, unanswered, followUps, directions, ears: { node: earsOf(false), pod: earsOf(true) } };
}

/** Failing ways that have a follow-up: a few sources for each target that fails are enough. */
function chooseFollowUps(broken: readonly Judged[]): Focus['followUps'] {
  const failing = broken.filter(({ meaning }) => meaning === 'fail');
  return Object.values(PROBES)
    .filter((kind) => kind.followUp !== undefined)
    .flatMap((kind) => {
      const byTarget = Map.groupBy(
        failing.filter(({ probe }) => probe.check === kind.id),
        ({ probe }) => probe.to.ip,
      );
      return [...byTarget.values()].flatMap((group) =>
        group
          .slice(0, FOLLOW_UPS)
          .flatMap(({ probe }) => (probe.to.node === null ? [] : [{ kind, from: probe.from.node, to: probe.to.node }])),
      );
    });
}

/**
 * The probes of the second round: the lossy ones again with 100 packets, each beside one of the same source that lost
 * nothing as its control, the unanswered ones as they were, and every way of which the direction is asked. Pure.
 */
export function planFocus(
  focus: Focus,
  judged: readonly Judged[],
  inventory: Inventory,
  nodes: readonly (Node & { readonly ip: string })[],
  states: ReadonlyMap<string, NodeState>,
): readonly Probe[] {
  const all = new Map(nodes.map((node) => [node.name, probeNode(inventory, node, states.get(node.name))]));
  const pairs = new Set(focus.lossy.map(({ probe }) => pairKey(probe)));
  const sources = new Set(focus.lossy.map(({ probe }) => probe.from.node));
  const controls = judged.filter(
    ({ probe, meaning }) =>
      probe.method === 'ping' &&
      probe.bytes === undefined &&
      meaning === 'pass' &&
      sources.has(probe.from.node) &&
      !pairs.has(pairKey(probe)),
  );
  const onePerSource = [...Map.groupBy(controls, ({ probe }) => `${probe.from.node} ${probe.from.pod}`).values()].flatMap(
    (group) => group.slice(0, 1),
  );
  const again = [
    ...[...focus.lossy.slice(0, MAX_FOCUS), ...onePerSource.slice(0, MAX_FOCUS)].map(({ probe }) =>
      repeated(probe, LOSS_PACKETS),
    ),
    ...focus.unanswered
      .slice(0, MAX_FOCUS)
      .map(({ probe }) => repeated(probe, probe.method === 'dns-pair' ? PAIRS_AGAIN : probe.count)),
  ];
  const oneWay = focus.directions.flatMap(({ kind, from, to, count }) => {
    const [source, target] = [all.get(from), all.get(to)];
    const probe =
      source === undefined || target === undefined ? null : (kind.oneWay?.(source, target, { inventory, count }) ?? null);
    return probe === null ? [] : [repeated(probe, count)];
  });
  return [...new Map([...again, ...oneWay].map((probe) => [probe.id, probe])).values()];
}

/**
 * What is asked last, when everything else has been measured: an answer to it may mend what there was to find. Pure.
 */
export function planFollowUps(
  { followUps }: Focus,
  inventory: Inventory,
  nodes: readonly (Node & { readonly ip: string })[],
  states: ReadonlyMap<string, NodeState>,
): readonly Probe[] {
  const all = new Map(nodes.map((node) => [node.name, probeNode(inventory, node, states.get(node.name))]));
  return followUps.flatMap(({ kind, from, to }) => {
    const [source, target] = [all.get(from), all.get(to)];
    return source === undefined || target === undefined
      ? []
      : (kind.followUp?.(source, target) ?? []).map((probe) => ({ ...probe, round: 2 }));
  });
}

/** The same probe in the second round, under an id of its own, whatever a ping says. */
function repeated({ ifSilent: _ifSilent, ...probe }: Probe, count: number): Probe {
  return { ...probe, id: `${probe.id} x${count}`, repeats: probe.id, round: 2, count };
}

function wayKey({ check, from, to }: Probe): string {
  return `${check} ${from.node} ${to.node ?? to.ip}`;
}
