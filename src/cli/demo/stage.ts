import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { stringify } from 'yaml';
import { startRedis } from '../../../test/redis.ts';
import { BOT_TOKEN, createHands, SIGNING_SECRET, startSlack, type TestSlack } from '../../../test/slack.ts';
import type { Config } from '../../config.ts';
import { createRunStore, type RunStore } from '../../store/runs.ts';
import type { WorkerLog } from '../cluster-worker.ts';
import { createNetcheck } from '../serve.ts';
import { loadConfig } from '../settings.ts';
import { readVersion } from '../version.ts';
import type { DemoNetwork } from './network.ts';

/** The cluster's name in Slack, in the configuration and in Redis. */
export const CLUSTER = 'lab';
export const CHANNEL = 'incidents';

/** The people of the demo's workspace: who is on call, and who is asked to approve. Both may approve. */
export const PEOPLE = { onCall: 'maya', second: 'jonas' } as const;
export type Person = (typeof PEOPLE)[keyof typeof PEOPLE];

/** Everything that the demo plays on: a Slack, a Redis, a network, and netcheck between them. */
export type Stage = {
  readonly network: DemoNetwork;
  readonly slack: TestSlack;
  readonly hands: ReturnType<typeof createHands>;
  readonly redis: Redis;
  readonly runs: RunStore;
  readonly config: Config;
  /** The names of people and channels, by their ids. */
  readonly names: ReadonlyMap<string, string>;
};

/** Things to be ended, the latest first. */
export type Cleanup = {
  readonly add: (end: () => Promise<unknown>) => void;
  /** Ends everything, once; what fails to end does not keep the rest. */
  readonly run: () => Promise<void>;
};

/** Makes a cleanup with nothing in it. What is added after it ran is ended at once. */
export function createCleanup(): Cleanup {
  const ends: (() => Promise<unknown>)[] = [];
  let running: Promise<void> | null = null;

  async function endAll(): Promise<void> {
    for (let end = ends.pop(); end !== undefined; end = ends.pop()) await end().catch(() => undefined);
  }

  return {
    add(end) {
      ends.push(end);
      if (running !== null) running = running.then(endAll);
    },
    run() {
      running = (running ?? Promise.resolve()).then(endAll);
      return running;
    },
  };
}

/**
 * Sets the stage: a Redis that syncs every write, a workspace with two engineers and one channel, a network made with
 * the key that its nodes are to trust, and bot and worker as `netcheck all` starts them, from a netcheck.yaml. Whatever
 * was started is in `cleanup`, also when a later part fails.
 */
export async function setStage(options: {
  readonly createNetwork: (approvalKey: string) => Promise<DemoNetwork>;
  readonly cleanup: Cleanup;
  readonly log: WorkerLog;
}): Promise<Stage> {
  const { cleanup, log } = options;
  const folder = await mkdtemp(join(tmpdir(), 'netcheck-demo-'));
  cleanup.add(() => rm(folder, { recursive: true, force: true }));
  const keys = generateKeyPairSync('ed25519');
  const publicKey = keys.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const [server, slack, network] = await Promise.all([
    added(startRedis(), ({ close }) => close()),
    added(startSlack({ users: { [PEOPLE.onCall]: {}, [PEOPLE.second]: {} }, channels: { [CHANNEL]: {} } }), ({ close }) =>
      close(),
    ),
    added(options.createNetwork(publicKey), ({ close }) => close()),
  ]);

  const file = join(folder, 'netcheck.yaml');
  await writeFile(join(folder, 'approval.pub'), publicKey);
  await writeFile(
    file,
    stringify({
      slack: { port: 0, apiUrl: slack.apiUrl },
      redis: { url: server.url },
      clusters: { [CLUSTER]: network.cluster ?? {} },
      access: { approve: { users: Object.values(PEOPLE).map(slack.user) } },
      remedies: { enabled: true, publicKeyFile: 'approval.pub', auditFile: 'audit-{cluster}.jsonl' },
    }),
  );
  const config = loadConfig(file, 'all', {
    NETCHECK_SLACK_SIGNING_SECRET: SIGNING_SECRET,
    NETCHECK_SLACK_BOT_TOKEN: BOT_TOKEN,
    NETCHECK_APPROVAL_KEY: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  });
  const { openCluster } = network;
  const netcheck = await createNetcheck(config, {
    bot: true,
    clusters: [CLUSTER],
    version: readVersion(),
    log,
    ...(openCluster === null ? {} : { openCluster }),
  });
  cleanup.add(netcheck.stop);
  const { port } = await netcheck.start();
  if (port === null) throw new Error('the bot has no port');
  const redis = new Redis(server.url);
  redis.on('error', () => undefined);
  cleanup.add(async () => redis.disconnect());
  const names = new Map([
    ...Object.values(PEOPLE).map((name) => [slack.user(name), name] as const),
    [slack.channel(CHANNEL), CHANNEL] as const,
  ]);
  return { network, slack, hands: createHands(slack, port), redis, runs: createRunStore(redis, CLUSTER), config, names };

  async function added<T>(work: Promise<T>, close: (part: T) => Promise<unknown>): Promise<T> {
    const part = await work;
    cleanup.add(() => close(part));
    return part;
  }
}
