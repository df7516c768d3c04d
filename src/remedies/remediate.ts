import { randomUUID } from 'node:crypto';
import type { Cluster } from '../cluster/port.ts';
import { collect } from '../diagnosis/collect.ts';
import { tagsOf } from '../diagnosis/judge.ts';
import { probeResults } from '../diagnosis/results.ts';
import { entityName } from '../model/entity.ts';
import type { Citation } from '../model/finding.ts';
import type { Inventory } from '../model/inventory.ts';
import type { Probe, ProbeResult } from '../model/probe.ts';
import { type Action, RemedyOutcome } from '../model/remedy.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';
import { RemedyReport } from '../model/wire/remedy.ts';
import { createApiHost, type RemedyWriter } from './api-host.ts';
import { carryOut, type States } from './carry-out.ts';
import { REMEDIES } from './index.ts';

export type RemediateOptions = {
  readonly cluster: Cluster & RemedyWriter;
  /** How long a pod may take to be ready again after a restart, milliseconds; what `apiCommands` say where absent. */
  readonly readyMs?: number | undefined;
};

export type RemediateContext = {
  readonly signal: AbortSignal;
  readonly onStep: (step: string) => void;
  /** The states around an action of this remedy that acted through the API before, as its outcome has them. */
  readonly recall: (id: string) => Promise<States | null | undefined>;
};

/** What the node said of the act itself. */
type Act =
  | { readonly kind: 'refused'; readonly reason: string; readonly before: Citation[] }
  | (Pick<RemedyOutcome, 'before' | 'after' | 'undo' | 'states'> & {
      readonly kind: 'done';
      readonly error: string | null;
      readonly holds?: boolean | undefined;
      readonly restored?: boolean | undefined;
    })
  | { readonly kind: 'unknown'; readonly reason: string; readonly before: Citation[] };

/** Until the remedy container answers, and until the act has to be over. Milliseconds. */
const OPEN_MS = 8000;
const ACT_MS = 30_000;
const INVENTORY_MS = 5000;

/** A remedy may need a moment: the failing probes are sent again so often before it counts as not healed. */
const VERIFY_ATTEMPTS = 3;

/**
 * Carries out an approved action: the node re-checks, claims and acts by itself, then the probes that failed are sent
 * again; where none had, since the finding is a risk, the state that was read again tells. It is never repeated: where the
 * connection is lost after the order was sent, the outcome is unknown, and the probes say what can be said.
 */
export function createRemediate({ cluster, readyMs }: RemediateOptions) {
  return async function remediate(action: Action, { signal, onStep, recall }: RemediateContext): Promise<RemedyOutcome> {
    const refused = (reason: string, before: Citation[] = []): RemedyOutcome => ({
      outcome: 'refused',
      reason,
      before,
      after: [],
      verified: [],
      undo: [],
    });
    onStep('reading the cluster');
    const read = await cluster.inventory(AbortSignal.any([signal, AbortSignal.timeout(INVENTORY_MS)]));
    if (!read.ok) return refused(`the cluster could not be read, nothing was changed: ${read.fault.message}`);
    const { target } = action;
    const node = read.value.nodes.find(({ name }) => name === target.node);
    if (target.node !== null && node === undefined) return refused(`there is no node ${target.node} any more`);
    if (node !== undefined && node.uid !== target.uid)
      return refused(`${node.name} is another machine than the one that was diagnosed (its uid has changed)`);
    const act =
      REMEDIES[action.remedy]?.place === 'api' || target.node === null
        ? await request(cluster, action, { signal, onStep, recall }, readyMs)
        : await order(cluster, action, target.node, { signal, onStep });
    if (act.kind === 'refused') return refused(act.reason, act.before);
    if (action.undoes !== undefined) return undone(act);
    const hasProbes = action.verification.length > 0;
    if (hasProbes) onStep('sending the failing probes again');
    const { readings, result } = hasProbes ? await verify(cluster, read.value, action, signal) : NO_PROBES;
    const after = act.kind === 'done' ? act.after : [];
    const common = {
      before: act.before,
      after,
      verified: readings,
      undo: act.kind === 'done' ? act.undo : [],
      ...(act.kind === 'done' && act.states !== undefined ? { states: act.states } : {}),
    };
    if (act.kind === 'unknown') return { ...common, outcome: 'outcome-unknown', reason: act.reason };
    if (act.error !== null) return { ...common, outcome: 'not-healed', reason: `the command failed: ${act.error}` };
    if (!hasProbes) return { ...common, ...judgedByState(act) };
    if (result === 'pass') return { ...common, outcome: 'healed', reason: null };
    const reason =
      result === 'fail'
        ? 'it ran, and some of the probes that failed before still fail'
        : 'it ran, but not every probe that failed before could be sent again: nothing shows that it helped';
    return { ...common, outcome: 'not-healed', reason };
  };
}

