import type { z } from 'zod';
import type { Citation } from '../model/finding.ts';
import type { RiskClass } from '../model/remedy.ts';

/** What a remedy needs of the node that it runs on. Both report failure by throwing, with a sentence. */
export type Host = {
  /** Runs a command and returns its standard output; throws unless it ends with status 0. */
  readonly run: (argv: readonly string[]) => Promise<string>;
};

/**
 * A typed fix. Everything but `read` is pure, so that what a card shows is what runs.
 *
 * `S` is the state that it changes, as read on the node: enough to tell whether the finding still holds, and to undo.
 */
export type Remedy<P, S> = {
  /** Equals the folder, and what findings offer. */
  readonly id: string;
  readonly title: string;
  /** What can go wrong, for the person who approves. */
  readonly risk: string;
  /**
   * How much it can break. `low`: a moment's delay for packets that fail anyway. `medium`: changes how a node or the
   * cluster treats traffic. `high`: can interrupt traffic that works.
   */
  readonly riskClass: RiskClass;
  /** How the prior state comes back; null where it cannot, and then `irreversible` says why. */
  readonly undo: string | null;
  readonly irreversible?: string;
  readonly params: z.ZodType<P>;
  readonly state: z.ZodType<S>;
  /** The exact commands, in order. */
  readonly commands: (params: P) => readonly (readonly string[])[];
  /** Reads, on the node, what the commands will change. */
  readonly read: (params: P, host: Host) => Promise<S>;
  /** Null while the finding holds in this state; else why nothing is to be done any more. */
  readonly obsolete: (params: P, state: S) => string | null;
  /** The state in words, for before and after. */
  readonly describe: (params: P, state: S) => readonly Omit<Citation, 'where'>[];
  /** The commands that bring a prior state back. */
  readonly undoCommands: (params: P, prior: S) => readonly (readonly string[])[];
};

/** A remedy of any parameters and state, as the framework handles it; its own schemas guard both. */
// oxlint-disable-next-line typescript/no-explicit-any -- the map holds remedies of every type; each is typed where it is defined
export type AnyRemedy = Remedy<any, any>;

/** Defines a remedy. */
export function defineRemedy<P, S>(remedy: Remedy<P, S>): Remedy<P, S> {
  return remedy;
}
