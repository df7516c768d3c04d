import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { App, HTTPReceiver, type Receiver } from '@slack/bolt';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Config } from '../config.ts';
import { CLOCK, type ClockTuning, createDigestClock } from '../jobs/digest-clock.ts';
import { createProducer, type Producer } from '../jobs/producer.ts';
import { ALIVE_MS } from '../jobs/worker.ts';
import { type Meter, NO_METER, type QueueState } from '../meter.ts';
import { createActionStore } from '../store/actions.ts';
import { createDigestStore } from '../store/digests.ts';
import { createHistoryStore } from '../store/history.ts';
import { botKeys, clusterKeys } from '../store/keys.ts';
import { createOutbox } from '../store/outbox.ts';
import { closeRedis, connectRedis, type Log, redisIsReady } from '../store/redis.ts';
import { isFirstSeen } from '../store/replay.ts';
import { createRunStore } from '../store/runs.ts';
import { createWorkerStore } from '../store/workers.ts';
import { createAuthorize, createChannelCheck, createMayStill, type Self } from './authorize.ts';
import { createTellDigest } from './digest-flow.ts';
import { createDirectory } from './directory.ts';
import { createDraw } from './draw.ts';
import { createFrontDoor, ENDPOINT } from './front-door.ts';
import { registerListeners } from './listen.ts';
import { LISTENERS } from './listeners/index.ts';
import { createSender, DELIVERY, type DeliveryTuning } from './sender.ts';
import { type ClusterStores, fromAMomentAgo, type Services } from './services.ts';
import { clientOptions, createSlackApi, createUpload, type SlackCall, slackLogger } from './slack-api.ts';
import { createSocketDoor } from './socket-door.ts';
import { createTracker } from './tracker.ts';

/** How often and how long, in milliseconds; the parts that are not in the configuration. */
export type BotTuning = DeliveryTuning &
  ClockTuning & {
    /** How long Slack's answers about people and channels are remembered. */
    readonly rememberMs: number;
    /** How often everything is looked through for what no event told of. */
    readonly sweepMs: number;
    /** How long starting waits for Slack and Redis. */
    readonly startMs: number;
    /** Pause before a Socket Mode connection that failed is tried again. */
    readonly socketPauseMs: number;
  };

const TUNING: BotTuning = { ...DELIVERY, ...CLOCK, rememberMs: 60_000, sweepMs: 1_000, startMs: 30_000, socketPauseMs: 1_000 };

/** Slack takes up to ten Socket Mode connections of an app: two of each replica leave room for several. */
const SOCKETS = 2;

const MOMENT_MS = 500;

export type BotDependencies = { readonly log: Log; readonly meter?: Meter; readonly tuning?: Partial<BotTuning> };

/** A running bot. `stop` ends it gracefully: what was taken is answered, what is being sent is sent. */
export type BotProcess = {
  /**
   * Resolves when requests are taken, with the port, null in Socket Mode; rejects, in words, when Slack does not accept
   * a token.
   */
  readonly start: () => Promise<{ readonly port: number | null }>;
  /** What keeps the bot from doing its work, a sentence each; nothing when it is ready. */
  readonly readiness: () => Promise<readonly string[]>;
  /** How full the queues of all clusters are. Rejects when Redis cannot be reached. */
  readonly queues: () => Promise<readonly QueueState[]>;
  readonly stop: () => Promise<void>;
};

const AuthTest = z.object({
  team_id: z.string(),
  user_id: z.string(),
  enterprise_id: z.string().optional(),
  url: z.string().default(''),
});

