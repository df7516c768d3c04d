import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { RecordFault } from '../model/wire/kind.ts';
import { pack, unpack } from '../model/wire/kind.ts';
import { type OutboxEntry, OutboxEntryKind } from '../model/wire/outbox.ts';
import { botKeys, clusterKeys, KEEP } from './keys.ts';
import { defineScript, redisNow } from './redis.ts';

/** Lua: `push(outbox, order, due, wake, ref, channel, keep, {step, entry, final, …})` stores steps not there yet. */
export const OUTBOX_PUSH = `
local function push(outbox, order, due, wake, ref, channel, keep, entries)
  redis.call('HSETNX', outbox, 'channel', channel)
  local added = false
  for i = 1, #entries, 3 do
    if redis.call('HSETNX', outbox, 'e:' .. entries[i], entries[i + 1]) == 1 then
      redis.call('RPUSH', order, entries[i])
      if entries[i + 2] ~= '' then redis.call('HSET', outbox, 'final:' .. entries[i + 2], 1) end
      added = true
    end
  end
  if added then
    redis.call('EXPIRE', outbox, keep)
    redis.call('EXPIRE', order, keep)
    redis.call('ZADD', due, 'NX', now(), channel .. ' ' .. ref)
    redis.call('PUBLISH', wake, ref)
  end
end
`;

const pushScript = defineScript(`${OUTBOX_PUSH}
local entries = {}
for i = 4, #ARGV do entries[#entries + 1] = ARGV[i] end
push(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], entries)
return 1
`);

const leaseScript = defineScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

const releaseLeaseScript = defineScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`);

// Moves on over settled steps to the first that is not; claims it, or reports the claim that is already on it.
const claimScript = defineScript(`
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return {'lost'} end
local outbox, order, due = KEYS[1], KEYS[2], KEYS[3]
local index = tonumber(redis.call('HGET', outbox, 'next') or '0')
local step = redis.call('LINDEX', order, index)
while step do
  if not redis.call('HGET', outbox, 's:' .. step) then
    if not redis.call('HGET', outbox, 'dead') then break end
    redis.call('HSET', outbox, 's:' .. step, 'skipped')
  end
  index = index + 1
  step = redis.call('LINDEX', order, index)
end
redis.call('HSET', outbox, 'next', index)
if not step then
  redis.call('ZREM', due, ARGV[3])
  return {'empty'}
end
local entry = redis.call('HGET', outbox, 'e:' .. step)
local decoded, envelope = pcall(cjson.decode, entry)
local data = decoded and type(envelope) == 'table' and type(envelope.data) == 'table' and envelope.data or {}
if data.notBefore and now() < data.notBefore then
  redis.call('ZADD', due, data.notBefore, ARGV[3])
  return {'waits'}
end
local claimedAt = redis.call('HGET', outbox, 'at:' .. step)
local held = redis.call('HGET', outbox, 'claim:' .. step)
redis.call('HSET', outbox, 'claim:' .. step, ARGV[2])
if not held then
  claimedAt = now()
  redis.call('HSET', outbox, 'at:' .. step, claimedAt)
  redis.call('HINCRBY', outbox, 'tries:' .. step, 1)
