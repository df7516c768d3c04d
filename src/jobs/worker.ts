import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { type Job, WaitingError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Config } from '../config.ts';
import { type Meter, NO_METER } from '../meter.ts';
import type { Bundle } from '../model/bundle.ts';
import type { Progress } from '../model/progress.ts';
import type { Action, RemedyOutcome, RemedyPlan } from '../model/remedy.ts';
import { messageOf } from '../model/text.ts';
import type { RunRequest, Verdict } from '../model/verdict.ts';
import { DiagnoseJobKind, QUEUE_NAMES, type QueueName, RemediateJobKind } from '../model/wire/job.ts';
import { unwrap } from '../model/wire/kind.ts';
import { createActionStore } from '../store/actions.ts';
import { clusterKeys } from '../store/keys.ts';
import { closeRedis, connectRedis, type Log, redisIsReady } from '../store/redis.ts';
import { createRunStore } from '../store/runs.ts';
import { createWorkerStore } from '../store/workers.ts';
import { execute, type Remediate } from './execute.ts';
import { QUEUES } from './producer.ts';
import { settled } from './settled.ts';

/**
 * One diagnosis. `signal` asks it to stop; what was found by then is still a verdict, with the rest as not checked. A
 * `refusal` says, in words for whoever asked, why the request makes no sense: the run then fails with it.
 */
export type Diagnose = (
  request: RunRequest,
  options: { readonly runId: string; readonly signal: AbortSignal; readonly onProgress: (progress: Progress) => void },
) => Promise<{ readonly verdict: Verdict; readonly bundle: Bundle } | { readonly refusal: string }>;

/** How often and how long, in milliseconds. The defaults make a run go on elsewhere within 25 s of a worker's death. */
export type WorkerTuning = {
  readonly lockMs: number;
  readonly stalledMs: number;
  readonly beatMs: number;
  readonly nodesMs: number;
  readonly progressMs: number;
  /** How long a diagnosis that was told to stop may take to do so. */
  readonly stopMs: number;
  readonly concurrency: number;
};

const TUNING: WorkerTuning = {
  lockMs: 10_000,
  stalledMs: 5_000,
  beatMs: 5_000,
  nodesMs: 60_000,
  progressMs: 300,
  stopMs: 5_000,
  concurrency: 2,
};

/** A worker counts as alive for this long after its last sign of life. */
export const ALIVE_MS = 15_000;

export type WorkerDependencies = {
  readonly cluster: string;
  readonly version: string;
  readonly log: Log;
  readonly diagnose: Diagnose;
  /** The queues that it serves; both when absent. */
  readonly queues?: readonly QueueName[];
  /** What could be done about a verdict. Called once per verdict, with the evidence at hand. */
  readonly propose?: (verdict: Verdict, bundle: Bundle) => readonly RemedyPlan[];
  readonly remediate?: Remediate;
  /** Tells the cluster itself how an action ended; resolves with what went wrong, or null. */
  readonly announce?: (action: Action, outcome: RemedyOutcome) => Promise<string | null>;
  /** The names of the cluster's nodes, so that the bot can tell a mistyped one at once. */
  readonly listNodes?: (signal: AbortSignal) => Promise<readonly string[]>;
  readonly meter?: Meter;
  readonly tuning?: Partial<WorkerTuning>;
};

/** A running worker. `stop` ends it gracefully: runs go back into the queue, a remedy that has begun is finished. */
export type WorkerProcess = {
  readonly id: string;
  readonly start: () => Promise<void>;
  /** What keeps the worker from doing its work, a sentence each; nothing when it is ready. */
  readonly readiness: () => Promise<readonly string[]>;
  readonly stop: () => Promise<void>;
};

/** Why an attempt is told to stop. */
type Stop = 'cancelled' | 'lost' | 'shutdown' | 'timeout';

type Attempt = { readonly epoch: number; readonly stop: (why: Stop) => void };