/** Makes the bot. Nothing happens before `start`. Redis need not be up: commands are refused until it is. */
export function createBot(config: Config, dependencies: BotDependencies): BotProcess {
  const { log, meter = NO_METER } = dependencies;
  const tuning = { ...TUNING, ...dependencies.tuning };
  let running: {
    readonly stop: () => Promise<void>;
    readonly redis: Redis;
    readonly producer: Producer;
    readonly way: Way;
  } | null = null;

  async function start(): Promise<{ readonly port: number | null }> {
    const { slack } = config;
    if (slack === null) throw new Error('the bot was started with the configuration of a worker');
    const call = createSlackApi({ token: slack.botToken, apiUrl: slack.apiUrl, timeoutMs: tuning.timeoutMs, log, meter });
    const self = await introduce(call, tuning.startMs, log);
    const redis = connectRedis(config.redis.url, 'fail-fast', log, { isGrouped: true });
    const forQueues = connectRedis(config.redis.url, 'fail-fast', log);
    const subscriber = connectRedis(config.redis.url, 'patient', log);
    if (!(await redisIsReady(redis, 2_000))) log.warn({}, 'starting without Redis: commands are refused until it can be reached');

    const stores = new Map(Object.keys(config.clusters).map((name) => [name, storesOf(redis, name)]));
    const outbox = createOutbox(redis);
    const producer = createProducer(forQueues);
    const directory = createDirectory(call, tuning.rememberMs, Date.now);
    const mayRun = createMayStill(config, directory, self);
    const clock = createDigestClock({ config, redis: forQueues, stores, mayRun, producer, log, tuning });
    const draw = createDraw((name) => stores.get(name));
    const sender = createSender({
      outbox,
      call,
      upload: createUpload(slack.apiUrl, tuning.timeoutMs),
      draw,
      self: self.user,
      log,
      tuning,
    });
    const tellDigest = createTellDigest({ config, outbox, mayTell: createChannelCheck(config, directory), log });
    const tracker = createTracker({ config, stores, outbox, sender, producer, tellDigest, log, sweepMs: tuning.sweepMs });
    const services: Services = {
      config,
      self,
      authorize: createAuthorize(config, directory, self),
      stores: (name) => stores.get(name) ?? storesOf(redis, name),
      outbox,
      producer,
      clock,
      call,
      log,
    };

    const way = slack.mode === 'http' ? overHttp(slack, redis, log) : overSockets(slack, redis, tuning, log);
    const app = new App({
      receiver: way.receiver,
      // The identity is known from `auth.test`; who sent a request is decided by `authorize`, not here.
      authorize: async () => ({ botToken: slack.botToken, botUserId: self.user, teamId: self.team }),
      deferInitialization: true,
      ignoreSelf: false,
      convoStore: false,
      logger: slackLogger(log),
      clientOptions: clientOptions(slack.apiUrl, tuning.timeoutMs, log),
    });
    const underWay = new Set<Promise<unknown>>();
    const track = <T>(work: Promise<T>): Promise<T> => {
      underWay.add(work);
      void work.catch(() => undefined).finally(() => underWay.delete(work));
      return work;
    };
    registerListeners(app, LISTENERS, services, track);
    await app.init();

    const port = await way.open();

    subscriber.on('message', (channel: string, id: string) => {
      if (channel === botKeys.outboxWake) return sender.wake();
      const name = [...stores.keys()].find((one) => clusterKeys(one).events === channel);
      if (name !== undefined) tracker.changed(name, id);
    });
    const channels = [botKeys.outboxWake, ...[...stores.keys()].map((name) => clusterKeys(name).events)];
    // Without events the sweeps still find everything, a little later.
    subscriber.subscribe(...channels).catch((error: Error) => log.warn({ error: error.message }, 'no events from Redis'));
    sender.start();
    tracker.start();
    clock.start();

    const stop = async (): Promise<void> => {
      await way.close(() => Promise.race([Promise.allSettled(underWay), delay(4_000, undefined, { ref: false })]));
      closeRedis(subscriber);
      await clock.stop();
      await tracker.stop();
      await sender.stop();
      await producer.close().catch(() => undefined);
      closeRedis(forQueues);
      closeRedis(redis);
      log.info({}, 'bot stopped');
    };
    running = { stop, redis, producer, way };
    log.info({ mode: slack.mode, port, team: self.team, clusters: [...stores.keys()] }, 'bot started');
    return { port };
  }

  return {
    start,
    readiness: async () => {
      if (running === null) return ['the bot is starting, or stopping'];
      const { redis, way } = running;
      return [
        ...((await redisIsReady(redis, 0)) ? [] : ['Redis cannot be reached']),
        ...(way.isOpen() ? [] : ['no Socket Mode connection to Slack is open']),
      ];
    },
    queues: async () => {
      const { producer } = running ?? {};
      if (producer === undefined) return [];
      return (await Promise.all(Object.keys(config.clusters).map(producer.state))).flat();
    },
    stop: async () => {
      const stop = running?.stop;
      running = null;
      await stop?.();
    },
  };
}

