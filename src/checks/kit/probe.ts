import type { Entity } from '../../model/entity.ts';
import { entityName } from '../../model/entity.ts';
import type { Inventory, Node, Pod } from '../../model/inventory.ts';
import type { Layer } from '../../model/layer.ts';
import type { Packet } from '../../model/packet.ts';
import type { Probe, ProbeMethod } from '../../model/probe.ts';
import type { Neighbour } from './neighbours.ts';
import type { NodeNetwork } from './node-network.ts';
import { type Denial, denies } from './policy.ts';

/** The UDP port on which an agent counts datagrams, in the node's or the probe pod's namespace. */
export type ListeningPort = { readonly udp: number };

/**
 * A node as probes see it. `network` is null when its agent gave no facts; `neighbours` are its neighbour entries as they
 * were last read; `answers` is whether probes can be sent from it; `probePod` is netcheck's own pod there, with an
 * address, or null; `resolvers` are the DNS servers outside that the node asks, by their IPv4 addresses; `addresses` all that
 * its devices hold.
 */
export type ProbeNode = {
  readonly node: Node;
  readonly ip: string;
  readonly podCIDR: string | null;
  readonly network: NodeNetwork | null;
  readonly neighbours: readonly Neighbour[];
  readonly answers: boolean;
  readonly probePod: (Pod & { readonly ip: string }) | null;
  readonly listening: { readonly node: ListeningPort | null; readonly pod: ListeningPort | null };
  readonly resolvers: readonly string[];
  readonly addresses: readonly string[];
};

/**
 * What probes are planned from. `pairs` are the ordered pairs of different nodes that this run probes, with a source that
 * answers; `sources` the nodes that answer and are in scope, `targets` all that are in scope; `count` is how many packets a ping sends.
 */
export type ProbeContext = {
  readonly inventory: Inventory;
  readonly clusterDomain: string;
  readonly sources: readonly ProbeNode[];
  readonly targets: readonly ProbeNode[];
  readonly pairs: readonly (readonly [ProbeNode, ProbeNode])[];
  readonly count: number;
  /** The pod that the run was asked about, if it is about one: the only pod of a user that is ever probed. */
  readonly named: (Pod & { readonly ip: string }) | null;
};

/** A kind of probe of the catalogue. */
export type ProbeKind = {
  readonly id: string;
  readonly row: string;
  readonly layer: Layer;
  readonly title: string;
  readonly why: string;
  /** Pure: the probes of the first round. */
  readonly plan: (context: ProbeContext) => readonly Probe[];
  /**
   * Pure: the same way, one way only, counted by the receiver; null where nobody listens. Sent at once in a small cluster,
   * and wherever something fails without its direction being known.
   */
  readonly oneWay?: (source: ProbeNode, target: ProbeNode, context: OneWayContext) => Probe | null;
  /** Pure: what else to ask where the probes of the first round fail between two nodes, when all else has been read. */
  readonly followUp?: (source: ProbeNode, target: ProbeNode) => readonly Probe[];
};

export type OneWayContext = Pick<ProbeContext, 'inventory' | 'count'>;

/** Defines a kind of probe. */
export function defineProbe(kind: ProbeKind): ProbeKind {
  return kind;
}

/** What is particular to one probe; the rest follows from it. */
export type ProbeDraft = {
  readonly method: ProbeMethod;
  readonly layer?: Layer;
  readonly subject: Entity;
  readonly target: Entity;
  readonly from: Probe['from'];
  /** The node that the target is on, or null. */
  readonly on: string | null;
  readonly ip: string;
  readonly port?: number;
  readonly count?: number;
  readonly bytes?: number;
  readonly name?: string;
  readonly receiver?: string;
  readonly sibling?: string;
  readonly listens?: boolean;
  readonly ifSilent?: boolean;
  readonly every?: boolean;
  readonly denied?: Denial | null;
  readonly group?: string;
};

const PROTOCOL: Readonly<Record<ProbeMethod, Packet['proto']>> = {
  ping: 'icmp',
  tcp: 'tcp',
  http: 'tcp',
  tls: 'tcp',
  dns: 'udp',
  'dns-pair': 'udp',
  udp: 'udp',
  arp: 'arp',
  exec: 'tcp',
};

/** Packets that a TCP-based exchange is tried with at most; see the agent's `exchange`. */
export const ATTEMPTS = 3;

