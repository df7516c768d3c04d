import type { Entity } from '../../model/entity.ts';
import { entityName } from '../../model/entity.ts';
import type { Inventory, Node, Pod } from '../../model/inventory.ts';
import type { Layer } from '../../model/layer.ts';
import type { Packet } from '../../model/packet.ts';
import type { Probe, ProbeMethod } from '../../model/probe.ts';
import type { NodeNetwork } from './node-network.ts';
import { type Denial, denies } from './policy.ts';

/** The ports on which an agent counts datagrams and accepts connections, in the node's or the probe pod's namespace. */
export type ListeningPorts = { readonly udp: number; readonly tcp: number };

/**
 * A node as probes see it. `network` is null when its agent gave no facts; `answers` is whether probes can be sent from
 * it; `probePod` is netcheck's own pod there, with an address, or null.
 */
export type ProbeNode = {
  readonly node: Node;
  readonly ip: string;
  readonly podCIDR: string | null;
  readonly network: NodeNetwork | null;
  readonly answers: boolean;
  readonly probePod: (Pod & { readonly ip: string }) | null;
  readonly answersInPod: boolean;
  readonly listening: { readonly node: ListeningPorts | null; readonly pod: ListeningPorts | null };
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
};

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
  readonly denied?: Denial | null;
};

const PROTOCOL: Readonly<Record<ProbeMethod, Packet['proto']>> = {
  ping: 'icmp',
  tcp: 'tcp',
  http: 'tcp',
  tls: 'tcp',
  dns: 'udp',
  udp: 'udp',
  arp: 'arp',
  exec: 'tcp',
};

/** Packets that a TCP-based exchange is tried with at most; see the agent's `exchange`. */
export const ATTEMPTS = 5;

/**
 * Completes a probe of a kind. Its id says what it is, in words that a person can read in a list of symptoms, and is the
 * same in every run: ports are left out, an agent listens on another one each time.
 */
export function probe(kind: Pick<ProbeKind, 'id' | 'layer'>, draft: ProbeDraft): Probe {
  const { method, subject, target, from, ip, port, bytes, name, receiver, sibling, listens, denied } = draft;
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
    expect: denied == null ? 'reach' : 'deny',
    ...(denied == null ? {} : { deniedBy: denied.policy }),
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

/** Whether a NetworkPolicy denies a probe; see `denies`. */
export function denial(
  inventory: Inventory,
  from: Pod | Node,
  to: Pod,
  protocol: 'TCP' | 'UDP' | 'ICMP',
  port?: number,
): Denial | null {
  return denies(inventory, from, to, protocol, port);
}
