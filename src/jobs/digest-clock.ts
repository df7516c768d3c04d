import { setTimeout as delay } from 'node:timers/promises';
import { type Job, type Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Config } from '../config.ts';
import type { Digest } from '../model/digest.ts';
import { nextSlot } from '../model/schedule.ts';
import { messageOf } from '../model/text.ts';
import { DigestJobKind } from '../model/wire/digest.ts';
import { unwrap, wrap } from '../model/wire/kind.ts';
import type { DigestStore } from '../store/digests.ts';
import { botKeys } from '../store/keys.ts';
import { closeRedis, connectRedis, type Log } from '../store/redis.ts';
import type { RunStore } from '../store/runs.ts';
import type { Producer } from './producer.ts';
import { openQueue } from './queue.ts';

const QUEUE = 'digest';

/** How often and how long, in milliseconds. */
export type ClockTuning = {
  /** How often it is looked for slots that were not taken up, and schedules that got lost. */
  readonly clockMs: number;
  /** How old such a slot has to be: until then its job is under way. */
  readonly graceMs: number;
  /** How long a job belongs to a bot that gives no sign of life, and how often it is looked for such jobs. */
  readonly clockLockMs: number;
  readonly clockStalledMs: number;
};

export const CLOCK: ClockTuning = { clockMs: 20_000, graceMs: 30_000, clockLockMs: 10_000, clockStalledMs: 5_000 };

/** Starts the run of every digest when it is due. */
export type DigestClock = {
  readonly start: () => void;
  /** Stops taking up slots: another bot does, or this one when it is back. */
  readonly stop: () => Promise<void>;
  /** Winds the clock for a digest that was saved. What is not wound in time is by the next sweep. */
  readonly wind: (cluster: string, digest: Digest) => Promise<void>;
  /** Stops the clock of a digest that was removed. */
  readonly unwind: (cluster: string, digest: Digest) => Promise<void>;
};

/**
 * Makes the clock of all clusters' digests. BullMQ's job schedulers say when a digest is due and hand each job to one of
 * however many bots there are; that a slot has one run is the store's doing, which takes a slot and queues its run in one
 * step. So a job that is done twice, or lost with its queue, costs nothing: a sweep takes up what nobody did.
 */