end
local target = ''
if data.of then target = redis.call('HGET', outbox, 'ts:' .. data.of) or '' end
return {
  held and 'held' or 'fresh', entry, redis.call('HGET', outbox, 'root') or '', target,
  tostring(claimedAt), tostring(now()), redis.call('HGET', outbox, 'tries:' .. step) or '1',
  redis.call('HGET', outbox, 'looks:' .. step) or '0', redis.call('HGET', outbox, 'first:' .. step) or tostring(claimedAt),
  step,
}
`);

const settleScript = defineScript(`
local outbox, step = KEYS[1], ARGV[1]
if redis.call('HGET', outbox, 's:' .. step) then return 'stale' end
if redis.call('HGET', outbox, 'claim:' .. step) ~= ARGV[2] then return 'stale' end
redis.call('HSET', outbox, 's:' .. step, ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', outbox, 'ts:' .. step, ARGV[4]) end
if ARGV[4] ~= '' and ARGV[5] == 'root' then
  redis.call('HSET', outbox, 'root', ARGV[4])
  if string.sub(ARGV[9], 1, 1) == 'r' then redis.call('HSET', KEYS[4], ARGV[9], ARGV[4]) end
end
if ARGV[6] ~= '' then
  redis.call('HSET', outbox, 'error:' .. step, ARGV[6])
  if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HSETNX', KEYS[3], 'deliveryFault', ARGV[6]) end
end
if ARGV[7] == '1' then redis.call('HSET', outbox, 'dead', ARGV[6]) end
redis.call('ZADD', KEYS[2], now(), ARGV[8])
return 'ok'
`);

// 'unsent' gives the claim back; 'unknown' keeps it, so that the next one to come asks Slack first; 'repost' turns a
// claim of unknown fate, of which Slack knows nothing, into a fresh one.
const deferScript = defineScript(`
local outbox, step = KEYS[1], ARGV[1]
if redis.call('HGET', outbox, 'claim:' .. step) ~= ARGV[2] then return 'stale' end
redis.call('HSETNX', outbox, 'first:' .. step, redis.call('HGET', outbox, 'at:' .. step))
if ARGV[3] == 'unsent' then
  redis.call('HDEL', outbox, 'claim:' .. step, 'looks:' .. step)
elseif ARGV[3] == 'looked' then
  redis.call('HINCRBY', outbox, 'looks:' .. step, 1)
elseif ARGV[3] == 'repost' then
  redis.call('HDEL', outbox, 'looks:' .. step)
  redis.call('HSET', outbox, 'at:' .. step, now())
  redis.call('HINCRBY', outbox, 'tries:' .. step, 1)
end
redis.call('ZADD', KEYS[2], now() + tonumber(ARGV[4]), ARGV[5])
return 'ok'
`);

/** A step that is to be sent, with what the sender needs for it. Times are milliseconds on Redis's clock. */
export type Claim = {
  readonly ref: string;
  readonly entry: OutboxEntry;
  readonly token: string;
  /** True when an earlier attempt may have reached Slack. */
  readonly fateUnknown: boolean;
  /** The run's root message, '' while there is none. */
  readonly root: string;
  /** The message that an update is for, '' when that was never posted. */
  readonly target: string;
  /** When the latest, and when the first attempt began. */
  readonly claimedAt: number;
  readonly firstAt: number;
  readonly now: number;
  readonly tries: number;
  /** How often Slack was asked for it since the latest attempt, and knew nothing. */
  readonly looks: number;
};

/** What `claim` found. `unreadable` steps are to be settled as failed. */
export type Claimed =
  | { readonly kind: 'claim'; readonly claim: Claim }
  | { readonly kind: 'lost' | 'empty' | 'waits' }
  | { readonly kind: 'unreadable'; readonly step: string; readonly fault: RecordFault };

/** How a step ended. `dead` ends all further steps of the run too. */
export type Settlement =
  | { readonly state: 'sent'; readonly ts: string }
  | { readonly state: 'failed'; readonly error: string; readonly dead: boolean };

/** The outbox: what the bot has still to say in Slack. */
export type Outbox = ReturnType<typeof createOutbox>;

/** What a run is called in the outbox. With a suffix after `#` it stands for steps that hold up no others. */
export function outboxRef(cluster: string, run: string): string {
  return `${cluster}/${run}`;
}

/** Opens the outbox on a connection. Every function rejects when Redis cannot be reached; all may be repeated. */
export function createOutbox(redis: Redis) {
  return {
    /** Puts steps behind those that are there; a step that was put in before is left as it is. */
    push: async (ref: string, channel: string, entries: readonly OutboxEntry[]): Promise<void> => {
      const flat = entries.flatMap((entry) => [
        entry.step,
        pack(OutboxEntryKind, entry),
        entry.op === 'update' && entry.final ? entry.of : '',
      ]);
      await pushScript(
        redis,
        [botKeys.outbox(ref), botKeys.outboxOrder(ref), botKeys.outboxDue, botKeys.outboxWake],
        [ref, channel, KEEP.run, ...flat],
      );
    },

    /** Takes or renews the right to send, for `ms`; false while another bot has it. */
    lease: async (holder: string, ms: number): Promise<boolean> =>
      (await leaseScript(redis, [botKeys.outboxLease], [holder, ms])) === 1,

    /** Gives the right to send back. */
    releaseLease: async (holder: string): Promise<void> => {
      await releaseLeaseScript(redis, [botKeys.outboxLease], [holder]);
    },

    /** What is due now, oldest first: channels, and the runs to speak of in each. */
    due: async (limit: number): Promise<Map<string, string[]>> => {
      const members = await redis.zrangebyscore(botKeys.outboxDue, 0, await redisNow(redis), 'LIMIT', 0, limit);
      const byChannel = new Map<string, string[]>();
      for (const member of members) {
        const [channel = '', ref = ''] = member.split(' ');
        byChannel.set(channel, [...(byChannel.get(channel) ?? []), ref]);
      }
      return byChannel;
    },

    /** How many runs have steps that are not settled. */
    unsettled: (): Promise<number> => redis.zcard(botKeys.outboxDue),

    /** Claims the next step of a run. */
    claim: async (holder: string, channel: string, ref: string, token: string): Promise<Claimed> => {
      const reply = z
        .array(z.string())
        .parse(
          await claimScript(
            redis,
            [botKeys.outbox(ref), botKeys.outboxOrder(ref), botKeys.outboxDue, botKeys.outboxLease],
            [holder, token, `${channel} ${ref}`],
          ),
        );
      const [kind, text = '', root = '', target = '', claimedAt, now, tries, looks, firstAt, step = ''] = reply;
      if (kind === 'lost' || kind === 'empty' || kind === 'waits') return { kind };
      const read = unpack(OutboxEntryKind, botKeys.outbox(ref), text);
      if (!read.ok) return { kind: 'unreadable', step, fault: read.error };
      return {
        kind: 'claim',
        claim: {
          ref,
          entry: read.value,
          token,
          fateUnknown: kind === 'held',
          root,
          target,
          claimedAt: Number(claimedAt),
          firstAt: Number(firstAt),
          now: Number(now),
          tries: Number(tries),
          looks: Number(looks),
        },
      };
    },

    /** Ends a step. False when somebody else claimed it meanwhile: then what was posted for it is to be taken back. */
    settle: async (
      channel: string,
      ref: string,
      step: string,
      op: OutboxEntry['op'],
      token: string,
      settlement: Settlement,
    ): Promise<boolean> => {
      const [cluster = '', run = ''] = (ref.split('#')[0] ?? '').split('/');
      const sent = settlement.state === 'sent';
      const reply = await settleScript(
        redis,
        [botKeys.outbox(ref), botKeys.outboxDue, clusterKeys(cluster).run(run), botKeys.historyRoots(cluster)],
        [
          step,
          token,
          settlement.state,
          sent ? settlement.ts : '',
          op,
          sent ? '' : settlement.error,
          !sent && settlement.dead ? 1 : 0,
          `${channel} ${ref}`,
          run,
        ],
      );
      return reply === 'ok';
    },

    /**
     * Leaves a step for later. `unsent`: Slack certainly did not take it. `unknown`: Slack may have. `looked`: Slack
     * was asked and knew nothing of it. `repost`: it is about to be sent again under the same claim.
     */
    defer: async (
      channel: string,
      ref: string,
      step: string,
      token: string,
      how: 'unsent' | 'unknown' | 'looked' | 'repost',
      delayMs: number,
    ): Promise<void> => {
      await deferScript(
        redis,
        [botKeys.outbox(ref), botKeys.outboxDue],
        [step, token, how, Math.ceil(delayMs), `${channel} ${ref}`],
      );
    },

    /** The run's root message, or null while it has none. */
    root: (ref: string): Promise<string | null> => redis.hget(botKeys.outbox(ref), 'root'),

    /** The message that a step posted, as long as progress may be shown there, or null. */
    refreshable: async (ref: string, step: string): Promise<string | null> => {
      const [ts, final] = await redis.hmget(botKeys.outbox(ref), `ts:${step}`, `final:${step}`);
      return final === null ? (ts ?? null) : null;
    },

    /** The channel that a run's messages go to, or null when it has none. */
    channel: (ref: string): Promise<string | null> => redis.hget(botKeys.outbox(ref), 'channel'),

    /** How each step of a run stands: `pending`, `sent`, `failed` or `skipped`, in order. */
    steps: async (ref: string): Promise<{ readonly step: string; readonly state: string }[]> => {
      const order = await redis.lrange(botKeys.outboxOrder(ref), 0, -1);
      const states = order.length === 0 ? [] : await redis.hmget(botKeys.outbox(ref), ...order.map((step) => `s:${step}`));
      return order.map((step, index) => ({ step, state: states[index] ?? 'pending' }));
    },
  } as const;
}