/** Makes the worker of one cluster. Nothing happens before `start`. */
export function createWorker(config: Config, dependencies: WorkerDependencies): WorkerProcess {
  const { cluster, log, diagnose, propose, remediate, announce, listNodes, meter = NO_METER } = dependencies;
  const actor = config.remedies.enabled ? remediate : undefined;
  const queues = (dependencies.queues ?? QUEUE_NAMES).filter((queue) => queue !== 'remediate' || actor !== undefined);
  const tuning = { ...TUNING, ...dependencies.tuning };
  const id = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const keys = clusterKeys(cluster);
  const attempts = new Map<string, Attempt>();
  const acting = new Map<string, number>();
  const ending = new AbortController();
  let opened: {
    readonly redis: Redis;
    readonly subscriber: Redis;
    readonly workers: Worker[];
    readonly loops: Promise<void>[];
  } | null = null;

  function open() {
    const redis = connectRedis(config.redis.url, 'patient', log);
    const subscriber = connectRedis(config.redis.url, 'patient', log);
    const runs = createRunStore(redis, cluster);
    const presence = presenceIn(redis);
    const workers = [
      ...(queues.includes('diagnose') ? [diagnosing(redis)] : []),
      ...(queues.includes('remediate') && actor !== undefined ? [remediating(redis, actor)] : []),
    ];

    subscriber.on('message', (_channel, run) => attempts.get(run)?.stop('cancelled'));
    const loops = [
      repeat(tuning.beatMs, async () => {
        const beat = { id, version: dependencies.version, running: [...attempts.keys(), ...acting.keys()] };
        await Promise.all(presence.map((store) => store.beat(beat)));
        for (const [run, { epoch, stop }] of attempts) {
          const state = await runs.progress(run, epoch, null);
          if (state !== 'ok') stop(state === 'stale' ? 'lost' : 'cancelled');
        }
      }),
      ...(listNodes === undefined
        ? []
        : [
            repeat(tuning.nodesMs, async () => {
              await presence[0]?.setNodes(await listNodes(AbortSignal.any([ending.signal, AbortSignal.timeout(10_000)])));
            }),
          ]),
    ];
    return { redis, subscriber, workers, loops };
  }

  /** Does something now and then again and again, until the worker stops; what fails is tried again the next time. */
  async function repeat(everyMs: number, work: () => Promise<void>): Promise<void> {
    while (!ending.signal.aborted) {
      try {
        await work();
      } catch (error) {
        if (!ending.signal.aborted) log.warn({ error: messageOf(error) }, 'worker housekeeping failed');
      }
      await delay(everyMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  }

  /** One attempt at a run. Returns why it was told to stop, or null when it ended by itself. */
  async function attempt(redis: Redis, run: string): Promise<Stop | null> {
    const runs = createRunStore(redis, cluster);
    // A worker that closes may be given one more job: it is handed back untouched.
    if (ending.signal.aborted) return 'shutdown';
    let begin = await runs.begin(run, id);
    while (begin.kind === 'wait') {
      await delay(20);
      begin = await runs.begin(run, id);
    }
    if (begin.kind === 'unreadable') {
      log.error({ fault: begin.fault }, 'a run that cannot be read was failed');
      await runs.end(run, 'failed', 'its record cannot be read');
      return null;
    }
    if (begin.kind !== 'run') return null;
    const { epoch, order, cancelled } = begin;
    if (cancelled) {
      await runs.end(run, 'cancelled', '', epoch);
      meter.run(cluster, 'cancelled');
      return null;
    }
    log.info({ cluster, run, epoch, request: order.request }, 'run begun');
    const begun = performance.now();
    const ended = (outcome: Parameters<Meter['run']>[1], fields: object = {}): void => {
      meter.run(cluster, outcome);
      log.info({ cluster, run, epoch, outcome, ms: Math.round(performance.now() - begun), ...fields }, 'run ended');
    };

    const abort = new AbortController();
    let why: Stop | null = null;
    const stop = (reason: Stop): void => {
      why ??= reason;
      abort.abort(reason);
    };
    attempts.set(run, { epoch, stop });
    const timer = setTimeout(() => stop('timeout'), config.timeouts.runMs);
    if (ending.signal.aborted) stop('shutdown');
    const reporter = createReporter(async (progress) => {
      const state = await runs.progress(run, epoch, progress);
      if (state !== 'ok') stop(state === 'stale' ? 'lost' : 'cancelled');
    }, tuning.progressMs);
    try {
      const result = await settled(
        diagnose(order.request, { runId: run, signal: abort.signal, onProgress: timed(reporter.report, cluster, meter) }),
        abort.signal,
        tuning.stopMs,
      );
      await reporter.end();
      // `why` is set by callbacks, which the compiler does not see.
      const stopped = why as Stop | null;
      if (stopped === 'lost' || stopped === 'shutdown') {
        ended('handed-back', { why: stopped });
        return stopped;
      }
      if (stopped === 'cancelled') {
        const note =
          result.kind === 'hanging' ? 'it did not stop in time: commands may still be running on nodes until their deadline' : '';
        await runs.end(run, 'cancelled', note, epoch);
        ended('cancelled');
      } else if (result.kind === 'value') {
        if ('refusal' in result.value) {
          await runs.end(run, 'failed', result.value.refusal, epoch);
          ended('failed', { refusal: result.value.refusal });
          return stopped;
        }
        const { verdict, bundle } = result.value;
        const proposals = (propose?.(verdict, bundle) ?? []).map((plan, index) => ({ ...plan, id: `p${index + 1}` }));
        await presenceOf(redis, bundle);
        if (!(await runs.finish(run, epoch, { verdict, bundle, proposals }))) return 'lost';
        meter.verdict(cluster, verdict);
        for (const { fault } of bundle.evidence) if (fault !== undefined) meter.agentFault(cluster, fault.kind);
        ended('finished', { status: verdict.status, causes: verdict.causes.map(({ code }) => code) });
      } else if (result.kind === 'error') {
        log.error({ run, error: messageOf(result.error), stack: stackOf(result.error) }, 'a diagnosis threw');
        await runs.end(run, 'failed', 'internal error, see the log of the worker', epoch);
        ended('failed');
      } else {
        await runs.end(run, 'failed', `it did not end within ${Math.round(config.timeouts.runMs / 1000)} s`, epoch);
        ended('failed');
      }
      return stopped;
    } finally {
      clearTimeout(timer);
      attempts.delete(run);
    }
  }

  /** Where the worker says that it lives: for each queue that it serves. */
  function presenceIn(redis: Redis) {
    return queues.map((queue) => createWorkerStore(redis, cluster, ALIVE_MS, queue));
  }

  async function presenceOf(redis: Redis, bundle: Bundle): Promise<void> {
    const names = bundle.inventory.nodes.map((node) => node.name);
    if (names.length > 0) await createWorkerStore(redis, cluster, ALIVE_MS).setNodes(names);
  }

  function diagnosing(redis: Redis): Worker {
    const runs = createRunStore(redis, cluster);
    const worker = new Worker(
      QUEUES.diagnose,
      async (job: Job, token?: string) => {
        const read = unwrap(DiagnoseJobKind, `job ${job.id ?? ''}`, job.data);
        if (!read.ok) {
          log.error({ fault: read.error }, 'a job that cannot be read was dropped');
          return;
        }
        const stopped = await attempt(redis, read.value.run);
        if (stopped === 'shutdown') {
          await job.moveToWait(token);
          throw new WaitingError();
        }
      },
      {
        connection: redis,
        prefix: keys.prefix,
        autorun: false,
        concurrency: tuning.concurrency,
        lockDuration: tuning.lockMs,
        stalledInterval: tuning.stalledMs,
        maxStalledCount: 2,
        runRetryDelay: 500,
      },
    );
    worker.on('error', (error) => log.warn({ error: error.message }, 'queue'));
    worker.on('lockRenewalFailed', (jobs) => {
      for (const job of jobs) attempts.get(job)?.stop('lost');
    });
    worker.on('failed', (job, error) => {
      const read = unwrap(DiagnoseJobKind, 'job', job?.data);
      if (!read.ok) return;
      const reason = /stalled/.test(error.message)
        ? 'its worker died, and so did those that took over'
        : 'internal error, see the log';
      log.error({ run: read.value.run, error: error.message }, 'run failed');
      void settleQuietly(runs.end(read.value.run, 'failed', reason));
    });
    return worker;
  }

  function remediating(redis: Redis, act: Remediate): Worker {
    const worker = new Worker(
      QUEUES.remediate,
      async (job: Job) => {
        const read = unwrap(RemediateJobKind, `job ${job.id ?? ''}`, job.data);
        if (read.ok)
          await execute(read.value.action, {
            config,
            cluster,
            redis,
            worker: id,
            remediate: act,
            stopMs: tuning.stopMs,
            log,
            meter,
            acting,
            announce,
          });
        else log.error({ fault: read.error }, 'a job that cannot be read was dropped');
      },
      {
        connection: redis,
        prefix: keys.prefix,
        autorun: false,
        concurrency: 1,
        lockDuration: tuning.lockMs,
        stalledInterval: tuning.stalledMs,
        // A remedy runs at most once: a job whose worker died is never given to another one.
        maxStalledCount: 0,
        runRetryDelay: 500,
      },
    );
    worker.on('error', (error) => log.warn({ error: error.message }, 'queue'));
    worker.on('failed', (job, error) => {
      const read = unwrap(RemediateJobKind, 'job', job?.data);
      if (!read.ok) return;
      log.error({ action: read.value.action, error: error.message }, 'an action was lost');
      void settleQuietly(createActionStore(redis, cluster).lose(read.value.action));
    });
    return worker;
  }

  async function settleQuietly(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'Redis did not take a note');
    }
  }

  return {
    id,
    start: async () => {
      if (opened !== null) return;
      opened = open();
      await opened.subscriber.subscribe(keys.cancels);
      for (const worker of opened.workers) void settleQuietly(worker.run());
      await Promise.all(opened.workers.map((worker) => worker.waitUntilReady()));
      log.info({ cluster, worker: id, queues }, 'worker started');
    },
    readiness: async () => {
      if (opened === null) return [`the worker of ${cluster} is starting, or stopping`];
      return (await redisIsReady(opened.redis, 0)) ? [] : [`the worker of ${cluster} cannot reach Redis`];
    },
    stop: async () => {
      if (opened === null) return;
      const { redis, subscriber, workers, loops } = opened;
      opened = null;
      ending.abort();
      for (const { stop } of attempts.values()) stop('shutdown');
      // A remedy that has begun is finished. With Redis away nothing can be handed back, and what waits for Redis would
      // wait for ever: then the connections are cut.
      const patienceMs = Math.max(0, ...[...acting.values()].map((until) => until - performance.now())) + tuning.stopMs + 2_000;
      const handedBack = Promise.all(workers.map((worker) => worker.close())).then(async () => {
        await settleQuietly(Promise.all(presenceIn(redis).map((store) => store.leave(id))));
        await Promise.all(loops);
      });
      await Promise.race([handedBack, delay(patienceMs, undefined, { ref: false })]);
      for (const worker of workers) void settleQuietly(worker.disconnect());
      closeRedis(subscriber);
      closeRedis(redis);
      log.info({ cluster, worker: id }, 'worker stopped');
    },
  };
}

