import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { fail, ok, type Result } from '../model/result.ts';
import type { RecordFault } from '../model/wire/kind.ts';

/** A whole number as it lies in a Redis hash. */
export const StoredInteger = z.string().regex(/^\d+$/).transform(Number);

/** The part of a logger that is used here. */
export type Log = {
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
  readonly error: (fields: object, message: string) => void;
};

/**
 * How a connection behaves while Redis is away. `fail-fast`: every command is refused at once, for whoever has to give
 * an answer within seconds. `patient`: commands wait until Redis is back, for workers that must not lose a result.
 */
export type Patience = 'fail-fast' | 'patient';

/**
 * Opens a connection to Redis and keeps it open: it reconnects within half a second of Redis being back, and a socket
 * that stays silent is given up (a partition shows no other sign). Resolves at once; commands fail or wait, see
 * `Patience`, until the connection stands. Where it is `isGrouped`, commands of one tick go out together, so that Redis
 * syncs them to disk together; no queue may be opened on such a connection, see `openQueue`.
 */
export function connectRedis(
  url: string,
  patience: Patience,
  log: Log,
  { isGrouped = false }: { readonly isGrouped?: boolean } = {},
): Redis {
  const redis = new Redis(url, {
    retryStrategy: (times) => Math.min(50 * times, 500),
    connectTimeout: 2_000,
    enableAutoPipelining: isGrouped,
    ...(patience === 'fail-fast'
      ? { enableOfflineQueue: false, maxRetriesPerRequest: 1, socketTimeout: 4_000 }
      : { maxRetriesPerRequest: null, socketTimeout: 15_000 }),
  });
  let complained = false;
  redis.on('ready', () => {
    if (complained) log.info({ redis: address(url) }, 'Redis is reachable again');
    complained = false;
  });
  redis.on('error', (error) => {
    if (!complained) log.warn({ redis: address(url), error: error.message }, 'Redis cannot be reached');
    complained = true;
  });
  return redis;
}

/** Closes a connection, whatever state it is in. */
export function closeRedis(redis: Redis): void {
  redis.disconnect();
}

/** Waits until the connection stands, or the time is up; returns whether it does. */
export async function redisIsReady(redis: Redis, withinMs: number): Promise<boolean> {
  if (redis.status === 'ready') return true;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const onReady = (): void => resolve(true);
  const timer = setTimeout(() => resolve(false), withinMs);
  redis.once('ready', onReady);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    redis.off('ready', onReady);
  }
}

/** What went wrong with Redis, in words for somebody who waits for an answer. Null for an error of another origin. */
export function redisTrouble(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  if (error.message.startsWith('OOM')) return 'Redis is full';
  if (error.message.startsWith('LOADING')) return 'Redis is still starting';
  if (error.message.startsWith('READONLY')) return 'Redis is read-only (a replica?)';
  if (/^(MISCONF|NOAUTH|NOPERM|WRONGPASS)/.test(error.message)) return 'Redis refuses commands; see the log';
  if (
    error.name === 'MaxRetriesPerRequestError' ||
    /Connection is closed|Stream isn't writeable|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EPIPE|Socket timeout|Command aborted/.test(
      error.message,
    )
  ) {
    return 'Redis cannot be reached';
  }
  return null;
}

/**
 * A hash as Redis returned it, read by a schema: null where there is none, or a fault that names `key`. `what` says what
 * it should be, with its article.
 */
export function readHash<S extends z.ZodType>(
  schema: S,
  what: string,
  key: string,
  hash: Record<string, string>,
): Result<z.output<S> | null, RecordFault> {
  if (Object.keys(hash).length === 0) return ok(null);
  const read = schema.safeParse(hash);
  if (read.success) return ok(read.data);
  const [issue] = read.error.issues;
  const message = `${key}: not ${what} at ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
  return fail({ kind: 'invalid', key, message });
}

/** A Lua script: run by its hash, sent whole only when Redis does not know it yet. */
export type Script = (redis: Redis, keys: readonly string[], args: readonly (string | number | Buffer)[]) => Promise<unknown>;

/**
 * Declares a Lua script. All scripts of netcheck have `now()`, milliseconds since the epoch on Redis's clock, and are
 * written so that running one twice does what running it once does: a reply can be lost after the effect.
 */
export function defineScript(body: string): Script {
  const lua = `local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
${body}`;
  const sha = createHash('sha1').update(lua).digest('hex');
  return async (redis, keys, args) => {
    try {
      return await redis.evalsha(sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return redis.eval(lua, keys.length, ...keys, ...args);
    }
  };
}

/** Milliseconds since the epoch on Redis's clock. */
export async function redisNow(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

function address(url: string): string {
  try {
    return new URL(url).host;
  } catch {
    return 'unknown';
  }
}