/**
 * Completes a probe of a kind. Its id says what it is, in words that a person can read in a list of symptoms, and is the
 * same in every run: ports are left out, an agent listens on another one each time.
 */
export function probe(kind: Pick<ProbeKind, 'id' | 'layer'>, draft: ProbeDraft): Probe {
  const { method, subject, target, from, ip, port, bytes, name, receiver, sibling, listens, ifSilent, every, denied, group } =
    draft;
  const proto = PROTOCOL[method];
  const size = bytes === undefined ? '' : ` ${bytes} bytes`;
  return {
    id: `${kind.id} ${method}${size} ${entityName(subject)} > ${entityName(target)} ${ip}`,
    check: kind.id,
    round: 1,
    method,
    layer: draft.layer ?? kind.layer,
    subject,
    target,
    from,
    to: { node: draft.on, ip, ...(port === undefined ? {} : { port }) },
    packet: {
      proto,
      src: from.ip,
      dst: ip,
      ...(port === undefined ? {} : { dport: port }),
      ...(bytes === undefined ? {} : { size: bytes, df: true }),
      state: 'new',
    },
    count: draft.count ?? ATTEMPTS,
    ...(bytes === undefined ? {} : { bytes, df: true }),
    ...(name === undefined ? {} : { name }),
    ...(receiver === undefined ? {} : { receiver }),
    ...(sibling === undefined ? {} : { sibling }),
    ...(listens === undefined ? {} : { listens }),
    ...(ifSilent === undefined ? {} : { ifSilent }),
    ...(every === undefined ? {} : { every }),
    expect: denied == null ? 'reach' : 'deny',
    ...(denied == null ? {} : { deniedBy: denied.policy }),
    ...(group === undefined ? {} : { group }),
  };
}

/** The node's own network namespace as the source of a probe. */
export function fromNode({ node, ip }: ProbeNode): Probe['from'] {
  return { node: node.name, pod: null, ip };
}

/** A node's probe pod as the source of a probe. */
export function fromPod(source: ProbeNode, pod: Pod & { readonly ip: string }): Probe['from'] {
  return { node: source.node.name, pod: `${pod.namespace}/${pod.name}`, ip: pod.ip };
}

/** The port of netcheck's own pod that accepts connections, from its spec; without one a refusal shows that it was reached. */
export function probePort(node: Node, pod: Pod): { readonly port: number; readonly listens: boolean } {
  const port = pod.ports.find(({ protocol }) => protocol === 'TCP')?.port;
  return { port: port ?? node.kubeletPort, listens: port !== undefined };
}

/** The two ends of a probe. */
type Ends = Pick<ProbeDraft, 'subject' | 'target' | 'from' | 'on' | 'ip'>;

/** A ping, and beside it a TCP connection to the same address: where only the ping fails, ping is filtered. */
export function pingAndTcp(
  kind: Pick<ProbeKind, 'id' | 'layer'>,
  ends: Ends,
  ping: Pick<ProbeDraft, 'denied'> & { readonly count: number },
  tcp: Pick<ProbeDraft, 'listens' | 'ifSilent' | 'denied'> & { readonly port: number },
): readonly [Probe, Probe] {
  const beside = probe(kind, { ...ends, ...tcp, method: 'tcp', layer: 'L4' });
  return [probe(kind, { ...ends, ...ping, method: 'ping', sibling: beside.id }), beside];
}

/** Datagrams to an address of a node's own, counted by the agent there. */
export function oneWayToNode(kind: Pick<ProbeKind, 'id' | 'layer'>, ends: Ends, target: ProbeNode, count: number): Probe | null {
  const port = target.listening.node?.udp;
  return port === undefined ? null : probe(kind, { ...ends, method: 'udp', port, count, receiver: target.node.name });
}

/** Datagrams to netcheck's pod on a node, counted by the agent inside it. */
export function oneWayToPod(
  kind: Pick<ProbeKind, 'id' | 'layer'>,
  ends: Ends,
  from: Pod | Node,
  target: ProbeNode,
  { inventory, count }: OneWayContext,
): Probe | null {
  const port = target.listening.pod?.udp;
  if (port === undefined || target.probePod === null) return null;
  const denied = denies(inventory, from, target.probePod, 'UDP', port);
  return probe(kind, { ...ends, method: 'udp', port, count, receiver: target.node.name, denied });
}
