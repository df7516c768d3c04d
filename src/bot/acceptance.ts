import { waitingMessage } from '../formatters/slack/run.ts';
import type { Producer } from '../jobs/producer.ts';
import type { RunRequest } from '../model/verdict.ts';
import type { RunOrder } from '../model/wire/run.ts';
import { newId } from '../store/ids.ts';
import { outboxRef } from '../store/outbox.ts';
import { type Log, redisTrouble } from '../store/redis.ts';
import type { RunLimits, RunStore } from '../store/runs.ts';
import type { Workforce } from '../store/workers.ts';
import type { Grant } from './authorize.ts';
import type { Presence } from './services.ts';

/** What became of a command. `refused` says why, for whoever typed it: nothing was started. */
export type Acceptance =
  | { readonly kind: 'queued'; readonly run: string; readonly workforce: Workforce }
  | { readonly kind: 'joined'; readonly run: string }
  | { readonly kind: 'refused'; readonly because: string };

/** The stores of one cluster that accepting needs. */
export type AcceptanceStores = { readonly runs: RunStore; readonly presence: Presence };

/**
 * Accepts a run, or says why not, before `deadline` (on `performance.now()`'s clock). Accepted means stored: first the
 * run's record, then its job, then its message, which makes it valid. What could not be completed in time is void:
 * Redis itself refuses to make it valid later.
 */
export async function acceptRun(
  grant: Grant<'diagnose'>,
  request: RunRequest,
  options: {
    readonly stores: AcceptanceStores;
    readonly producer: Producer;
    readonly limits: RunLimits;
    readonly deadline: number;
    readonly log: Log;
    /** The digest that the run is for, when somebody asked for one. */
    readonly digest?: RunOrder['digest'];
  },
): Promise<Acceptance> {
  const { stores, producer, limits, deadline, log, digest = null } = options;
  const { user, team, channel, cluster } = grant;
  const order: RunOrder = { id: newId('r'), cluster, request, requestedBy: { user, team }, channel, follows: null, digest };
  const left = (): number => deadline - performance.now();
  if (left() <= 0) return { kind: 'refused', because: 'Slack and Redis together took too long to answer' };
  try {
    const [accepted, workforce] = await within(
      Promise.all([stores.runs.accept(order, limits, left() + 3_000), stores.presence.workforce()]),
      left(),
    );
    if (accepted.kind === 'joined') return { kind: 'joined', run: accepted.run };
    if (accepted.kind === 'limit') {
      const whose = accepted.of === 'user' ? 'you have' : 'this cluster has';
      return {
        kind: 'refused',
        because: `${whose} ${accepted.limit} unfinished checks already: wait for one to end, or cancel one`,
      };
    }
    const notAfter = accepted.at + left();
    await within(producer.diagnose(cluster, order.id), left());
    const message = waitingMessage(
      { ref: outboxRef(cluster, order.id), cluster, request, requestedBy: user },
      {
        progress: null,
        running: false,
        cancelling: false,
        workers: { alive: workforce.alive.length, lastSeenMs: workforce.lastSeenMs },
      },
    );
    // Redis confirms nothing after the deadline; a little longer is waited here for an answer that is on its way.
    const confirmed = await within(stores.runs.confirm(order, notAfter, { op: 'root', step: 'root', message }), left() + 300);
    if (confirmed) return { kind: 'queued', run: order.id, workforce };
    await withdraw(stores.runs, order.id);
    return { kind: 'refused', because: 'it could not be stored in time' };
  } catch (error) {
    void withdraw(stores.runs, order.id);
    const because = error === TOO_LATE ? 'Redis did not store it in time' : redisTrouble(error);
    if (because === null) throw error;
    log.warn({ run: order.id, because }, 'a command was not accepted');
    return { kind: 'refused', because };
  }
}

async function withdraw(runs: RunStore, id: string): Promise<void> {
  // When this does not reach Redis either, the order is void by its own time limit.
  await runs.withdraw(id).catch(() => undefined);
}

/** What `within` rejects with. */
export const TOO_LATE = new Error('it took too long');

/** The result of some work, or a rejection with `TOO_LATE` when it takes longer than that. */
export async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(TOO_LATE), Math.max(0, ms));
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
