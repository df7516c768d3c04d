import type { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import type { Finding } from '../../model/finding.ts';
import type { HopPattern } from '../../model/hop.ts';
import type { Inventory } from '../../model/inventory.ts';
import type { Layer } from '../../model/layer.ts';
import type { Probe, ProbeResult } from '../../model/probe.ts';
import { messageOf } from '../../model/text.ts';

/**
 * One reading on a node. `argv` runs as it stands, without a shell; `files` are read by the agent itself (`*` matches
 * within one directory), from the host's root file system. `in` is the network namespace: the node's own or that of
 * netcheck's probe pod; `pods` reads all pods of the node at once (see kit/pods.ts). `when`: `start` before the sweep (the
 * plan may need it), `sweep` beside it, `end` after it, `both` before and after it. `asks` is a question on the node's
 * link, with values that only the run knows: who else answers for the node's own address, and the
 * counters of its uplink's driver.
 *
 * Long output is reduced on the node: of files only the lines that match `lines` are kept; of a command's output the agent
 * counts lines that are equal in what the named groups of `tally` match (see the agent's `tally.ts`). Both are regular
 * expressions without flags. A command with `needs` runs only where that file of /proc exists; else it ends as reading
 * the file would.
 */
export type Reading = {
  readonly when?: 'start' | 'sweep' | 'end' | 'both';
} & (
  | { readonly in: 'node' | 'pod'; readonly argv: readonly string[]; readonly tally?: string; readonly needs?: string }
  | { readonly in: 'node' | 'pod'; readonly files: readonly string[]; readonly lines?: string }
  | { readonly in: 'node'; readonly asks: 'own-address' | 'uplink-counters' }
  | { readonly in: 'pods'; readonly what: 'counters' | 'state' }
);

export type Readings = Readonly<Record<string, Reading>>;

/** What `parse` receives: one piece of evidence for each reading, or a pair where it is read twice. */
export type EvidenceOf<C extends Readings> = {
  readonly [K in keyof C]: C[K]['when'] extends 'both' ? { readonly before: Evidence; readonly after: Evidence } : Evidence;
};

/**
 * What a parser made of evidence. `unsupported`: the thing does not exist on this node, and that is no gap (`reason`
 * says why); `unknown`: the evidence is missing, cut or unreadable.
 */
export type Parsed<F> =
  | { readonly outcome: 'ok'; readonly facts: F }
  | { readonly outcome: 'unsupported'; readonly reason: string }
  | { readonly outcome: 'unknown'; readonly reason: string };

/** A probe with its result, as checks that judge by probes see it. */
export type Probed = { readonly probe: Probe; readonly result: ProbeResult };

/** A finding before its check's id, layer and defaults are filled in. */
export type Draft = Omit<
  Finding,
  'check' | 'layer' | 'certainty' | 'partial' | 'evidence' | 'severity' | 'advice' | 'remedy' | 'moreRemedies'
> &
  Partial<Pick<Finding, 'layer' | 'certainty' | 'partial' | 'evidence' | 'severity'>> & {
    readonly advice?: string | undefined;
    readonly remedy?: Finding['remedy'] | undefined;
    readonly moreRemedies?: Finding['moreRemedies'] | undefined;
  };

type Common<C extends Readings, F, P extends z.ZodType> = {
  /** Names the fault in kebab case; equals the folder. */
  readonly id: string;
  /** The row of the fault catalogue, for the documentation. */
  readonly row: string;
  readonly layer: Layer;
  readonly title: string;
  /** One sentence: what breaks for users, and how. */
  readonly why: string;
  /** Every code that `evaluate` can return, with a sentence for the documentation. */
  readonly codes: Readonly<Record<string, string>>;
  readonly params: P;
  readonly collect: C;
  /** Decides whether the evidence of one node is good enough, and reduces it to facts. Pure. */
  readonly parse: (evidence: EvidenceOf<C>) => Parsed<F>;
  /** What of the inventory the check needs and cannot read, as of which node; on them it stays silent. Pure. */
  readonly unread?: (inventory: Inventory) => readonly { readonly where: string; readonly reason: string }[];
  /**
   * Hops that the facts show to be as they should be: where a failure is located, they are not suspected. Only what
   * was read completely may be acquitted. Pure.
   */
  readonly acquits?: (facts: ReadonlyMap<string, F>, inventory: Inventory) => readonly HopPattern[];
};

/** A check that judges each node by itself. */
export type NodeCheck<C extends Readings, F, P extends z.ZodType> = Common<C, F, P> & {
  readonly scope: 'node';
  /** Pure. `node` is the node's name; `inventory` what the API server said. */
  readonly evaluate: (facts: F, context: { node: string; inventory: Inventory }, params: z.output<P>) => readonly Draft[];
};

/** A check that judges all nodes together, and may look at how the probes ended. */
export type ClusterCheck<C extends Readings, F, P extends z.ZodType> = Common<C, F, P> & {
  readonly scope: 'cluster';
  readonly evaluate: (
    facts: ReadonlyMap<string, F>,
    context: { inventory: Inventory; probed: readonly Probed[] },
    params: z.output<P>,
  ) => readonly Draft[];
};

/** A check of any shape, as the framework handles it. */
// oxlint-disable-next-line typescript/no-explicit-any -- the catalogue holds checks of every facts type; each is typed where it is defined
export type Check = NodeCheck<any, any, any> | ClusterCheck<any, any, any>;

/** Defines a check that judges each node by itself. */
export function defineCheck<const C extends Readings, F, P extends z.ZodType>(check: NodeCheck<C, F, P>): NodeCheck<C, F, P>;
/** Defines a check that judges all nodes together. */
export function defineCheck<const C extends Readings, F, P extends z.ZodType>(
  check: ClusterCheck<C, F, P>,
): ClusterCheck<C, F, P>;
export function defineCheck(check: Check): Check {
  return check;
}

/** The facts of complete evidence. */
export function ok<F>(facts: F): Parsed<F> {
  return { outcome: 'ok', facts };
}

/** The facts of several readings by name, or the first of them that gives none. */
export function allParsed<F extends Readonly<Record<string, unknown>>>(
  parts: {
    readonly [K in keyof F]: Parsed<F[K]>;
  },
): Parsed<F> {
  const facts: Record<string, unknown> = {};
  for (const [name, part] of Object.entries<Parsed<unknown>>(parts)) {
    if (part.outcome !== 'ok') return part;
    facts[name] = part.facts;
  }
  return ok(facts as F);
}

/** The thing that the check looks at does not exist on this node. */
export function unsupported(reason: string): Parsed<never> {
  return { outcome: 'unsupported', reason };
}

/** The evidence does not allow a judgement. */
export function unknown(reason: string): Parsed<never> {
  return { outcome: 'unknown', reason };
}

/**
 * The reason why evidence is not complete, or null when it is: the process ended by itself with one of the exit codes
 * given, and nothing was cut off.
 */
export function incomplete(evidence: Evidence, okExitCodes: readonly number[] = [0]): string | null {
  const command = commandOf(evidence);
  if (evidence.fault !== undefined) return `${command}: ${faultSentence(evidence)}`;
  if (evidence.truncated) return `${command}: output was cut at ${evidence.stdout.length} bytes`;
  if (evidence.exitCode === null || !okExitCodes.includes(evidence.exitCode)) {
    const said = evidence.stderr.trim().split('\n', 1)[0] ?? '';
    const how = evidence.exitCode === null ? 'did not end by itself' : `exit status ${evidence.exitCode}`;
    return `${command}: ${how}${said === '' ? '' : `, ${said}`}`;
  }
  return null;
}

/** A command as a reason names it: whole, unless it lists more targets than anybody reads. */
function commandOf({ argv }: Evidence): string {
  return argv.length <= MAX_WORDS ? argv.join(' ') : `${argv.slice(0, MAX_WORDS).join(' ')} …`;
}

const MAX_WORDS = 12;

function faultSentence(evidence: Evidence): string {
  switch (evidence.fault) {
    case 'timeout':
      return `no end after ${Math.round(evidence.durationMs)} ms`;
    case 'not-found':
      return 'not installed in the agent';
    case 'denied':
      return 'permission denied';
    case 'killed':
      return 'was killed';
    default:
      return evidence.stderr.trim().split('\n', 1)[0] || 'failed';
  }
}

/**
 * Parses the complete output of one reading, or says why that cannot be done. `read` may throw: an exception is
 * unreadable output, hence `unknown`.
 */
export function parseComplete<F>(evidence: Evidence, read: (stdout: string) => F, okExitCodes?: readonly number[]): Parsed<F> {
  const gap = incomplete(evidence, okExitCodes);
  if (gap !== null) return unknown(gap);
  try {
    return ok(read(evidence.stdout));
  } catch (error) {
    return unknown(`${evidence.argv.join(' ')}: unreadable output (${messageOf(error).split('\n', 1)[0]})`);
  }
}
