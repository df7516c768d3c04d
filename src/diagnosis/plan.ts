import { PROBES } from '../checks/index.ts';
import { firstIPv4 } from '../checks/kit/cidr.ts';
import { corednsPods } from '../checks/kit/coredns.ts';
import type { NodeNetwork } from '../checks/kit/node-network.ts';
import type { ListeningPorts, ProbeContext, ProbeNode } from '../checks/kit/probe.ts';
import type { Inventory, Node, Pod } from '../model/inventory.ts';
import type { Probe } from '../model/probe.ts';
import type { NotChecked, RunRequest } from '../model/verdict.ts';
import type { Judged } from './classify.ts';
import { counted, sortNames } from './words.ts';

/** Packets of a ping: as many as keep a node's sweep at about this many packets in all, between the two bounds. */
const PACKETS_PER_NODE = 1500;
const MIN_PACKETS = 4;
const MAX_PACKETS = 20;

/** Packets that a lossy pair is measured with, and how many such measurements one run makes. */
const FOCUS_PACKETS = 100;
const MAX_FOCUS = 48;

/** What a node that answers said of itself before the sweep. `free` entries of its tables; null where it could not be read. */
export type NodeState = {
  readonly network: NodeNetwork | null;
  readonly listening: { readonly node: ListeningPorts | null; readonly pod: ListeningPorts | null };
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
  const isInScope = (name: string): boolean => request.kind === 'cluster' || request.node === name;
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
        reason: `the sweep would use more than its share of the node's ${budget.table}`,
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
  };
  const known = new Map(
    Object.values(PROBES)
      .flatMap((kind) => kind.plan(context))
      .map((probe) => [probe.id, probe]),
  );
  return { probes: [...known.values()], omitted };
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
    answers: state !== undefined,
    probePod: probePodOf(inventory, node.name),
    answersInPod: state?.listening.pod != null,
    listening: state?.listening ?? { node: null, pod: null },
  };
}

/**
 * How many peers a node may probe: at most half of the neighbour entries that are left until the kernel collects
 * garbage, and one percent of the free connection-tracking entries. The sweep must never be the fault.
 */
function peersWithin(state: NodeState | undefined, wanted: number): { readonly peers: number; readonly table: string } {
  const flowsPerPeer = 12;
  const byNeighbours = state?.freeNeighbours == null ? wanted : Math.max(1, Math.floor(state.freeNeighbours / 2));
  const byConntrack = state?.freeConntrack == null ? wanted : Math.max(1, Math.floor(state.freeConntrack / 100 / flowsPerPeer));
  return byNeighbours <= byConntrack
    ? { peers: Math.min(wanted, byNeighbours), table: 'neighbour table' }
    : { peers: Math.min(wanted, byConntrack), table: 'conntrack table' };
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
  const corefile = inventory.configs['kube-system/coredns']?.['Corefile'] ?? '';
  return /^\s*kubernetes\s+([^\s{]+)/m.exec(corefile)?.[1] ?? 'cluster.local';
}

/**
 * The second round: wherever packets were lost, the same again with 100 packets, each way by itself too, and from the
 * same source to a target that lost none, as the control. Pure.
 */
export function planFocus(judged: readonly Judged[]): readonly Probe[] {
  const lossy = judged.filter(({ meaning }) => meaning === 'lossy');
  if (lossy.length === 0) return [];
  const isCounting = ({ probe }: Judged): boolean =>
    (probe.method === 'ping' && probe.bytes === undefined) || probe.method === 'udp';
  const pairs = new Set(lossy.flatMap(({ probe }) => (probe.to.node === null ? [] : [pairKey(probe)])));
  const suspected = judged.filter((item) => isCounting(item) && pairs.has(pairKey(item.probe)));
  const involved = new Set(lossy.flatMap(({ probe }) => [probe.from.node, probe.to.node ?? '']));
  const controls = judged.filter(
    (item) =>
      isCounting(item) && item.meaning === 'pass' && involved.has(item.probe.from.node) && !pairs.has(pairKey(item.probe)),
  );
  const onePerSource = [
    ...Map.groupBy(controls, ({ probe }) => `${probe.from.node} ${probe.from.pod} ${probe.method}`).values(),
  ].flatMap((group) => group.slice(0, 1));
  return [...suspected.slice(0, MAX_FOCUS), ...onePerSource.slice(0, MAX_FOCUS)].map(({ probe }) => ({
    ...probe,
    id: `${probe.id} x${FOCUS_PACKETS}`,
    repeats: probe.id,
    round: 2,
    count: FOCUS_PACKETS,
  }));
}

function pairKey({ from, to }: Probe): string {
  return [from.node, to.node ?? to.ip].sort().join(' ');
}