/** Passes progress on, and tells the meter how long each phase took, when the next one begins. */
function timed(report: (progress: Progress) => void, cluster: string, meter: Meter): (progress: Progress) => void {
  let current: { readonly phase: Progress['phase']; readonly since: number } | null = null;
  return (progress) => {
    if (progress.phase !== current?.phase) {
      const now = performance.now();
      if (current !== null) meter.phase(cluster, current.phase, (now - current.since) / 1000);
      current = { phase: progress.phase, since: now };
    }
    report(progress);
  };
}

/** Passes on the latest of many values, one at a time and not more often than every so many milliseconds. */
function createReporter(write: (progress: Progress) => Promise<void>, everyMs: number) {
  const ended = new AbortController();
  let latest: Progress | null = null;
  let writing: Promise<void> | null = null;

  async function pump(): Promise<void> {
    while (latest !== null && !ended.signal.aborted) {
      const next = latest;
      latest = null;
      // Progress that cannot be stored is not worth a word: the next one says more.
      await write(next).catch(() => undefined);
      await delay(everyMs, undefined, { signal: ended.signal }).catch(() => undefined);
    }
    writing = null;
  }

  return {
    report: (progress: Progress): void => {
      latest = progress;
      writing ??= pump();
    },
    end: async (): Promise<void> => {
      ended.abort();
      await writing;
    },
  };
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? '') : '';
}
