import { createHash } from 'node:crypto';
import type { Config } from '../config.ts';
import { breakGlassMessage, outcomeMessage, remedyCard } from '../formatters/slack/remedy.ts';
import { endedMessage, type RunView, waitingMessage } from '../formatters/slack/run.ts';
import { threadReplies } from '../formatters/slack/thread.ts';
import { verdictMessage } from '../formatters/slack/verdict.ts';
import type { Producer } from '../jobs/producer.ts';
import { mayHide } from '../model/gaps.ts';
import { messageOf } from '../model/text.ts';
import type { Verdict } from '../model/verdict.ts';
import { type ActionRecord, isClosed } from '../model/wire/action.ts';
import type { OutboxEntry } from '../model/wire/outbox.ts';
import { isOver, type Run } from '../model/wire/run.ts';
import { type Outbox, outboxRef } from '../store/outbox.ts';
import type { Log } from '../store/redis.ts';
import type { RunStore } from '../store/runs.ts';
import { type DigestStores, historyEntry, type TellDigest } from './digest-flow.ts';
import { cardPolicy } from './policy-words.ts';
import { offersIn } from './remedy-flow.ts';
import type { Sender } from './sender.ts';
import type { Presence } from './services.ts';

/** The stores of one cluster that following its runs needs. */
export type TrackerStores = DigestStores & { readonly runs: RunStore; readonly presence: Presence };

/** Follows the runs and actions of all clusters, and puts what is to be said about them into the outbox. */
export type Tracker = {
  readonly start: () => void;
  readonly stop: () => Promise<void>;
  /** Something changed about a run or an action. */
  readonly changed: (cluster: string, id: string) => void;
};

/** A run that its worker left is failed this long after its own time limit, if no other worker took it over. */
const LOST_AFTER_MS = 60_000;
/** A job that should be in the queue is put there again this often. Storing it twice does nothing. */
const REQUEUE_MS = 30_000;
/** How many waiting runs are told that no worker is there, at most. */
const TOLD_WAITING = 20;

