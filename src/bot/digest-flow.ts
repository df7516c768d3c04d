import type { Config } from '../config.ts';
import { digestMessage, isLate } from '../formatters/slack/digest.ts';
import type { RemedyMode } from '../formatters/slack/offers.ts';
import { endedMessage, type RunView } from '../formatters/slack/run.ts';
import { threadReplies } from '../formatters/slack/thread.ts';
import { compareDigests, trendPointOf } from '../model/compare-digests.ts';
import type { Digest, DigestFacts, DigestRecord } from '../model/digest.ts';
import type { RemedyProposal } from '../model/remedy.ts';
import type { Verdict } from '../model/verdict.ts';
import type { HistoryEntry } from '../model/wire/digest.ts';
import type { OutboxEntry } from '../model/wire/outbox.ts';
import type { Run } from '../model/wire/run.ts';
import type { ActionStore } from '../store/actions.ts';
import type { DigestStore } from '../store/digests.ts';
import type { HistoryStore } from '../store/history.ts';
import { type Outbox, outboxRef } from '../store/outbox.ts';
import type { Log } from '../store/redis.ts';
import type { ChannelCheck } from './authorize.ts';

/** How long a digest waits before Slack is asked again whether its channel may be told, in milliseconds. */
const ASK_AGAIN_MS = 10_000;

/** The stores of one cluster that telling a digest needs. */
export type DigestStores = { readonly digests: DigestStore; readonly actions: ActionStore; readonly history: HistoryStore };

/** A run that is over, with its verdict, if it has one. */
export type EndedRun = {
  readonly run: Run;
  readonly view: RunView;
  readonly verdict: Verdict | null;
  readonly proposals: readonly RemedyProposal[];
  readonly mode: RemedyMode;
};

/** Puts the message of a digest's run into the outbox. False when that is to be tried again later. */
export type TellDigest = (cluster: string, stores: DigestStores, ended: EndedRun) => Promise<boolean>;

/**
 * Makes digests out of runs: compares with the last one, keeps what the next one is compared with, and says what changed.
 * The record is stored first and once; the message is made of the record, so it is the same whoever makes it, and however
 * often.
 */
export function createTellDigest(options: {
  readonly config: Config;
  readonly outbox: Outbox;
  readonly mayTell: ChannelCheck;
  readonly log: Log;
}): TellDigest {
  const { config, outbox, mayTell, log } = options;
  const askAgainAt = new Map<string, number>();

  return async (cluster, stores, ended) => {
    const { run, view, verdict } = ended;
    const { id, channel, digest: due } = run.order;
    if (due === null) throw new Error('the run is for no digest');
    let record = await stores.digests.made(id);
    if (record === null) {
      if (performance.now() < (askAgainAt.get(id) ?? -Infinity)) return false;
      const may = await mayTell(channel);
      if (may.kind === 'unknown') {
        askAgainAt.set(id, performance.now() + ASK_AGAIN_MS);
        log.warn({ run: id, channel }, 'a digest waits until Slack says whether its channel may be told');
        return false;
      }
      askAgainAt.delete(id);
      if (may.kind === 'refused')
        log.warn({ run: id, channel, why: may.why }, 'a digest is not shown: its channel may not be told');
      const read = await stores.digests.get(due.id);
      const digest = read.ok ? read.value : null;
      if (digest === null) {
        await stores.history.add(historyEntry(run, verdict, { digest: null, late: false, posted: due.asked }));
        if (due.asked) await outbox.push(view.ref, channel, [removed(view)]);
        return true;
      }
      record = await make(stores, digest, ended, may.kind === 'ok' && isInside(config, cluster, channel));
    }
    if (record.posted) await outbox.push(view.ref, channel, entriesOf(record, ended, cluster));
    return true;
  };

  async function make(stores: DigestStores, digest: Digest, ended: EndedRun, mayPost: boolean): Promise<DigestRecord> {
    const { run, verdict } = ended;
    const { order } = run;
    const asked = order.digest?.asked === true;
    const at = run.startedAt ?? run.finishedAt ?? run.acceptedAt;
    const previous = await stores.digests.facts(digest.id);
    const ran = await stores.actions.endedSince(previous?.auditSeq ?? digest.auditSeq);
    const { changes, issues, cut } = verdict === null ? carriedOn(previous) : compareDigests(previous, verdict, at);
    const wasUnseen = new Set(previous?.issues.filter(({ unseen }) => unseen).map(({ key }) => key));
    const status = verdict?.status ?? null;
    const changed =
      previous === null ||
      previous.status !== status ||
      changes.fresh.length + changes.resolved.length + ran.remedies.length > 0 ||
      changes.unseen.some(({ key }) => !wasUnseen.has(key));
    const planes = verdict?.mesh?.planes ?? [];
    const record: DigestRecord = {
      digest: digest.id,
      number: digest.number,
      run: order.id,
      channel: order.channel,
      schedule: digest.schedule,
      onlyChanges: digest.onlyChanges,
      theme: digest.theme,
      slot: order.digest?.slot ?? at,
      at,
      missed: order.digest?.missed ?? 0,
      askedBy: asked ? order.requestedBy.user : null,
      status,
      reason: verdict === null ? reasonOf(run) : null,
      previousAt: previous?.at ?? null,
      changes,
      remedies: ran.remedies,
      changed,
      // Where all is well a picture says no more than the line.
      picture: planes.length > 0 && (status !== 'healthy' || planes.some(({ lossy, unknown }) => lossy + unknown > 0)),
      posted: asked || (mayPost && (changed || !digest.onlyChanges)),
    };
    const facts: DigestFacts = { at, run: order.id, status, reason: record.reason, issues, cut, auditSeq: ran.seq, p95Ms: null };
    const point = verdict === null ? { at, status, failed: null, medianMs: null, p95Ms: null } : trendPointOf(verdict, at);
    const entry = historyEntry(run, verdict, { digest: digest.number, late: isLate(record), posted: record.posted });
    const stored = await stores.digests.record({ record, facts: { ...facts, p95Ms: point.p95Ms }, point, entry });
    if (stored.ok) return stored.value;
    log.error({ run: order.id, fault: stored.error }, 'the record of a digest cannot be read');
    return record;
  }
}

