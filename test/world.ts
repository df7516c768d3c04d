import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BotProcess, type BotTuning, createBot } from '../src/bot/bot.ts';
import { type Config, FileConfig } from '../src/config.ts';
import type { Remediate } from '../src/jobs/execute.ts';
import {
  createWorker,
  type Diagnose,
  type WorkerDependencies,
  type WorkerProcess,
  type WorkerTuning,
} from '../src/jobs/worker.ts';
import type { Log } from '../src/store/redis.ts';
import { startRedis } from './redis.ts';
import { APP_TOKEN, BOT_TOKEN, type ChannelTraits, createHands, SIGNING_SECRET, startSlack, type UserTraits } from './slack.ts';
import { emptyBundle, plansFor, readVerdict } from './verdicts.ts';

/** Everything that netcheck waits for, in milliseconds short enough for tests. */
export const FAST: Partial<BotTuning> = {
  channelGapMs: 15,
  refreshMs: 30,
  retryMs: 20,
  lookMs: 40,
  timeoutMs: 1_500,
  leaseMs: 1_500,
  pollMs: 60,
  settleMs: 150,
  rememberMs: 60_000,
  sweepMs: 100,
  clockMs: 500,
  graceMs: 2_000,
  clockLockMs: 1_500,
  clockStalledMs: 500,
  socketPauseMs: 50,
};

export const FAST_WORKER: Partial<WorkerTuning> = {
  lockMs: 1_500,
  stalledMs: 500,
  beatMs: 150,
  nodesMs: 500,
  progressMs: 20,
  stopMs: 400,
};

export const MEMBERS: Record<string, UserTraits> = { ann: {}, bob: {}, cara: {} };

/** A logger that keeps what it is told, for tests that look for what must not be there. */
export function createLog(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const note = (level: string) => (fields: object, message: string) => {
    lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  };
  return { lines, info: note('info'), warn: note('warn'), error: note('error') };
}

/** A diagnosis that takes no time and finds what was recorded. */
export function recorded(name: string): Diagnose {
  return async (request, { runId, onProgress }) => {
    const run = { id: runId, request, cluster: 'lab', startedAt: '2026-11-20T00:00:00.000Z', durationMs: 5 };
    onProgress({ phase: 'sweep', nodesReady: 6, nodesTotal: 6, layers: { L2: 'ok' } });
    const verdict = readVerdict(name, run);
    return { verdict, bundle: emptyBundle(verdict.run) };
  };
}

export type World = Awaited<ReturnType<typeof createWorld>>;

/** A Redis, a Slack, and a netcheck between them, all real but the cluster. Bot and worker are started by the test. */
export async function createWorld(
  options: {
    readonly users?: Record<string, UserTraits>;
    readonly channels?: Record<string, ChannelTraits>;
    readonly groups?: Record<string, readonly string[]>;
    readonly config?: (ids: { readonly user: (name: string) => string; readonly channel: (name: string) => string }) => object;
    readonly redis?: readonly string[];
  } = {},
) {
  const directory = mkdtempSync(join(tmpdir(), 'netcheck-world-'));
  const redis = await startRedis(options.redis);
  const slack = await startSlack({
    users: options.users ?? MEMBERS,
    channels: options.channels ?? { incidents: {} },
    ...(options.groups === undefined ? {} : { groups: options.groups }),
  });
  const keys = generateKeyPairSync('ed25519');
  const publicKeyFile = join(directory, 'approval.pub');
  writeFileSync(publicKeyFile, keys.publicKey.export({ type: 'spki', format: 'pem' }));
  const file = FileConfig.parse({
    clusters: { lab: {} },
    ...options.config?.(slack),
  });
  const config: Config = {
    ...file,
    slack: {
      ...file.slack,
      port: 0,
      apiUrl: slack.apiUrl,
      signingSecret: SIGNING_SECRET,
      appToken: APP_TOKEN,
      botToken: BOT_TOKEN,
    },
    redis: { url: redis.url },
    remedies: { ...file.remedies, publicKeyFile, auditFile: join(directory, 'audit.jsonl') },
    approvalKey: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
  const log = createLog();
  const stops: (() => Promise<void>)[] = [];

  return {
    redis,
    slack,
    config,
    log,
    directory,
    /** Starts a bot and returns somebody who talks to it. */
    bot: async (
      tuning: Partial<BotTuning> = {},
    ): Promise<ReturnType<typeof createHands> & { readonly process: BotProcess; readonly port: number }> => {
      const process = createBot(config, { log, tuning: { ...FAST, ...tuning } });
      const { port } = await process.start();
      stops.push(process.stop);
      // Port 0 is nobody's: over Socket Mode nothing is sent to the bot.
      return { ...createHands(slack, port ?? 0), process, port: port ?? 0 };
    },
    /** Starts a worker of the cluster `lab`. */
    worker: async (
      diagnose: Diagnose,
      more: {
        readonly remediate?: Remediate;
        readonly propose?: WorkerDependencies['propose'];
        readonly announce?: WorkerDependencies['announce'];
        readonly nodes?: readonly string[];
        readonly queues?: WorkerDependencies['queues'];
        readonly tuning?: Partial<WorkerTuning>;
        readonly config?: Partial<Config>;
      } = {},
    ): Promise<WorkerProcess> => {
      const worker = createWorker(
        { ...config, ...more.config },
        {
          cluster: 'lab',
          version: '0.0.0',
          log,
          diagnose,
          propose: more.propose ?? plansFor,
          ...(more.remediate === undefined ? {} : { remediate: more.remediate }),
          ...(more.announce === undefined ? {} : { announce: more.announce }),
          ...(more.queues === undefined ? {} : { queues: more.queues }),
          ...(more.nodes === undefined ? {} : { listNodes: async () => more.nodes ?? [] }),
          tuning: { ...FAST_WORKER, ...more.tuning },
        },
      );
      await worker.start();
      stops.push(worker.stop);
      return worker;
    },
    close: async () => {
      await Promise.all(stops.map((stop) => stop()));
      await slack.close();
      await redis.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
