import { randomUUID } from 'node:crypto';
import type { Cluster, ClusterWriter } from '../cluster/port.ts';
import { collect } from '../diagnosis/collect.ts';
import { tagsOf } from '../diagnosis/judge.ts';
import { probeResults } from '../diagnosis/results.ts';
import type { Citation } from '../model/finding.ts';
import type { Inventory } from '../model/inventory.ts';
import type { ProbeResult } from '../model/probe.ts';
import type { Action, RemedyOutcome } from '../model/remedy.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';
import { RemedyReport } from '../model/wire/remedy.ts';

export type RemediateOptions = {
  readonly cluster: Cluster & Pick<ClusterWriter, 'openRemedyAgent'>;
};

/** What the node said of the act itself. */
type Act =
  | { readonly kind: 'refused'; readonly reason: string; readonly before: Citation[] }
  | { readonly kind: 'done'; readonly error: string | null; readonly before: Citation[]; readonly after: Citation[] }
  | { readonly kind: 'unknown'; readonly reason: string; readonly before: Citation[] };

/** Until the remedy container answers, and until the act has to be over. Milliseconds. */
const OPEN_MS = 8000;
const ACT_MS = 30_000;
const INVENTORY_MS = 5000;

/** A remedy may need a moment: the failing probes are sent again so often before it counts as not healed. */
const VERIFY_ATTEMPTS = 3;

/**
 * Carries out an approved action: the node re-checks, claims and acts by itself, then the probes that failed are sent
 * again. It is never repeated: where the connection is lost after the order was sent, the outcome is unknown, and the
 * probes say what can be said.
 */
export function createRemediate({ cluster }: RemediateOptions) {
  return async function remediate(
    action: Action,
    { signal, onStep }: { readonly signal: AbortSignal; readonly onStep: (step: string) => void },
  ): Promise<RemedyOutcome> {
    const refused = (reason: string, before: Citation[] = []): RemedyOutcome => ({
      outcome: 'refused',
      reason,
      before,
      after: [],
      verified: [],
      undo: null,
    });
    onStep('reading the cluster');
    const read = await cluster.inventory(AbortSignal.any([signal, AbortSignal.timeout(INVENTORY_MS)]));
    if (!read.ok) return refused(`the cluster could not be read, nothing was changed: ${read.fault.message}`);
    const node = read.value.nodes.find(({ name }) => name === action.target.node);
    if (node === undefined) return refused(`there is no node ${action.target.node} any more`);
    if (node.uid !== action.target.uid)
      return refused(`${node.name} is another machine than the one that was diagnosed (its uid has changed)`);
    onStep(`opening the remedy container on ${node.name}`);
    const act = await order(cluster, action, signal, onStep);
    if (act.kind === 'refused') return refused(act.reason, act.before);
    onStep('sending the failing probes again');
    const { readings, isHealed } = await verify(cluster, read.value, action, signal);
    const after = act.kind === 'done' ? act.after : [];
    const common = {
      before: act.before,
      after,
      verified: readings,
      undo: act.kind === 'done' && hasUndo(action) ? action.id : null,
    };
    if (act.kind === 'unknown') return { ...common, outcome: 'outcome-unknown', reason: act.reason };
    if (act.error !== null) return { ...common, outcome: 'not-healed', reason: `the command failed: ${act.error}` };
    if (isHealed) return { ...common, outcome: 'healed', reason: null };
    return { ...common, outcome: 'not-healed', reason: 'it ran, and some of the probes that failed before still fail' };
  };
}

function hasUndo(action: Action): boolean {
  return action.undo !== null;
}

/** Sends the order to the node and follows what it says, until it is done, refuses, or cannot be heard any more. */
async function order(
  cluster: RemediateOptions['cluster'],
  action: Action,
  signal: AbortSignal,
  onStep: (step: string) => void,
): Promise<Act> {
  const opened = await cluster.openRemedyAgent(action.target.node, AbortSignal.any([signal, AbortSignal.timeout(OPEN_MS)]));
  if (!opened.ok) return { kind: 'refused', reason: `nothing was changed: ${opened.fault.message}`, before: [] };
  const connection = opened.value;
  const frames = createFrameReader(MAX_FRAME_BYTES);
  // Once the order is sent, a cancel is too late: what was begun is followed to its end.
  const deadline = setTimeout(() => connection.close(), ACT_MS);
  let before: Citation[] = [];
  let isClaimed = false;
  connection.write(encodeFrame({ cluster: cluster.name, action }));
  try {
    for await (const chunk of connection.output) {
      const values = frames.push(chunk);
      if ('kind' in values) break;
      for (const value of values) {
        const report = RemedyReport.safeParse(value);
        if (!report.success) continue;
        const message = report.data;
        if (message.type === 'refused') return { kind: 'refused', reason: message.reason, before: message.before };
        if (message.type === 'done') return { kind: 'done', error: message.error, before: message.before, after: message.after };
        if (message.type === 'claimed') {
          isClaimed = true;
          onStep(`${action.target.node} has claimed the action and reads the state again`);
        }
        if (message.type === 'acting') {
          before = message.before;
          onStep(`running ${action.commands.map((argv) => argv.join(' ')).join('; ')}`);
        }
      }
    }
    const fault = await connection.ended;
    const how = fault === null ? 'the agent ended without a word' : fault.message;
    const reason = `${how}; ${isClaimed ? 'the node had claimed the action, so it may have run' : 'whether the node began is not known'}. It will not be repeated.`;
    return { kind: 'unknown', reason, before };
  } finally {
    clearTimeout(deadline);
    connection.close();
  }
}

type Verified = { readonly readings: RemedyOutcome['verified']; readonly isHealed: boolean };

/** Sends the probes that the finding explained again, until they pass or have been given their chances. */
async function verify(cluster: Cluster, inventory: Inventory, action: Action, signal: AbortSignal): Promise<Verified> {
  let last: Verified = { readings: [], isHealed: false };
  for (let attempt = 0; attempt < VERIFY_ATTEMPTS; attempt += 1) {
    last = await probeAgain(cluster, inventory, action, signal);
    if (last.isHealed || signal.aborted) break;
  }
  return last;
}

async function probeAgain(cluster: Cluster, inventory: Inventory, action: Action, signal: AbortSignal): Promise<Verified> {
  const only = new Set(action.verification.map(({ probe }) => probe));
  const { plan, evidence } = await collect({
    cluster,
    inventory,
    request: { kind: 'cluster' },
    token: randomUUID().slice(0, 8),
    signal,
    now: () => performance.now(),
    onPhase: () => {},
    only,
  });
  const results = probeResults(plan.probes, new Map(evidence.map((item) => [item.node, item])), tagsOf(plan.probes));
  const readings = action.verification.map(({ probe, before }) => {
    const result = results.get(probe);
    return { probe, sentence: probe, before, after: result === undefined ? null : readingOf(result) };
  });
  const isHealed = action.verification.every(({ probe: id }) => {
    const result = results.get(id);
    // What is asked only where a ping is not answered has no result once it is.
    return result === undefined
      ? plan.probes.some((probe) => probe.id === id && probe.ifSilent === true)
      : result.status === 'pass';
  });
  return { readings, isHealed };
}

function readingOf({ how, sent, delivered }: ProbeResult): RemedyOutcome['verified'][number]['after'] {
  return { how, sent, delivered };
}
