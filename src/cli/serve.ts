import type { BotProcess } from '../bot/bot.ts';
import type { Config, Role } from '../config.ts';
import type { WorkerProcess } from '../jobs/worker.ts';
import { messageOf } from '../model/text.ts';
import type { OpenCluster, WorkerLog } from './cluster-worker.ts';
import { createLogger } from './log.ts';
import { chosenClusters, configFile, loadConfig } from './settings.ts';
import { readVersion } from './version.ts';

/** `netcheck bot`, `netcheck worker` and `netcheck all`: serves until SIGTERM or SIGINT. Returns the exit status. */
export async function serve(role: Role, options: Readonly<Record<string, unknown>>): Promise<number> {
  const log = createLogger();
  const config = loadConfig(configFile(options), role);
  const clusters = role === 'bot' ? [] : chosenClusters(config, options);
  const signal = Promise.withResolvers<NodeJS.Signals>();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => signal.resolve(name));
  const netcheck = await createNetcheck(config, { bot: role !== 'worker', clusters, version: readVersion(), log });
  const started = netcheck.start().then(
    () => null,
    (error: unknown) => messageOf(error),
  );
  const fault = await Promise.race([started, signal.promise.then(() => null)]);
  if (fault === null) log.info({ signal: await signal.promise }, 'stopping');
  else log.fatal({ error: fault }, 'netcheck could not start');
  await netcheck.stop();
  return fault === null ? 0 : 1;
}

/** A bot and workers, or one of the two, in this process. */
export type Netcheck = {
  /** Resolves with the port on which the bot takes requests, null without a bot; rejects, in words, when something does not start. */
  readonly start: () => Promise<{ readonly port: number | null }>;
  /** Ends everything gracefully, also what has not finished starting. */
  readonly stop: () => Promise<void>;
};

/** Makes the processes of netcheck that are asked for, and loads only their rooms. Nothing happens before `start`. */
export async function createNetcheck(
  config: Config,
  parts: {
    readonly bot: boolean;
    readonly clusters: readonly string[];
    readonly version: string;
    readonly log: WorkerLog;
    /** Instead of the cluster behind the configured kubeconfig. */
    readonly openCluster?: OpenCluster;
  },
): Promise<Netcheck> {
  const { version, log, openCluster } = parts;
  const workers: Pick<WorkerProcess, 'start' | 'stop'>[] = [];
  if (parts.clusters.length > 0) {
    const { createClusterWorker } = await import('./cluster-worker.ts');
    for (const name of parts.clusters) workers.push(createClusterWorker(config, name, { version, log, openCluster }));
  }
  let bot: BotProcess | null = null;
  if (parts.bot) {
    const { createBot } = await import('../bot/bot.ts');
    bot = createBot(config, { log });
  }
  return {
    start: async () => {
      const [started] = await Promise.all([bot?.start() ?? null, ...workers.map((worker) => worker.start())]);
      return { port: started?.port ?? null };
    },
    stop: async () => {
      // The bot first: what it took is answered, and nothing new is taken.
      await bot?.stop();
      await Promise.all(workers.map((worker) => worker.stop()));
    },
  };
}
