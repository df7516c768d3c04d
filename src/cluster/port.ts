import type { AgentFault } from '../model/evidence.ts';
import type { Inventory, Pod } from '../model/inventory.ts';

/**
 * A failure of the cluster, in words that a verdict can repeat. `conflict`: a write found another state than the one it
 * was meant for, and changed nothing. `invalid`: a configuration or an answer that cannot be used.
 */
export type ClusterFault = {
  readonly kind: 'forbidden' | 'unauthorized' | 'timeout' | 'unreachable' | 'not-found' | 'throttled' | 'conflict' | 'invalid';
  readonly message: string;
};

export type ClusterResult<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: ClusterFault };

/**
 * A live connection to the agent of one node: its standard input and output, nothing else. `output` yields chunks as
 * they arrive and ends when the agent did; `ended` resolves, never rejects, once the output was read, with null after a
 * clean exit (status 0) or with what went wrong. A clean exit is no proof that nothing is missing: API servers report
 * one, too, when they lose the node half-way (kubernetes/kubectl#1726); only the agent's own last message is. `close`
 * ends the connection at once; calling it again does nothing.
 */
export type AgentConnection = {
  readonly output: AsyncIterable<Uint8Array>;
  readonly write: (chunk: Uint8Array) => void;
  readonly ended: Promise<AgentFault | null>;
  readonly close: () => void;
};

/**
 * A cluster, as diagnosis sees it. Implementations never throw for what a cluster can do wrong: they return a fault.
 * `signal` aborts the call.
 */
export type Cluster = {
  /** The cluster's name, as it appears in verdicts and queue names. */
  readonly name: string;
  /**
   * Reads nodes, pods, services, endpoints, policies and the few ConfigMaps by name. Fails only when nothing useful
   * could be read (no Nodes); what else could not be read is in `gaps`.
   */
  readonly inventory: (signal: AbortSignal) => Promise<ClusterResult<Inventory>>;
  /**
   * Opens the agent of a node (`netcheck-agent collect`), found in the latest inventory. The agent speaks first: its
   * first byte is the only proof that it runs, so this waits for it. Fails with a fault that is fit for `notChecked`, at
   * the latest when the signal aborts; from then on the signal has no effect and `close` ends the connection.
   */
  readonly openAgent: (
    node: string,
    signal: AbortSignal,
  ) => Promise<{ readonly ok: true; readonly value: AgentConnection } | { readonly ok: false; readonly fault: AgentFault }>;
  readonly close: () => Promise<void>;
};

/** One object of the Kubernetes API; `resource` is the plural in the path, `group` is empty for the core group. */
export type ObjectRef = {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly namespace?: string;
  readonly name: string;
};

/** An object as it was read or written, with what a later write can be tied to. */
export type StoredObject = {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly object: Readonly<Record<string, unknown>>;
};

/**
 * What the cluster's own Events are to tell, once: an Event of that `name` is never written twice. It is about a node, or
 * about the cluster as a whole where `node` is null. `reason` is a word in CamelCase, `message` one line.
 */
export type ClusterEvent = {
  readonly name: string;
  readonly node: { readonly name: string; readonly uid: string } | null;
  readonly isGood: boolean;
  readonly reason: string;
  readonly message: string;
};

/** A right that is asked about: `subresource`, `namespace` and `name` narrow it down. */
export type Access = {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
};

/**
 * What remedies write. Nothing is ever retried: after a `timeout` or `unreachable` the outcome is unknown, and has to be
 * read, not repeated.
 */
export type ClusterWriter = {
  /** Opens the remedy container of a node's agent (`netcheck-agent remedy`); otherwise as `openAgent`. */
  readonly openRemedyAgent: Cluster['openAgent'];
  readonly read: (ref: ObjectRef, signal: AbortSignal) => Promise<ClusterResult<StoredObject>>;
  /** A JSON merge patch that applies only to this uid at this resource version; else `conflict`. */
  readonly patch: (
    ref: ObjectRef,
    patch: Readonly<Record<string, unknown>>,
    precondition: { readonly uid: string; readonly resourceVersion: string },
    signal: AbortSignal,
  ) => Promise<ClusterResult<StoredObject>>;
  /** The pods of one namespace. */
  readonly listPods: (namespace: string, signal: AbortSignal) => Promise<ClusterResult<readonly Pod[]>>;
  /** Deletes exactly the pod with this uid; else `conflict`, or `not-found`. */
  readonly deletePod: (
    pod: { readonly namespace: string; readonly name: string },
    uid: string,
    signal: AbortSignal,
  ) => Promise<ClusterResult<null>>;
  /** Writes an Event. One that is there already is a `conflict`. */
  readonly writeEvent: (event: ClusterEvent, signal: AbortSignal) => Promise<ClusterResult<null>>;
  /** Whether the credentials in use have a right. */
  readonly canI: (access: Access, signal: AbortSignal) => Promise<ClusterResult<boolean>>;
};