/** What the history keeps of a run that is over. `digest` is the number of the digest that it was for. */
export function historyEntry(
  run: Run,
  verdict: Verdict | null,
  more: { readonly digest: number | null; readonly late: boolean; readonly posted: boolean },
): HistoryEntry {
  const { order } = run;
  const isOwn = order.follows !== null || (order.digest !== null && !order.digest.asked);
  return {
    run: order.id,
    at: run.acceptedAt,
    channel: order.channel,
    request: order.request,
    by: isOwn ? null : order.requestedBy.user,
    ...more,
    status: verdict?.status ?? null,
    headline: (verdict?.headline ?? reasonOf(run)).slice(0, 200),
  };
}

function entriesOf(record: DigestRecord, { verdict, proposals, mode }: EndedRun, cluster: string): OutboxEntry[] {
  const message = digestMessage(record, verdict, cluster, { mode, proposals });
  return [
    record.askedBy === null
      ? { op: 'root', step: 'root', message }
      : { op: 'update', step: 'verdict', of: 'root', final: true, message },
    ...(verdict === null ? [] : threadReplies(verdict)).map((reply): OutboxEntry => ({ op: 'reply', ...reply })),
    ...(record.picture ? [{ op: 'picture' as const, step: 'picture' }] : []),
  ];
}

/** Nothing is known of anything, and nothing is forgotten. */
function carriedOn(previous: DigestFacts | null) {
  const issues = (previous?.issues ?? []).map((issue) => ({ ...issue, unseen: true }));
  return { changes: { fresh: [], resolved: [], open: [], unseen: issues }, issues, cut: previous?.cut ?? false };
}

function reasonOf(run: Run): string {
  if (run.status === 'cancelled') return 'it was cancelled';
  return run.status === 'finished' ? 'its verdict cannot be read' : (run.reason ?? 'no reason was given');
}

function removed(view: RunView): OutboxEntry {
  const message = endedMessage(view, { status: 'failed', reason: 'its digest was removed meanwhile', by: null });
  return { op: 'update', step: 'ended', of: 'root', final: true, message };
}

/** Whether the channel asks about the cluster, as things are configured now. */
function isInside(config: Config, cluster: string, channel: string): boolean {
  const channels = config.clusters[cluster]?.channels;
  return channels === undefined || channels.includes(channel);
}

/** The ref of a digest's own notes: that it was saved, that it was removed. */
export function noteRef(cluster: string, digest: Digest, what: 'saved' | 'removed'): string {
  return outboxRef(cluster, `${digest.id}-${what}`);
}
