import type { z } from 'zod';
import type { Citation } from '../model/finding.ts';
import type { RiskClass } from '../model/remedy.ts';

/**
 * The place where a remedy acts, as the remedy sees it: a node, by the agent on it, or the cluster, by its API. Both
 * functions report failure by throwing, with a sentence.
 *
 * On a node a command is an argument vector that is run there, or one of three that the agent carries out itself:
 * `write-file PATH TEXT` (whole, mode 0644, on disk before it counts; never through a symbolic link), `remove-file PATH`
 * and `end-process PID START` (only the one that was started at START, in clock ticks after boot). In the API it is one of the requests that `apiCommands` makes.
 */
export type Host = {
  /** Runs a command and returns its standard output, or what the API answered; throws unless it succeeded. */
  readonly run: (argv: readonly string[]) => Promise<string>;
  /** The text of a file of the node, or of an object at a path of the API, as JSON; null when there is none. */
  readonly readText: (path: string) => Promise<string | null>;
};

/**
 * A typed fix. Everything but `read` is pure, so that what a card shows is what runs.
 *
 * `S` is the state that it changes, as read where it acts: enough to tell whether the finding still holds, and to undo.
 * It is compared as JSON, so nothing that changes by itself may be in it.
 */
export type Remedy<P, S> = {
  /** Equals the folder, and what findings offer. */
  readonly id: string;
  /** Where it acts: on the node of the finding, or through the Kubernetes API. */
  readonly place: 'node' | 'api';
  readonly title: string;
  /** What can go wrong, for the person who approves. */
  readonly risk: string;
  /** True where the running kernel is changed and nothing else: it lasts until the next boot, and a card says so. */
  readonly isTransient?: true;
  /**
   * How much it can break. `low`: a moment's delay for packets that fail anyway. `medium`: changes how a node or the
   * cluster treats traffic. `high`: can interrupt traffic that works.
   */
  readonly riskClass: RiskClass;
  /** Whether it goes from node to node, so that it may take minutes. */
  readonly isSlow?: true;
  /** How the prior state comes back; null where it cannot, and then `irreversible` says why. */
  readonly undo: string | null;
  readonly irreversible?: string;
  readonly params: z.ZodType<P>;
  readonly state: z.ZodType<S>;
  /** The exact commands, in order. */
  readonly commands: (params: P) => readonly (readonly string[])[];
  /** What the commands change, as diff(1) shows it, for what is not plain from the commands. */
  readonly diff?: (params: P) => string;
  /** What runs when one of the commands fails, so that nothing is left half-way; a card shows it too. */
  readonly onFailure?: (params: P) => readonly (readonly string[])[];
  /** Reads, where it acts, what the commands will change. */
  readonly read: (params: P, host: Host) => Promise<S>;
  /** Null while the finding holds in this state; else why nothing is to be done any more. */
  readonly obsolete: (params: P, state: S) => string | null;
  /** True where the state is not what the finding is about (a pod that is restarted): it never shows that the remedy helped. */
  readonly isIndirect?: true;
  /** The state in words, for before and after. */
  readonly describe: (params: P, state: S) => readonly Omit<Citation, 'where'>[];
  /** The commands that bring a prior state back from the one that was read after the act; none where that cannot be. */
  readonly undoCommands: (params: P, prior: S, after: S) => readonly (readonly string[])[];
};

/** A remedy of any parameters and state, as the framework handles it; its own schemas guard both. */
// oxlint-disable-next-line typescript/no-explicit-any -- the map holds remedies of every type; each is typed where it is defined
export type AnyRemedy = Remedy<any, any>;

/** Defines a remedy. */
export function defineRemedy<P, S>(remedy: Remedy<P, S>): Remedy<P, S> {
  return remedy;
}
