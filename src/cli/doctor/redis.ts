import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Config, Role } from '../../config.ts';
import { createProducer } from '../../jobs/producer.ts';
import { ALIVE_MS } from '../../jobs/worker.ts';
import { messageOf } from '../../model/text.ts';
import type { QueueName } from '../../model/wire/job.ts';
import { closeRedis, connectRedis, redisIsReady } from '../../store/redis.ts';
import { createWorkerStore } from '../../store/workers.ts';
import { failed, type Item, isFine, LIMIT_MS, named, notChecked, quoted, warning } from './item.ts';

/** A key that no user of netcheck's may touch. It is only asked for, and there is none. */
const OUTSIDE = 'netcheck-doctor:outside';

/** What netcheck needs of Redis, and where INFO tells it to users that may not read the configuration. */
const SETTINGS = [
  {
    name: 'appendonly',
    value: 'yes',
    without: 'accepted runs are lost when Redis restarts',
    info: (all: Info) => ({ 1: 'yes', 0: 'no' })[all.get('aof_enabled') ?? ''],
  },
  {
    name: 'appendfsync',
    value: 'always',
    without: 'what was just accepted is lost when its machine fails',
    info: () => undefined,
  },
  {
    name: 'maxmemory-policy',
    value: 'noeviction',
    without: 'a full Redis throws away runs and approvals',
    info: (all: Info) => all.get('maxmemory_policy'),
  },
] as const;

/** From which part of maxmemory on there is a warning, and a failure. */
const FULL = { warns: 0.8, fails: 0.95 } as const;

const OLDEST = [6, 2] as const;

type Info = ReadonlyMap<string, string>;

type Where = {
  readonly role: Role;
  readonly clusters: readonly string[];
  readonly file: string;
  readonly version: string;
};

/** What can be said about Redis and what waits in it. Nothing is written. `version` is this program's. */
export async function checkRedis(config: Config, where: Where): Promise<readonly Item[]> {
  let trouble = 'no answer';
  const note = (fields: object): void => {
    if ('error' in fields) trouble = String(fields.error);
  };
  const redis = connectRedis(config.redis.url, 'fail-fast', { info: () => undefined, warn: note, error: note });
  try {
    if (!(await redisIsReady(redis, LIMIT_MS))) return [unreachable(config.redis.url, trouble)];
    const late = delay(LIMIT_MS, null, { ref: false });
    const items = lookAt(redis, config, where);
    // Once the connection is closed nobody waits for what is still asked.
    items.catch(() => undefined);
    return (await Promise.race([items, late])) ?? [unreachable(config.redis.url, `no answer within ${LIMIT_MS / 1000} s`)];
  } catch (error) {
    return [unreachable(config.redis.url, messageOf(error))];
  } finally {
    closeRedis(redis);
  }
}

async function lookAt(redis: Redis, config: Config, where: Where): Promise<readonly Item[]> {
  const { host } = new URL(config.redis.url);
  const start = performance.now();
  await redis.ping();
  const latencyMs = performance.now() - start;
  const info = readInfo(await redis.info());
  const [settings, user, queues, workers] = await Promise.all([
    Promise.all(SETTINGS.map((setting) => checkSetting(redis, info, setting))),
    checkUser(redis, where),
    checkQueues(redis, config, where.clusters),
    Promise.all(where.clusters.flatMap((cluster) => queuesOf(config).map((queue) => checkWorkers(redis, cluster, queue, where)))),
  ]);
  const answer = isFine(`Redis at ${host} answers within ${Math.max(1, Math.round(latencyMs))} ms`);
  return [answer, checkVersion(info), ...settings, ...checkWrites(info), checkMemory(info), user, ...queues, ...workers];
}