export function createTracker(options: {
  readonly config: Config;
  readonly stores: ReadonlyMap<string, TrackerStores>;
  readonly outbox: Outbox;
  readonly sender: Sender;
  readonly producer: Producer;
  readonly tellDigest: TellDigest;
  readonly log: Log;
  readonly sweepMs: number;
}): Tracker {
  const { config, stores, outbox, sender, producer, tellDigest, log, sweepMs } = options;
  const pending = new Map<string, { readonly cluster: string; readonly id: string }>();
  const requeuedAt = new Map<string, number>();
  const stopping = new AbortController();
  let woken = Promise.withResolvers<void>();
  let running: Promise<void> | null = null;

  async function run(): Promise<void> {
    let sweepAt = 0;
    let quiet = true;
    while (!stopping.signal.aborted) {
      try {
        if (performance.now() >= sweepAt) {
          for (const [cluster, store] of stores) await sweep(cluster, store);
          sweepAt = performance.now() + sweepMs;
        }
        for (const [key, { cluster, id }] of pending) {
          if (stopping.signal.aborted) break;
          pending.delete(key);
          const store = stores.get(cluster);
          if (store === undefined) continue;
          if (id.startsWith('a')) await tellAction(cluster, store, id);
          else await tellRun(cluster, store, id);
        }
        quiet = true;
      } catch (error) {
        // Nothing is lost: what is untold is met again at the next sweep.
        if (quiet) log.warn({ error: messageOf(error) }, 'runs cannot be followed; trying again');
        quiet = false;
        sweepAt = performance.now() + sweepMs;
        pending.clear();
      }
      if (pending.size > 0) continue;
      const timer = setTimeout(woken.resolve, Math.max(10, sweepAt - performance.now()));
      await woken.promise;
      clearTimeout(timer);
      woken = Promise.withResolvers();
    }
  }

  async function sweep(cluster: string, store: TrackerStores): Promise<void> {
    const { queuedMs, runMs, remedyMs } = config.timeouts;
    const { untold, waiting } = await store.runs.sweep({ queuedMs, runningMs: runMs + LOST_AFTER_MS, staleMs: REQUEUE_MS });
    for (const id of untold) pending.set(`${cluster}/${id}`, { cluster, id });
    for (const id of waiting) await requeue(cluster, id, () => producer.diagnose(cluster, id));
    // Those that wait are told of only when there is something to tell: that nobody is there to do the work.
    if (waiting.length > 0 && (await store.presence.workforce()).alive.length === 0) {
      for (const id of waiting.slice(0, TOLD_WAITING)) pending.set(`${cluster}/${id}`, { cluster, id });
    }
    for (const id of await store.actions.open()) {
      const read = await store.actions.get(id);
      if (!read.ok || read.value === null) continue;
      await store.actions.expire(read.value, remedyMs + LOST_AFTER_MS);
      if (read.value.state === 'approved') await requeue(cluster, id, () => producer.remediate(cluster, id));
      if (read.value.state === 'started') pending.set(`${cluster}/${id}`, { cluster, id });
    }
    for (const id of await store.actions.untold()) pending.set(`${cluster}/${id}`, { cluster, id });
  }

  async function requeue(cluster: string, id: string, put: () => Promise<void>): Promise<void> {
    const key = `${cluster}/${id}`;
    const now = performance.now();
    if (now - (requeuedAt.get(key) ?? -Infinity) < REQUEUE_MS) return;
    requeuedAt.set(key, now);
    await put();
  }

  async function tellRun(cluster: string, store: TrackerStores, id: string): Promise<void> {
    const ref = outboxRef(cluster, id);
    const read = await store.runs.get(id);
    if (!read.ok) return tellUnreadable(cluster, store, id, read.error.message);
    const found = read.value;
    if (found === null || found.status === 'withdrawn') return store.runs.told(id);
    const view = viewOf(found);
    const { channel } = found.order;
    if (!isOver(found.status)) {
      // A digest that nobody asked for has no message before it is made.
      if (found.order.digest?.asked === false) return;
      const [progress, workforce] = await Promise.all([store.runs.latestProgress(id), store.presence.workforce()]);
      const message = waitingMessage(view, {
        progress: progress.ok ? progress.value : null,
        running: found.status === 'running',
        cancelling: found.cancelledBy !== null,
        workers: { alive: workforce.alive.length, lastSeenMs: workforce.lastSeenMs },
      });
      if (found.status === 'running' || workforce.alive.length === 0) sender.refresh(ref, channel, 'root', message);
      return;
    }
    requeuedAt.delete(`${cluster}/${id}`);
    if (found.order.digest !== null) {
      if (!(await tellDigestOf(store, found, view))) return;
    } else if (found.status === 'finished') await tellVerdict(store, found, view);
    else {
      const status = found.status === 'cancelled' ? 'cancelled' : 'failed';
      const message = endedMessage(view, { status, reason: found.reason, by: found.cancelledBy });
      await outbox.push(ref, channel, [{ op: 'update', step: 'ended', of: 'root', final: true, message }]);
      await store.history.add(historyEntry(found, null, { digest: null, late: false, posted: true }));
    }
    await store.runs.told(id);
  }

  /** False when it is to be told later. */
  async function tellDigestOf(store: TrackerStores, run: Run, view: RunView): Promise<boolean> {
    const { id, cluster } = run.order;
    const [read, proposals] = await Promise.all([store.runs.verdict(id), store.runs.proposals(id)]);
    if (!read.ok) log.error({ run: id, fault: read.error }, 'the verdict of a digest cannot be read');
    const verdict = run.status === 'finished' && read.ok ? read.value : null;
    const offers = offersIn(config, cluster, run.order.channel, proposals.ok ? proposals.value : []);
    const told = await tellDigest(cluster, store, { run, view, verdict, ...offers });
    if (told && verdict !== null) await closeHealed(cluster, store, verdict);
    return told;
  }

  async function tellVerdict(store: TrackerStores, run: Run, view: RunView): Promise<void> {
    const { id, cluster, channel } = run.order;
    const [verdict, proposals] = await Promise.all([store.runs.verdict(id), store.runs.proposals(id)]);
    if (!verdict.ok || verdict.value === null) {
      const reason = verdict.ok ? 'its verdict is gone' : 'its verdict cannot be read';
      log.error({ run: id, fault: verdict.ok ? reason : verdict.error }, 'a verdict cannot be shown');
      const message = endedMessage(view, { status: 'failed', reason, by: null });
      return outbox.push(view.ref, channel, [{ op: 'update', step: 'ended', of: 'root', final: true, message }]);
    }
    const offers = offersIn(config, cluster, channel, proposals.ok ? proposals.value : []);
    const message = verdictMessage(verdict.value, view, offers);
    const entries: OutboxEntry[] = [
      { op: 'update', step: 'verdict', of: 'root', final: true, message },
      ...threadReplies(verdict.value).map((reply): OutboxEntry => ({ op: 'reply', ...reply })),
    ];
    await outbox.push(view.ref, channel, entries);
    await store.history.add(historyEntry(run, verdict.value, { digest: null, late: false, posted: true }));
    await closeHealed(cluster, store, verdict.value);
  }

  async function tellUnreadable(cluster: string, store: TrackerStores, id: string, why: string): Promise<void> {
    const ref = outboxRef(cluster, id);
    log.error({ run: id, why }, 'a run cannot be read');
    const channel = await outbox.channel(ref);
    if (channel !== null) {
      const view: RunView = { ref, cluster, request: { kind: 'cluster' }, requestedBy: null };
      const message = endedMessage(view, { status: 'failed', reason: 'its record cannot be read', by: null });
      await outbox.push(ref, channel, [{ op: 'update', step: 'ended', of: 'root', final: true, message }]);
    }
    await store.runs.told(id);
  }

  /** A request whose finding a later, conclusive check of that node no longer makes is closed. */
  async function closeHealed(cluster: string, store: TrackerStores, verdict: Verdict): Promise<void> {
    if (verdict.status === 'inconclusive') return;
    const { request } = verdict.run;
    const still = new Set(
      [...verdict.causes, ...verdict.risks].map(
        (finding) => `${finding.code} ${finding.remedy === undefined ? finding.entity.name : finding.remedy.node}`,
      ),
    );
    for (const id of await store.actions.open()) {
      const read = await store.actions.get(id);
      if (!read.ok || read.value === null || read.value.state !== 'requested') continue;
      const { target, finding, run, undoes } = read.value.action;
      // What undoes a remedy brings a fault back: that it is not there is no reason against it.
      if (undoes !== undefined) continue;
      const isAbout = request.kind === 'cluster' || (request.kind === 'node' && request.node === target.node);
      const isUnseen = mayHide(verdict.notChecked, target.node === null ? [] : [target.node]);
      if (!isAbout || isUnseen || run === verdict.run.id || still.has(`${finding.code} ${target.node}`)) continue;
      await store.actions.supersede(id, 'a later check did not find that fault any more');
      pending.set(`${cluster}/${id}`, { cluster, id });
    }
  }

  /** Requests for another remedy of the same finding are closed when one healed it. */
  async function closeHealedBy(cluster: string, store: TrackerStores, { action }: ActionRecord): Promise<void> {
    for (const id of await store.actions.open()) {
      const read = await store.actions.get(id);
      if (!read.ok || read.value?.state !== 'requested') continue;
      const { target, finding, undoes } = read.value.action;
      if (undoes !== undefined || finding.code !== action.finding.code || target.node !== action.target.node) continue;
      await store.actions.supersede(id, 'another remedy healed that fault');
      pending.set(`${cluster}/${id}`, { cluster, id });
    }
  }

  async function tellAction(cluster: string, store: TrackerStores, id: string): Promise<void> {
    const read = await store.actions.get(id);
    if (!read.ok || read.value === null) {
      if (!read.ok) log.error({ action: id, fault: read.error }, 'an action cannot be read');
      return store.actions.told(id, null);
    }
    const record = read.value;
    const ref = outboxRef(cluster, record.action.run);
    if (isClosed(record.state)) requeuedAt.delete(`${cluster}/${id}`);
    const note = record.state === 'started' ? await store.actions.latestNote(id) : null;
    const card = remedyCard(record, cardPolicy(config.access, record, await store.actions.now()), note);
    if (card === null) {
      log.error({ action: id }, 'an action has no card that shows it whole');
      return store.actions.told(id, record.revision);
    }
    const step = `card-${id}`;
    await outbox.push(ref, record.channel, [
      { op: 'reply', step, message: card },
      ...approvedSoFar(record).map((given) => ({
        op: 'update' as const,
        step: `${step}-approval-${given}`,
        of: step,
        final: false,
        message: card,
      })),
      ...(record.state === 'requested'
        ? []
        : [{ op: 'update' as const, step: `${step}-${record.state}`, of: step, final: isClosed(record.state), message: card }]),
      ...(record.outcome === null
        ? []
        : [{ op: 'reply' as const, step: `outcome-${id}`, message: outcomeMessage(record.action, record.outcome) }]),
    ]);
    const broken = breakGlassMessage(record);
    if (broken !== null)
      await outbox.push(outboxRef(cluster, `${id}-break-glass`), record.channel, [{ op: 'root', step: 'root', message: broken }]);
    if (record.outcome?.outcome === 'healed') await closeHealedBy(cluster, store, record);
    if (record.state === 'started' && note !== null) sender.refresh(ref, record.channel, step, card);
    if (record.state === 'outcome-unknown') await verifyUnknown(cluster, store, record);
    await store.actions.told(id, record.revision);
  }

  /** What may or may not have run is looked at, never repeated: netcheck checks that node on its own account. */
  async function verifyUnknown(cluster: string, store: TrackerStores, record: ActionRecord): Promise<void> {
    const { action, channel } = record;
    const { node } = action.target;
    const order = {
      id: `r${createHash('sha256').update(action.id).digest('hex').slice(0, 10)}`,
      cluster,
      request: node === null ? { kind: 'cluster' as const } : { kind: 'node' as const, node },
      requestedBy: action.requestedBy,
      channel,
      follows: action.id,
      digest: null,
    };
    const unlimited = { perUser: Number.MAX_SAFE_INTEGER, perCluster: Number.MAX_SAFE_INTEGER, joinMs: 1 };
    const accepted = await store.runs.accept(order, unlimited, 30_000);
    if (accepted.kind !== 'accepted') return;
    await producer.diagnose(cluster, order.id);
    const workforce = await store.presence.workforce();
    const message = waitingMessage(
      { ref: outboxRef(cluster, order.id), cluster, request: order.request, requestedBy: null },
      {
        progress: null,
        running: false,
        cancelling: false,
        workers: { alive: workforce.alive.length, lastSeenMs: workforce.lastSeenMs },
      },
    );
    await store.runs.confirm(order, accepted.at + 30_000, { op: 'root', step: 'root', message });
  }

  return {
    start: () => {
      running ??= run();
    },
    stop: async () => {
      stopping.abort();
      woken.resolve();
      await running;
    },
    changed: (cluster, id) => {
      pending.set(`${cluster}/${id}`, { cluster, id });
      woken.resolve();
    },
  };
}

/** The number of approvals that a request has while it waits for more; nothing where it has none, or waits no more. */
function approvedSoFar({ state, action }: ActionRecord): readonly number[] {
  return state === 'requested' && action.approvals.length > 0 ? [action.approvals.length] : [];
}

function viewOf(run: Run): RunView {
  const { id, cluster, request, requestedBy, follows } = run.order;
  return { ref: outboxRef(cluster, id), cluster, request, requestedBy: follows === null ? requestedBy.user : null };
}
