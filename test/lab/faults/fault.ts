import type { Layer } from '../../../src/model/layer.ts';
import type { Verdict } from '../../../src/model/verdict.ts';
import type { Handle } from '../handle.ts';

/** Where a fault is put: a node, and for faults between two nodes the other one. */
export type At = { readonly node: string; readonly peer: string };

/** What a fault changed, as far as healing it needs to know. Kept in the lab's directory. */
export type Saved = Readonly<Record<string, string>>;

/**
 * What a verdict must say while a fault is there. `layer` is the verdict's; `codes` are the causes, all of them, with the
 * node that is accused; `located` the layers of what is located without a cause, one of those given; `risks` the codes of
 * risks; `nodes` what the scope must name; `notChecked` the nodes that must be listed as not checked; `mentions` what the
 * cause's summary or evidence must contain.
 */
export type Expectation = {
  readonly status: Verdict['status'];
  readonly layer: Layer | null;
  readonly codes: readonly { readonly code: string; readonly node?: string }[];
  readonly located?: { readonly layer: Layer };
  readonly risks?: readonly string[];
  readonly nodes: readonly string[];
  readonly notChecked?: readonly string[];
  readonly mentions?: readonly string[];
};

/**
 * A fault that can be put into a lab. `row` is its row in the fault catalogue. `prove` throws when the fault is not
 * really there: something that must fail passes, or something that must pass fails. `heal` restores what was before.
 */
export type Fault = {
  readonly name: string;
  readonly row: string;
  readonly title: string;
  readonly placement: 'node' | 'pair' | 'cluster';
  readonly inject: (lab: Handle, at: At) => Promise<Saved>;
  readonly prove: (lab: Handle, at: At) => Promise<void>;
  readonly heal: (lab: Handle, at: At, saved: Saved) => Promise<void>;
  readonly expects: (lab: Handle, at: At) => Expectation;
};

/** Most faults: traffic fails, and one cause on one node explains it. */
export function failedBy(code: string, layer: Layer, at: At, rest: Partial<Expectation> = {}): Expectation {
  return { status: 'failed', layer, codes: [{ code, node: at.node }], nodes: [at.node], ...rest };
}

/** Faults that no check knows: they can only be located. */
export function locatedOnly(status: Verdict['status'], layer: Layer, nodes: readonly string[]): Expectation {
  return { status, layer, codes: [], located: { layer }, nodes };
}
