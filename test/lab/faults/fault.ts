import { type Layer, lowestLayer } from '../../../src/model/layer.ts';
import type { RunRequest, Verdict } from '../../../src/model/verdict.ts';
import type { Handle } from '../handle.ts';
import type { NetworkKind, Topology } from '../topology.ts';

/** Where a fault is put: a node, and for faults between two nodes the other one. */
export type At = { readonly node: string; readonly peer: string };

/** What a fault changed, as far as healing it needs to know. Kept in the lab's directory. */
export type Saved = Readonly<Record<string, string>>;

/**
 * What a verdict must say while a fault is there. `layer` is the verdict's; `codes` are the causes, all of them, with the
 * node that is accused; `located` the layers of what is located without a cause, all of those given; `risks` the codes of
 * risks; `nodes` what the scope must name; `notChecked` the nodes that must be listed as not checked; `mentions` what the
 * cause's summary or evidence must contain; `lost` which packets are lost as far as a symptom's direction follows from it:
 * those from the node, to it, or both, towards any other node or (`-peer`) the peer alone, or all to the node or the peer
 * (`to-either`); `lostOf` the addresses of the node whose packets these are, where not all of them: its pods', or those of
 * its podCIDR, the bridge's among them.
 */
export type Expectation = {
  readonly status: Verdict['status'];
  readonly layer: Layer | null;
  readonly codes: readonly { readonly code: string; readonly node?: string }[];
  readonly located?: { readonly layer: Layer; readonly others?: readonly Layer[] };
  readonly risks?: readonly string[];
  readonly nodes: readonly string[];
  readonly notChecked?: readonly string[];
  readonly mentions?: readonly string[];
  readonly lost?: 'from' | 'to' | 'both' | 'from-peer' | 'to-peer' | 'both-peer' | 'to-either';
  readonly lostOf?: 'pods' | 'pod-network';
};

/**
 * A fault that can be put into a lab. `row` is its row in the fault catalogue. `prove` throws when the fault is not
 * really there: something that must fail passes, or something that must pass fails. `heal` restores what was before.
 * `networks` are the kinds of lab that it can be put into; only flannel's vxlan without it.
 */
export type Fault = {
  readonly name: string;
  readonly row: string;
  readonly title: string;
  readonly placement: 'node' | 'pair' | 'cluster';
  readonly networks?: readonly NetworkKind[];
  /** The nodes that it can be put on, where not on every one. */
  readonly nodes?: (topology: Topology) => readonly string[];
  readonly inject: (lab: Handle, at: At) => Promise<Saved>;
  readonly prove: (lab: Handle, at: At) => Promise<void>;
  readonly heal: (lab: Handle, at: At, saved: Saved) => Promise<void>;
  readonly expects: (lab: Handle, at: At) => Expectation;
  /** What a run has to be asked to see it; the whole cluster where this is left out. */
  readonly request?: (lab: Handle, at: At) => RunRequest;
};

/** Most faults: traffic fails, and one cause on one node explains it. */
export function failedBy(code: string, layer: Layer, at: At, rest: Partial<Expectation> = {}): Expectation {
  return { status: 'failed', layer, codes: [{ code, node: at.node }], nodes: [at.node], ...rest };
}

/** Faults that no check knows: they can only be located. */
export function locatedOnly(status: Verdict['status'], layer: Layer, nodes: readonly string[]): Expectation {
  return { status, layer, codes: [], located: { layer }, nodes };
}

/** What a verdict must say of several faults at once, each on nodes of its own. */
export function together(expectations: readonly Expectation[]): Expectation {
  const all = <T>(of: (expected: Expectation) => readonly T[] | undefined): readonly T[] =>
    expectations.flatMap((expected) => of(expected) ?? []);
  const [layer, ...others] = new Set(all(({ located }) => (located === undefined ? [] : [located.layer])));
  return {
    status: expectations.some(({ status }) => status === 'failed') ? 'failed' : 'degraded',
    layer: lowestLayer(all(({ layer }) => (layer === null ? [] : [layer]))),
    codes: all(({ codes }) => codes),
    ...(layer === undefined ? {} : { located: { layer, others } }),
    nodes: all(({ nodes }) => nodes),
    risks: all(({ risks }) => risks),
    notChecked: all(({ notChecked }) => notChecked),
    mentions: all(({ mentions }) => mentions),
  };
}
