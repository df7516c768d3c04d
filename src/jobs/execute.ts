import { readFile } from 'node:fs/promises';
import type { Redis } from 'ioredis';
import type { Config } from '../config.ts';
import type { Meter } from '../meter.ts';
import { type Action, canonicalJson, type RemedyOutcome } from '../model/remedy.ts';
import { messageOf } from '../model/text.ts';
import { createActionStore } from '../store/actions.ts';
import { type AuditFile, auditFileOf, createAuditFile } from '../store/audit.ts';
import type { Log } from '../store/redis.ts';
import { verifyApproval } from './approval.ts';
import { settled } from './settled.ts';

/** Runs an approved action to its end: re-checks, acts, verifies. `onStep` says in a few words what it is doing. */
export type Remediate = (
  action: Action,
  options: {
    readonly signal: AbortSignal;
    readonly onStep: (step: string) => void;
    /** The states around an action with the same remedy and parameters that acted through the API; null for any other. */
    readonly recall: (id: string) => Promise<RemedyOutcome['states'] | null>;
  },
) => Promise<RemedyOutcome>;

export type ExecuteOptions = {
  readonly config: Pick<Config, 'remedies' | 'access' | 'timeouts'>;
  readonly cluster: string;
  readonly redis: Redis;
  /** The worker that executes. */
  readonly worker: string;
  readonly remediate: Remediate;
  /** How long a remedy that was told to stop may take to do so, in milliseconds. */
  readonly stopMs: number;
  readonly log: Log;
  readonly meter: Meter;
  /** Holds the action as long as it runs, with the time at which it has to be over, as `performance.now()` counts. */
  readonly acting: Map<string, number>;
  /** Tells the cluster what became of an action, where that is configured. Resolves with what went wrong, or null. */
  readonly announce?: ((action: Action, outcome: RemedyOutcome) => Promise<string | null>) | undefined;
};

/**
 * Executes one action, whoever put the job for it into the queue and however often: only what is approved now, is signed,
 * was never begun before by Redis and by the audit file, and is in both sinks of the audit. Rejects when Redis cannot be
 * reached.
 */
export async function execute(action: string, options: ExecuteOptions): Promise<void> {
  const { config, cluster, redis, worker, remediate, stopMs, log, meter, acting, announce } = options;
  const actions = createActionStore(redis, cluster);
  const read = await actions.get(action);
  if (!read.ok || read.value === null) {
    log.error({ action, fault: read.ok ? 'gone' : read.error }, 'an action that cannot be read was not run');
    return;
  }
  const record = read.value;
  // What runs already, or is over, is none of this job's business: its end is told by whoever runs it.
  if (record.state !== 'approved') {
    log.warn({ action, state: record.state }, 'an action that is not approved was not run');
    return;
  }
  const { publicKeyFile, auditFile } = config.remedies;
  if (publicKeyFile === undefined || auditFile === undefined) {
    await actions.refuse(action, 'approved', 'this worker is not configured for remedies');
    return;
  }
  const approval = verifyApproval(record, {
    cluster,
    publicKey: await readFile(publicKeyFile, 'utf8'),
    now: await actions.now(),
    access: config.access,
  });
  if (!approval.ok) {
    log.error({ action, reason: approval.error }, 'an action was refused');
    await actions.refuse(action, 'approved', approval.error);
    return;
  }
  const started = await actions.start(action, worker);
  if (!started.ok) {
    log.warn({ action, standstill: started.error }, 'an action was not started');
    return;
  }
  const timeoutMs = Math.max(config.timeouts.remedyMs, record.action.timeoutMs ?? 0);
  acting.set(action, performance.now() + timeoutMs);
  try {
    const audit = createAuditFile(auditFileOf(auditFile, cluster), redis, cluster);
    const unaudited = await auditTrouble(audit, action);
    if (unaudited !== null) {
      log.error({ action, reason: unaudited }, 'what cannot be audited does not happen');
      await actions.refuse(action, 'started', `what cannot be audited does not happen: ${unaudited}`);
      return;
    }
    const abort = AbortSignal.timeout(timeoutMs);
    const result = await settled(
      remediate(record.action, {
        signal: abort,
        onStep: (step) => void noteQuietly(actions.note(action, step)),
        recall: async (of) => {
          const other = await actions.get(of);
          if (!other.ok || other.value === null) return null;
          const [{ remedy, params }, { action: mine }] = [other.value.action, record];
          const isSame = canonicalJson([remedy, params]) === canonicalJson([mine.remedy, mine.params]);
          return isSame ? (other.value.outcome?.states ?? null) : null;
        },
      }),
      abort,
      stopMs,
    );
    if (result.kind === 'error') {
      const stack = result.error instanceof Error ? (result.error.stack ?? '') : '';
      log.error({ action, error: messageOf(result.error), stack }, 'a remedy threw');
    }
    const outcome =
      result.kind === 'value'
        ? result.value
        : unknownOutcome(result.kind === 'error' ? 'it was cut short by an internal error' : 'it did not report back in time');
    meter.remedy(cluster, record.action.remedy, outcome.outcome);
    const ended = await actions.end(action, outcome);
    if (!ended.ok) log.error({ action, standstill: ended.error, outcome }, 'an outcome came too late to be stored');
    const after = await audit.catchUp();
    if (!after.ok) log.error({ action, reason: after.error }, 'the audit file is behind');
    if (config.remedies.events && announce !== undefined) {
      const fault = await announce(record.action, outcome).catch(messageOf);
      if (fault !== null) log.warn({ action, reason: fault }, 'no Event tells of an action that has ended');
    }
  } finally {
    acting.delete(action);
  }

  async function noteQuietly(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'Redis did not take a note');
    }
  }
}

/**
 * Why an action that was started just now must not run, or null: its start has to be on disk in the audit file, and to be
 * its first one. Whoever can write into Redis can make an action look approved again, but takes no line out of that file.
 */
async function auditTrouble(audit: AuditFile, action: string): Promise<string | null> {
  const written = await audit.catchUp();
  if (!written.ok) return written.error;
  const events = await audit.eventsOf(action);
  const before = events.slice(0, -1).find((event) => !['requested', 'approval', 'approved'].includes(event));
  if (before !== undefined) return `by the audit file this action was ${before} before`;
  return events.at(-1) === 'started' && events.includes('approved') ? null : 'the audit file does not know of its approval';
}

function unknownOutcome(reason: string): RemedyOutcome {
  return { outcome: 'outcome-unknown', reason, before: [], after: [], verified: [], undo: [] };
}
