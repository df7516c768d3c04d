import type { BotProcess } from '../bot/bot.ts';
import type { Config, Role } from '../config.ts';
import type { WorkerProcess } from '../jobs/worker.ts';
import type { Meter, QueueState } from '../meter.ts';
import { messageOf } from '../model/text.ts';
import type { QueueName } from '../model/wire/job.ts';
import type { OpenCluster, WorkerLog } from './cluster-worker.ts';
import { createLogger } from './log.ts';
import { createMetrics } from './metrics.ts';
import { serveOps } from './ops.ts';
import { textOption } from './options.ts';
import { chosenClusters, chosenQueues, configFile, loadConfig } from './settings.ts';
import { UsageError } from './usage-error.ts';
import { readVersion } from './version.ts';

/** `netcheck bot`, `netcheck worker` and `netcheck all`: serves until SIGTERM or SIGINT. Returns the exit status. */
export async function serve(role: Role, options: Readonly<Record<string, unknown>>): Promise<number> {
  const log = createLogger();
  const config = loadConfig(configFile(options), role);
  const clusters = role === 'bot' ? [] : chosenClusters(config, options);
  const serves = chosenQueues(config, options);
  const signal = Promise.withResolvers<NodeJS.Signals>();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => signal.resolve(name));
  const { port, host } = { port: opsPort(options) ?? config.ops.port, host: config.ops.host };
  let netcheck: Netcheck | null = null;
  const metrics =
    port === undefined ? null : createMetrics(role === 'worker' ? null : async () => (await netcheck?.queues()) ?? []);
  const parts = { bot: role !== 'worker', clusters, serves, version: readVersion(), log };
  netcheck = await createNetcheck(config, { ...parts, ...(metrics === null ? {} : { meter: metrics.meter }) });
  const { readiness } = netcheck;
  const ops = port === undefined || metrics === null ? null : await openOps({ host, port }, { readiness, metrics });
  if (ops !== null) log.info({ host, port: ops.port }, 'serving /healthz, /readyz and /metrics');
  const started = netcheck.start().then(
    () => null,
    (error: unknown) => messageOf(error),
  );
  const fault = await Promise.race([started, signal.promise.then(() => null)]);
  if (fault === null) log.info({ signal: await signal.promise }, 'stopping');
  else log.fatal({ error: fault }, 'netcheck could not start');
  await netcheck.stop();
  await ops?.close();
  return fault === null ? 0 : 1;
}

async function openOps(...[where, what]: Parameters<typeof serveOps>): ReturnType<typeof serveOps> {
  try {
    return await serveOps(where, what);
  } catch (error) {
    throw new UsageError(
      `/healthz, /readyz and /metrics cannot be served on ${where.host}:${where.port}: ${messageOf(error)}. Choose another ops.port, or --ops-port.`,
    );
  }
}

/** The value of `--ops-port`, or undefined. Throws a `UsageError` for what is no port. */
function opsPort(options: Readonly<Record<string, unknown>>): number | undefined {
  const text = textOption(options, 'opsPort');
  if (text === undefined) return undefined;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new UsageError(`--ops-port ${text}: it has to be a TCP port, 0 to 65535`);
  return port;
}

/** A bot and workers, or one of the two, in this process. */
export type Netcheck = {
  /** Resolves with the port on which the bot takes requests, null without a bot; rejects, in words, when something does not start. */
  readonly start: () => Promise<{ readonly port: number | null }>;
  /** What keeps any of them from doing its work, a sentence each. */
  readonly readiness: () => Promise<readonly string[]>;
  /** How full the queues are, as the bot sees them; nothing without a bot. */
  readonly queues: () => Promise<readonly QueueState[]>;
  /** Ends everything gracefully, also what has not finished starting. */
  readonly stop: () => Promise<void>;
};

/** Makes the processes of netcheck that are asked for, and loads only their rooms. Nothing happens before `start`. */
export async function createNetcheck(
  config: Config,
  parts: {
    readonly bot: boolean;
    readonly clusters: readonly string[];
    /** The queues that the workers serve; both when absent. */
    readonly serves?: readonly QueueName[] | undefined;
    readonly version: string;
    readonly log: WorkerLog;
    /** Instead of the cluster behind the configured kubeconfig. */
    readonly openCluster?: OpenCluster;
    readonly meter?: Meter;
  },
): Promise<Netcheck> {
  const { version, log, openCluster, meter, serves } = parts;
  const workers: Omit<WorkerProcess, 'id'>[] = [];
  if (parts.clusters.length > 0) {
    const { createClusterWorker } = await import('./cluster-worker.ts');
    for (const name of parts.clusters)
      workers.push(createClusterWorker(config, name, { version, log, openCluster, meter, queues: serves }));
  }
  let bot: BotProcess | null = null;
  if (parts.bot) {
    const { createBot } = await import('../bot/bot.ts');
    bot = createBot(config, { log, ...(meter === undefined ? {} : { meter }) });
  }
  return {
    start: async () => {
      const [started] = await Promise.all([bot?.start() ?? null, ...workers.map((worker) => worker.start())]);
      return { port: started?.port ?? null };
    },
    readiness: async () => {
      const all = [...(bot === null ? [] : [bot]), ...workers];
      return (await Promise.all(all.map((process) => process.readiness()))).flat();
    },
    queues: async () => (await bot?.queues()) ?? [],
    stop: async () => {
      // The bot first: what it took is answered, and nothing new is taken.
      await bot?.stop();
      await Promise.all(workers.map((worker) => worker.stop()));
    },
  };
}