/** A way by which commands and clicks come. `close` takes nothing new, and waits for what is under way. */
type Way = {
  readonly receiver: Receiver;
  readonly open: () => Promise<number | null>;
  readonly isOpen: () => boolean;
  readonly close: (settle: () => Promise<unknown>) => Promise<void>;
};

type SlackConfig = NonNullable<Config['slack']>;

function overHttp(slack: SlackConfig, redis: Redis, log: Log): Way {
  const receiver = new HTTPReceiver({
    signingSecret: slack.signingSecret,
    // The front door has verified the signature already, and nothing else leads here: the receiver never listens.
    signatureVerification: false,
    endpoints: ENDPOINT,
    customPropertiesExtractor: (request) => ({ arrivedAt: 'arrivedAt' in request ? request.arrivedAt : performance.now() }),
    logger: slackLogger(log),
  });
  const door = createFrontDoor({
    signingSecret: slack.signingSecret,
    isFirstSeen: (signature) => isFirstSeen(redis, signature),
    handle: receiver.requestListener,
    log,
    now: Date.now,
  });
  return {
    receiver,
    open: async () => {
      door.listen(slack.port);
      await once(door, 'listening');
      return (door.address() as AddressInfo).port;
    },
    isOpen: () => door.listening,
    close: async (settle) => {
      const closed = once(door, 'close');
      door.close();
      door.closeIdleConnections();
      await settle();
      door.closeAllConnections();
      await closed;
    },
  };
}

function overSockets(slack: SlackConfig, redis: Redis, tuning: BotTuning, log: Log): Way {
  let app: App | null = null;
  const door = createSocketDoor({
    appToken: slack.appToken,
    apiUrl: slack.apiUrl,
    timeoutMs: tuning.timeoutMs,
    sockets: SOCKETS,
    pauseMs: tuning.socketPauseMs,
    isFirstSeen: (envelope) => isFirstSeen(redis, envelope),
    handle: async ({ body, ack, arrivedAt }) => app?.processEvent({ body, ack, customProperties: { arrivedAt } }),
    log,
  });
  return {
    receiver: {
      init: (instance) => {
        app = instance;
      },
      start: door.open,
      stop: door.close,
    },
    open: async () => {
      await door.open();
      return null;
    },
    isOpen: () => door.connected() > 0,
    close: async (settle) => {
      // An answer needs its connection: those under way first, then whatever came in the meantime, by its response URL.
      await settle();
      await door.close();
      await settle();
    },
  };
}

function storesOf(redis: Redis, cluster: string): ClusterStores {
  const presence = createWorkerStore(redis, cluster, ALIVE_MS);
  const remediation = createWorkerStore(redis, cluster, ALIVE_MS, 'remediate');
  return {
    runs: createRunStore(redis, cluster),
    actions: createActionStore(redis, cluster),
    digests: createDigestStore(redis, cluster),
    history: createHistoryStore(redis, cluster),
    presence: {
      workforce: fromAMomentAgo(presence.workforce, MOMENT_MS),
      remediators: fromAMomentAgo(remediation.workforce, MOMENT_MS),
      nodes: fromAMomentAgo(presence.nodes, MOMENT_MS),
    },
  };
}

/** Asks Slack who the bot is, and tries again while Slack cannot be reached. */
async function introduce(call: SlackCall, withinMs: number, log: Log): Promise<Self> {
  const until = performance.now() + withinMs;
  for (let pauseMs = 250; ; pauseMs = Math.min(2 * pauseMs, 4_000)) {
    const reply = await call('auth.test', {});
    if (reply.ok) {
      const read = AuthTest.safeParse(reply.value);
      if (!read.success) throw new Error("Slack's answer to auth.test is of an unknown form");
      const { team_id, user_id, enterprise_id, url } = read.data;
      return { team: team_id, user: user_id, enterprise: enterprise_id ?? null, url };
    }
    if (reply.error.kind === 'refused') {
      throw new Error(
        `Slack refuses the bot token (${reply.error.error}): check NETCHECK_SLACK_BOT_TOKEN, or install the app again`,
      );
    }
    if (performance.now() > until)
      throw new Error(`Slack cannot be reached: ${reply.error.kind === 'rate-limited' ? 'rate limited' : reply.error.message}`);
    log.warn({ fault: reply.error }, 'Slack cannot be reached; trying again');
    await delay(pauseMs);
  }
}