/** Sends the order to the node and follows what it says, until it is done, refuses, or cannot be heard any more. */
async function order(
  cluster: RemediateOptions['cluster'],
  action: Action,
  node: string,
  { signal, onStep }: Pick<RemediateContext, 'signal' | 'onStep'>,
): Promise<Act> {
  onStep(`opening the remedy container on ${node}`);
  const opened = await cluster.openRemedyAgent(node, AbortSignal.any([signal, AbortSignal.timeout(OPEN_MS)]));
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
        if (message.type === 'done') return { ...message, kind: 'done' };
        if (message.type === 'claimed') {
          isClaimed = true;
          onStep(`${node} has claimed the action and reads the state again`);
        }
        if (message.type === 'acting') {
          before = message.before;
          onStep(runningText(action));
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

/** Carries an action out through the API. The approval was verified by whoever called. */
async function request(
  cluster: RemediateOptions['cluster'],
  action: Action,
  { signal, onStep, recall }: RemediateContext,
  readyMs: number | undefined,
): Promise<Act> {
  let act: Act = { kind: 'unknown', reason: 'it ended without a word. It will not be repeated.', before: [] };
  const states: { prior?: unknown; after?: unknown } = {};
  await carryOut(action, {
    place: 'api',
    where: cluster.name,
    host: createApiHost(cluster, { signal, onStep, readyMs }),
    ledger: {
      // The store lets every action start once; what is written is bound to the uid and the version that were read.
      claim: () => true,
      keep: (_action, which, state) => {
        states[which] = state;
      },
      recall: async ({ undoes }) => (undoes === undefined ? null : ((await recall(undoes)) ?? null)),
    },
    say: (report) => {
      if (report.type === 'refused') act = { ...report, kind: 'refused' };
      if (report.type === 'acting') onStep(runningText(action));
      if (report.type === 'done') {
        const kept = RemedyOutcome.shape.states.safeParse('after' in states ? states : undefined);
        act = { ...report, kind: 'done', ...(kept.data === undefined ? {} : { states: kept.data }) };
      }
    },
  });
  return act;
}

function runningText({ commands }: Action): string {
  return `running ${commands.map((argv) => argv.join(' ')).join('; ')}`;
}

/** How an undo ended: what brings a fault back is told by the state, not by probes. */
function undone(act: Exclude<Act, { readonly kind: 'refused' }>): RemedyOutcome {
  const common = { before: act.before, after: act.kind === 'done' ? act.after : [], verified: [], undo: [] };
  if (act.kind === 'unknown') return { ...common, outcome: 'outcome-unknown', reason: act.reason };
  if (act.error !== null) return { ...common, outcome: 'not-undone', reason: `the command failed: ${act.error}` };
  if (act.restored === true) return { ...common, outcome: 'undone', reason: null };
  return { ...common, outcome: 'not-undone', reason: 'it ran, and the state is not exactly the one from before' };
}

/** How an action ended of which no probe tells, since nothing had failed: by the state that was read again. */
function judgedByState({ holds, after }: Extract<Act, { readonly kind: 'done' }>): Pick<RemedyOutcome, 'outcome' | 'reason'> {
  if (holds === false) return { outcome: 'healed', reason: null };
  if (holds === true) return { outcome: 'not-healed', reason: 'it ran, and what was found is still there' };
  const why =
    after.length === 0
      ? 'the state could not be read again'
      : 'no probe had failed before, and the state does not show it: check again';
  return { outcome: 'not-healed', reason: `it ran, but nothing shows that it helped: ${why}` };
}

/** `pass` only where something was sent and all of it arrived; `unknown` where nothing failed but not all was sent. */
type Verified = { readonly readings: RemedyOutcome['verified']; readonly result: 'pass' | 'fail' | 'unknown' };

const NO_PROBES: Verified = { readings: [], result: 'unknown' };

/** Sends the probes that the finding explained again, until they pass or have been given their chances. */
async function verify(cluster: Cluster, inventory: Inventory, action: Action, signal: AbortSignal): Promise<Verified> {
  let last: Verified = { readings: [], result: 'unknown' };
  for (let attempt = 0; attempt < VERIFY_ATTEMPTS; attempt += 1) {
    last = await probeAgain(cluster, inventory, action, signal);
    if (last.result === 'pass' || signal.aborted) break;
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
  const planned = new Map(plan.probes.map((probe) => [probe.id, probe]));
  // What is asked only where a ping is not answered is not sent, and has no result, once the ping is.
  const sent = action.verification.filter(({ probe: id }) => results.has(id) || planned.get(id)?.ifSilent !== true);
  const readings = sent.map(({ probe: id, before }) => {
    const [probe, result] = [planned.get(id), results.get(id)];
    return {
      probe: id,
      sentence: probe === undefined ? id : sentenceOf(probe),
      before,
      after: result === undefined ? null : readingOf(result),
    };
  });
  const statuses = sent.map(({ probe: id }) => results.get(id)?.status);
  if (statuses.length > 0 && statuses.every((status) => status === 'pass')) return { readings, result: 'pass' };
  return { readings, result: statuses.includes('fail') ? 'fail' : 'unknown' };
}

function sentenceOf({ subject, target, method, to }: Probe): string {
  const port = to.port === undefined || method === 'udp' ? '' : ` ${to.port}`;
  return `${entityName(subject)} → ${entityName(target)}, ${method}${port}`;
}

function readingOf({ how, sent, delivered }: ProbeResult): RemedyOutcome['verified'][number]['after'] {
  return { how, sent, delivered };
}