export function createDigestClock(options: {
  readonly config: Config;
  /** A connection that fails fast and groups no commands, for winding. */
  readonly redis: Redis;
  readonly stores: ReadonlyMap<string, { readonly digests: DigestStore; readonly runs: Pick<RunStore, 'end'> }>;
  /** Whether whoever saved a digest may still start checks there. What cannot be found out counts as yes: they could. */
  readonly mayRun: (cluster: string, digest: Digest) => Promise<boolean>;
  readonly producer: Producer;
  readonly log: Log;
  readonly tuning: ClockTuning;
}): DigestClock {
  const { config, redis, stores, mayRun, producer, log, tuning } = options;
  const stopping = new AbortController();
  let woken = Promise.withResolvers<void>();
  let opened: { readonly connection: Redis; readonly worker: Worker } | null = null;
  let sweeping: Promise<void> | null = null;
  let made: Queue | null = null;

  /** BullMQ's own reading of a pattern skips days on which clocks are set: slots are the model's matter. */
  const settings = {
    repeatStrategy: (millis: number, { pattern, tz }: { readonly pattern?: string; readonly tz?: string }): number | undefined =>
      nextSlot({ cron: pattern ?? '', timezone: tz ?? 'UTC' }, millis) ?? undefined,
  };

  function queue(): Queue {
    made ??= openQueue(redis, QUEUE, { prefix: botKeys.clock, settings });
    return made;
  }

  async function wind(cluster: string, digest: Digest): Promise<void> {
    const { cron, timezone } = digest.schedule;
    await queue().upsertJobScheduler(
      schedulerOf(cluster, digest.id),
      { pattern: cron, tz: timezone },
      {
        name: QUEUE,
        data: wrap(DigestJobKind, { cluster, digest: digest.id }),
        opts: { attempts: 5, backoff: { type: 'fixed', delay: 1_000 }, removeOnComplete: true, removeOnFail: { count: 100 } },
      },
    );
  }

  /** Takes a digest's slot up, unless it is taken. `due` is milliseconds. */
  async function fire(cluster: string, id: string, due: number): Promise<void> {
    const digests = stores.get(cluster)?.digests;
    const read = await digests?.get(id);
    if (digests === undefined || read?.ok !== true || read.value === null) {
      log.warn({ cluster, digest: id }, 'a digest that is not there was due');
      return;
    }
    if (!isAsked(config, cluster, read.value.channel)) {
      log.warn(
        { cluster, digest: id, channel: read.value.channel },
        'a digest was left out: its channel does not ask about this cluster',
      );
      return;
    }
    const may = await mayRun(cluster, read.value);
    const claim = await digests.claim(read.value, due);
    // When this is lost, the run waits in the store and is put into the queue again.
    if (claim.kind === 'early')
      log.warn({ cluster, digest: id, due }, "a digest is not due yet: this machine's clock is ahead of Redis's");
    if (claim.kind !== 'claimed') return;
    if (may) return producer.diagnose(cluster, claim.run);
    const reason = 'whoever saved this digest may not start checks any more: somebody who may has to save it again';
    log.warn({ cluster, digest: id, user: read.value.by.user }, reason);
    await stores.get(cluster)?.runs.end(claim.run, 'failed', reason);
  }

  async function sweep(): Promise<void> {
    for (const [cluster, { digests }] of stores) {
      for (const digest of await digests.overdue(tuning.graceMs)) await fire(cluster, digest.id, 0);
    }
    const schedulers = await queue().getJobSchedulers(0, -1, true);
    const wound = new Map(schedulers.map(({ key, next, pattern, tz }) => [key, { next: next ?? 0, pattern, tz }]));
    for (const [cluster, { digests }] of stores) {
      for (const digest of await digests.list()) {
        const key = schedulerOf(cluster, digest.id);
        const clock = wound.get(key);
        wound.delete(key);
        const isRight = clock?.pattern === digest.schedule.cron && clock.tz === digest.schedule.timezone;
        // A time that is long past: the job that would have gone on is lost.
        if (!isRight || clock.next < Date.now() - 2 * tuning.graceMs) await wind(cluster, digest);
      }
    }
    for (const key of wound.keys()) {
      // Of a cluster that this bot does not serve nothing is known.
      if (stores.has(key.slice(0, key.lastIndexOf('.')))) await queue().removeJobScheduler(key);
    }
  }

  async function sweepAgain(): Promise<void> {
    let quiet = true;
    while (!stopping.signal.aborted) {
      try {
        await sweep();
        quiet = true;
      } catch (error) {
        if (quiet) log.warn({ error: messageOf(error) }, 'the schedules of digests cannot be looked at; trying again');
        quiet = false;
      }
      const timer = setTimeout(woken.resolve, tuning.clockMs);
      await woken.promise;
      clearTimeout(timer);
      woken = Promise.withResolvers();
    }
  }

  return {
    start: () => {
      if (opened !== null) return;
      const connection = connectRedis(config.redis.url, 'patient', log);
      const worker = new Worker(
        QUEUE,
        async (job: Job) => {
          const read = unwrap(DigestJobKind, `job ${job.id ?? ''}`, job.data);
          if (read.ok) await fire(read.value.cluster, read.value.digest, job.opts.prevMillis ?? job.timestamp);
          else log.error({ fault: read.error }, 'a job that cannot be read was dropped');
        },
        {
          connection,
          prefix: botKeys.clock,
          concurrency: 8,
          lockDuration: tuning.clockLockMs,
          stalledInterval: tuning.clockStalledMs,
          // However many bots die over it, a digest is due.
          maxStalledCount: 1_000,
          runRetryDelay: 500,
          settings,
        },
      );
      worker.on('error', (error) => log.warn({ error: error.message }, 'queue of digests'));
      worker.on('failed', (job, error) =>
        log.error({ job: job?.id ?? '', error: error.message }, 'a digest was not started; trying again'),
      );
      opened = { connection, worker };
      sweeping = sweepAgain();
    },
    stop: async () => {
      stopping.abort();
      woken.resolve();
      if (opened === null) return;
      const { connection, worker } = opened;
      opened = null;
      // With Redis away closing would wait for ever: then the connection is cut.
      await Promise.race([worker.close().catch(() => undefined), delay(3_000, undefined, { ref: false })]);
      closeRedis(connection);
      await sweeping;
      await made?.close().catch(() => undefined);
    },
    wind,
    unwind: async (cluster, digest) => {
      await queue().removeJobScheduler(schedulerOf(cluster, digest.id));
    },
  };
}

/** BullMQ takes no colon in an id. */
function schedulerOf(cluster: string, digest: string): string {
  return `${cluster}.${digest}`;
}

/** Whether a channel may be told of a cluster, as things are configured now. */
function isAsked(config: Config, cluster: string, channel: string): boolean {
  const settings = config.clusters[cluster];
  return settings !== undefined && (settings.channels === undefined || settings.channels.includes(channel));
}