function unreachable(url: string, reason: string): Item {
  const { host, hostname, port, username, protocol } = new URL(url);
  const command = `redis-cli${protocol === 'rediss:' ? ' --tls' : ''} -h ${hostname} -p ${port || '6379'}${username === '' ? '' : ` --user ${username}`} --askpass PING`;
  if (/^(WRONGPASS|NOAUTH)|invalid password/i.test(reason))
    return failed(
      `Redis at ${host} refuses the login: ${quoted(reason)}`,
      `write the user into redis.url and its password into NETCHECK_REDIS_PASSWORD, and try them: ${command}`,
    );
  return failed(`Redis at ${host} cannot be used: ${quoted(reason)}`, `set redis.url, and try it from this machine: ${command}`);
}

function readInfo(text: string): Info {
  return new Map(
    text.split(/\r?\n/).flatMap((line) => {
      const at = line.indexOf(':');
      return at < 1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
    }),
  );
}

function checkVersion(info: Info): Item {
  const version = info.get('redis_version') ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (version === '') return notChecked('the version of Redis: INFO does not tell it');
  const isEnough = major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
  return isEnough
    ? isFine(`Redis ${quoted(version)}`)
    : failed(`Redis ${quoted(version)} is too old`, `install Redis ${OLDEST.join('.')} or newer`);
}

async function checkSetting(
  redis: Redis,
  info: Info,
  { name, value, without, info: ofInfo }: (typeof SETTINGS)[number],
): Promise<Item> {
  const { is, reason } = await readSetting(redis, name);
  const found = is ?? ofInfo(info);
  const command = `redis-cli CONFIG SET ${name} ${value} && redis-cli CONFIG REWRITE     as an administrator of Redis`;
  if (found === undefined)
    return notChecked(
      `${name}: ${reason}`,
      `redis-cli CONFIG GET ${name}     as an administrator of Redis; it has to say ${value}`,
    );
  if (found === value) return isFine(`${name} ${value}`);
  return failed(`${name} is ${quoted(found)} and has to be ${value}: ${without}`, command);
}

async function readSetting(redis: Redis, name: string): Promise<{ readonly is?: string; readonly reason: string }> {
  try {
    const found: unknown = await redis.config('GET', name);
    const is: unknown = Array.isArray(found) ? found[1] : undefined;
    return typeof is === 'string' ? { is, reason: '' } : { reason: 'Redis does not know this setting' };
  } catch (error) {
    return { reason: `this user may not read it (${quoted(messageOf(error))})` };
  }
}

function checkWrites(info: Info): Item[] {
  if (info.get('role') === 'slave')
    return [failed('this Redis is a replica: nothing can be written to it', 'write the address of the primary into redis.url')];
  const broken = ['aof_last_write_status', 'aof_last_bgrewrite_status'].filter((name) => info.get(name) === 'err');
  return broken.map((name) =>
    failed(`Redis cannot write to its disk: ${name} is err`, 'df -h     on the machine of Redis; its log says more'),
  );
}

function checkMemory(info: Info): Item {
  const used = Number(info.get('used_memory'));
  const limit = Number(info.get('maxmemory'));
  const machine = Number(info.get('total_system_memory'));
  if (Number.isNaN(used) || Number.isNaN(limit)) return notChecked('memory: INFO does not tell how much is used');
  const all = limit > 0 ? limit : machine;
  if (!(all > 0)) return notChecked(`memory: ${mebibytes(used)} are used, of how many INFO does not tell`);
  const of = limit > 0 ? 'maxmemory' : "the machine's memory; maxmemory is not set";
  const message = `${mebibytes(used)} of ${mebibytes(all)} are used (${of})`;
  if (used < FULL.warns * all) return isFine(message);
  const fix = `redis-cli CONFIG SET maxmemory ${Math.ceil((2 * used) / 2 ** 20)}mb     as an administrator of Redis, on a machine that has it`;
  return used < FULL.fails * all ? warning(message, fix) : failed(`${message}: when it is full, nothing is accepted`, fix);
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}

async function checkUser(
  redis: Redis,
  { role, clusters }: { readonly role: Role; readonly clusters: readonly string[] },
): Promise<Item> {
  const user = await redis.acl('WHOAMI').then(
    (name) => `user ${quoted(name)}`,
    () => 'this user',
  );
  try {
    await redis.exists(OUTSIDE);
  } catch (error) {
    return messageOf(error).startsWith('NOPERM')
      ? isFine(`${user} is confined to netcheck's keys`)
      : notChecked(`whether ${user} is confined: ${quoted(messageOf(error))}`);
  }
  const keys = [
    ...(role === 'worker' ? [] : ['nc-bot:*']),
    ...(role === 'worker' ? clusters.map((name) => `nc:${name}:*`) : ['nc:*']),
  ];
  const name = role === 'worker' ? `netcheck-${clusters.join('-')}` : 'netcheck-bot';
  return warning(
    `${user} may touch every key, those of others too`,
    `ACL SETUSER ${name} on >PASSWORD ${keys.map((key) => `~${key} &${key}`).join(' ')} +@all -@admin -@dangerous +info +client|setname     in redis-cli, then write the user into redis.url`,
  );
}

function queuesOf(config: Config): readonly QueueName[] {
  return config.remedies.enabled ? ['diagnose', 'remediate'] : ['diagnose'];
}

async function checkQueues(redis: Redis, config: Config, clusters: readonly string[]): Promise<Item[]> {
  const producer = createProducer(redis, { isObserver: true });
  try {
    const states = await Promise.all(
      clusters.map((cluster) =>
        producer.state(cluster).then(
          (queues) => queues.filter(({ queue }) => queuesOf(config).some((one) => one === queue)),
          (error: unknown) => notChecked(`the queues of ${cluster}: ${quoted(messageOf(error))}`),
        ),
      ),
    );
    return states.flatMap((state) => {
      if ('message' in state) return [state];
      return state.map(({ cluster, queue, waiting, active, oldestSeconds }) => {
        const message = `queue ${queue} of ${cluster}: ${waiting} waiting, ${active} active${waiting > 0 ? `, the oldest for ${Math.round(oldestSeconds)} s` : ''}`;
        return oldestSeconds > 60
          ? warning(message, `netcheck worker --cluster ${cluster} --queue ${queue}     one more, or one at all`)
          : isFine(message);
      });
    });
  } finally {
    await producer.close();
  }
}

async function checkWorkers(
  redis: Redis,
  cluster: string,
  queue: QueueName,
  { file, version }: { readonly file: string; readonly version: string },
): Promise<Item> {
  const start = `netcheck worker --config ${file} --cluster ${cluster} --queue ${queue}`;
  const deployed = `kubectl -n netcheck rollout status deployment/netcheck-${queue === 'diagnose' ? 'worker' : 'remediation'}`;
  try {
    const { alive, lastSeenMs } = await createWorkerStore(redis, cluster, ALIVE_MS, queue).workforce();
    if (alive.length === 0) {
      const fix = `${start}     or, where it is installed: ${deployed}`;
      return lastSeenMs === null
        ? warning(`no worker has ever served ${queue} of ${cluster}`, fix)
        : failed(
            `no worker serves ${queue} of ${cluster} any more: the last one was seen ${Math.round(lastSeenMs / 1000)} s ago`,
            fix,
          );
    }
    const others = [...new Set(alive.map(({ beat }) => beat.version))].filter((one) => one !== version);
    const message = `${alive.length} ${alive.length === 1 ? 'worker serves' : 'workers serve'} ${queue} of ${cluster}`;
    return others.length === 0
      ? isFine(message)
      : warning(
          `${message}, some in version ${quoted(named(others))} while this is ${version}`,
          `install the same version of netcheck everywhere, then ${deployed}`,
        );
  } catch (error) {
    return notChecked(`whether a worker serves ${queue} of ${cluster}: ${quoted(messageOf(error))}`);
  }
}
