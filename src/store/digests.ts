import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Digest, DigestDraft, DigestFacts, DigestRecord, TrendPoint } from '../model/digest.ts';
import { ok, type Result } from '../model/result.ts';
import { nextSlot, slotUntil } from '../model/schedule.ts';
import {
  DigestDraftKind,
  DigestFactsKind,
  DigestKind,
  DigestRecordKind,
  type HistoryEntry,
  HistoryEntryKind,
  TrendPointKind,
} from '../model/wire/digest.ts';
import { pack, type RecordFault, unpack } from '../model/wire/kind.ts';
import { type RunOrder, RunOrderKind } from '../model/wire/run.ts';
import { historyArguments, REMEMBER } from './history.ts';
import { botKeys, clusterKeys, KEEP } from './keys.ts';
import { defineScript, redisNow } from './redis.ts';

/** So many digests are shown in a trend. */
const TREND = 40;
/** A clock may be ahead of Redis's by so much. */
const SKEW_MS = 60_000;
/** Slots that were missed are counted up to here. */
const MOST_MISSED = 100;

// KEYS draft, digests, slots. ARGV draft, id, digest, channel, perChannel, perCluster, now
const saveScript = defineScript(`
local draft = redis.call('GET', KEYS[1])
if not draft then return {'gone', ''} end
if draft ~= ARGV[1] then return {'saved', draft} end
local inChannel, all = 0, 0
for _, text in ipairs(redis.call('HVALS', KEYS[2])) do
  local read, envelope = pcall(cjson.decode, text)
  all = all + 1
  if read and type(envelope.data) == 'table' and envelope.data.channel == ARGV[4] then inChannel = inChannel + 1 end
end
if inChannel >= tonumber(ARGV[5]) then return {'channel', tostring(inChannel)} end
if all >= tonumber(ARGV[6]) then return {'cluster', tostring(all)} end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[7])
redis.call('SET', KEYS[1], 'saved ' .. ARGV[2], 'KEEPTTL')
return {'saved', 'saved ' .. ARGV[2]}
`);

// KEYS digests, slots, facts, trend. ARGV id
const removeScript = defineScript(`
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4])
return redis.call('HDEL', KEYS[1], ARGV[1])
`);

// KEYS digests, slots, run, active, untold. ARGV id, slot, last, run, order, keep
const claimScript = defineScript(`
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return {'gone', '0'} end
local last = redis.call('HGET', KEYS[2], ARGV[1]) or '0'
if tonumber(ARGV[2]) <= tonumber(last) then return {'taken', last} end
if last ~= ARGV[3] then return {'moved', last} end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], 'order', ARGV[5], 'user', '', 'status', 'queued', 'epoch', 0, 'acceptedAt', now(), 'confirmBy', now())
redis.call('EXPIRE', KEYS[3], ARGV[6])
redis.call('ZADD', KEYS[4], now(), ARGV[4])
redis.call('ZADD', KEYS[5], now(), ARGV[4])
return {'claimed', last}
`);

// KEYS record, digests, facts, trend, verdict, history, entries, roots.
// ARGV id, run, record, facts, at, trend, trendLength, keep, keepQuiet ('' when it is posted), entryAt, entry, keepMs, most
const recordScript = defineScript(`${REMEMBER}
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[8])
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  local base = redis.call('HGET', KEYS[3], ARGV[1])
  local read, envelope = pcall(cjson.decode, base or 'null')
  local at = base and read and type(envelope.data) == 'table' and tonumber(envelope.data.at) or 0
  if ARGV[4] ~= '' and tonumber(ARGV[5]) >= at then redis.call('HSET', KEYS[3], ARGV[1], ARGV[4]) end
  redis.call('RPUSH', KEYS[4], ARGV[6])
  redis.call('LTRIM', KEYS[4], -tonumber(ARGV[7]), -1)
end
if ARGV[9] ~= '' then redis.call('EXPIRE', KEYS[5], ARGV[9]) end
remember(KEYS[6], KEYS[7], KEYS[8], ARGV[2], ARGV[10], ARGV[11], ARGV[12], ARGV[13])
return ARGV[3]
`);

/** What became of a draft that somebody wants to save. `limit` is the number that is reached. */
export type Saving =
  | { readonly kind: 'saved'; readonly digest: Digest }
  | { readonly kind: 'gone' }
  | { readonly kind: 'limit'; readonly of: 'channel' | 'cluster'; readonly limit: number };

/** What became of a slot: a run was accepted for it, or it has one already, is not due yet, or the digest is gone. */
export type Claim = { readonly kind: 'claimed'; readonly run: string } | { readonly kind: 'taken' | 'early' | 'gone' };

export type DigestStore = ReturnType<typeof createDigestStore>;

/** The digests of one cluster. Every function rejects when Redis cannot be reached, and may be repeated. */
export function createDigestStore(redis: Redis, cluster: string) {
  const keys = clusterKeys(cluster);
  const digests = botKeys.digests(cluster);
  const slots = botKeys.digestSlots(cluster);

  async function get(id: string): Promise<Result<Digest | null, RecordFault>> {
    const text = await redis.hget(digests, id);
    return text === null ? ok(null) : unpack(DigestKind, digests, text);
  }

  return {
    get,

    /** Keeps a draft for a quarter of an hour. */
    draft: async (draft: DigestDraft): Promise<void> => {
      await redis.set(botKeys.digestDraft(cluster, draft.id), pack(DigestDraftKind, draft), 'EX', KEEP.draft);
    },

    /** Saves a draft of this person in this channel, once: saved again, it is the same digest. */
    save: async (
      id: string,
      by: { readonly user: string; readonly channel: string },
      limits: { readonly perChannel: number; readonly perCluster: number },
    ): Promise<Saving> => {
      const key = botKeys.digestDraft(cluster, id);
      const text = await redis.get(key);
      if (text === null) return { kind: 'gone' };
      let saved = text;
      if (!text.startsWith('saved ')) {
        const draft = unpack(DigestDraftKind, key, text);
        if (!draft.ok || draft.value.by.user !== by.user || draft.value.channel !== by.channel) return { kind: 'gone' };
        const [number, savedAt, auditSeq] = await Promise.all([
          redis.incr(botKeys.digestNumber(cluster)),
          redisNow(redis),
          redis.llen(keys.audit),
        ]);
        const digest: Digest = { ...draft.value, id: `d${number}`, number, savedAt, auditSeq };
        const [kind, value = ''] = z
          .array(z.string())
          .parse(
            await saveScript(
              redis,
              [key, digests, slots],
              [text, digest.id, pack(DigestKind, digest), digest.channel, limits.perChannel, limits.perCluster, savedAt],
            ),
          );
        if (kind === 'channel' || kind === 'cluster') return { kind: 'limit', of: kind, limit: Number(value) };
        if (kind === 'gone') return { kind };
        saved = value;
      }
      const read = await get(saved.slice('saved '.length));
      return read.ok && read.value !== null ? { kind: 'saved', digest: read.value } : { kind: 'gone' };
    },

    /** Lets a draft go. */
    discard: async (id: string): Promise<void> => {
      await redis.del(botKeys.digestDraft(cluster, id));
    },

    /** All digests that can be read, oldest first. */
    list: async (): Promise<Digest[]> => {
      const all = (await redis.hvals(digests)).flatMap((text) => {
        const read = unpack(DigestKind, digests, text);
        return read.ok ? [read.value] : [];
      });
      return all.sort((a, b) => a.number - b.number);
    },

    /** Removes a digest, and what the next one would have been compared with. Returns whether it was there. */
    remove: async (id: string): Promise<boolean> =>
      (await removeScript(redis, [digests, slots, botKeys.digestFacts(cluster), botKeys.digestTrend(cluster, id)], [id])) === 1,

    /** The digests that have a slot without a run, older than `graceMs`: what nobody took up when it was due. */
    overdue: async (graceMs: number): Promise<Digest[]> => {
      const [all, last, now] = await Promise.all([redis.hvals(digests), redis.hgetall(slots), redisNow(redis)]);
      return all.flatMap((text) => {
        const read = unpack(DigestKind, digests, text);
        if (!read.ok) return [];
        const slot = slotUntil(read.value.schedule, now - graceMs);
        return slot !== null && slot > Number(last[read.value.id] ?? 0) ? [read.value] : [];
      });
    },

    /**
     * Accepts the run of the latest slot that is due, at `due` (ms) or after it: the slot is taken and the run is queued in
     * one step, so a slot has one run however many ask. Earlier slots without a run are missed, and counted.
     */
    claim: async (digest: Digest, due: number): Promise<Claim> => {
      const now = await redisNow(redis);
      if (due > now + SKEW_MS) return { kind: 'early' };
      const latest = slotUntil(digest.schedule, now) ?? due;
      // A clock that is ahead of Redis's may say that a slot is due a moment before it is.
      const slot = Math.max(due, latest);
      for (let last = (await redis.hget(slots, digest.id)) ?? '0'; ; ) {
        const run = runOf(cluster, digest.id, slot);
        const order: RunOrder = {
          id: run,
          cluster,
          request: { kind: 'cluster' },
          requestedBy: digest.by,
          channel: digest.channel,
          follows: null,
          digest: { id: digest.id, slot, missed: missedBetween(digest, Number(last), slot), asked: false },
        };
        const [kind, found = '0'] = z
          .array(z.string())
          .parse(
            await claimScript(
              redis,
              [digests, slots, keys.run(run), keys.active, keys.untold],
              [digest.id, slot, last, run, pack(RunOrderKind, order), KEEP.run],
            ),
          );
        if (kind === 'claimed') return { kind, run };
        if (kind === 'taken' || kind === 'gone') return { kind };
        last = found;
      }
    },

    /** What the next digest is compared with, or null before the first. What cannot be read is as if it were not there. */
    facts: async (id: string): Promise<DigestFacts | null> => {
      const text = await redis.hget(botKeys.digestFacts(cluster), id);
      const read = text === null ? null : unpack(DigestFactsKind, botKeys.digestFacts(cluster), text);
      return read?.ok === true ? read.value : null;
    },

    /**
     * Stores a digest as it was made, what the next one is compared with, its point in the trend and its entry in the
     * history, all or nothing. Whoever comes second gets the first one's record: a digest is made once.
     */
    record: async (made: {
      readonly record: DigestRecord;
      readonly facts: DigestFacts | null;
      readonly point: TrendPoint;
      readonly entry: HistoryEntry;
    }): Promise<Result<DigestRecord, RecordFault>> => {
      const { record, facts, point, entry } = made;
      const { digest, run } = record;
      const history = historyArguments(cluster);
      const key = botKeys.digestRecord(cluster, run);
      const text = z
        .string()
        .parse(
          await recordScript(
            redis,
            [
              key,
              digests,
              botKeys.digestFacts(cluster),
              botKeys.digestTrend(cluster, digest),
              keys.verdict(run),
              ...history.keys,
            ],
            [
              digest,
              run,
              pack(DigestRecordKind, record),
              facts === null ? '' : pack(DigestFactsKind, facts),
              facts?.at ?? 0,
              pack(TrendPointKind, point),
              TREND,
              KEEP.run,
              record.posted ? '' : KEEP.bundle,
              entry.at,
              pack(HistoryEntryKind, entry),
              ...history.limits,
            ],
          ),
        );
      return unpack(DigestRecordKind, key, text);
    },

    /** A digest as it was made, or null when it was not, or not lately. */
    made: async (run: string): Promise<DigestRecord | null> => {
      const key = botKeys.digestRecord(cluster, run);
      const text = await redis.get(key);
      const read = text === null ? null : unpack(DigestRecordKind, key, text);
      return read?.ok === true ? read.value : null;
    },

    /** How the last digests went, up to one that began at that time, oldest first. */
    trend: async (id: string, until: number): Promise<TrendPoint[]> => {
      const key = botKeys.digestTrend(cluster, id);
      const points = (await redis.lrange(key, 0, -1)).flatMap((text) => {
        const read = unpack(TrendPointKind, key, text);
        return read.ok && read.value.at <= until ? [read.value] : [];
      });
      return points.sort((a, b) => a.at - b.at);
    },
  } as const;
}

/** The run of a slot: whoever asks, it is the same one. */
function runOf(cluster: string, digest: string, slot: number): string {
  return `r${createHash('sha256').update(`${cluster} ${digest} ${slot}`).digest('hex').slice(0, 10)}`;
}

/** How many slots lie between two, neither included, as far as they are counted. */
function missedBetween({ schedule }: Digest, last: number, slot: number): number {
  if (last === 0) return 0;
  let missed = 0;
  for (let next = nextSlot(schedule, last); next !== null && next < slot && missed < MOST_MISSED; next = nextSlot(schedule, next))
    missed += 1;
  return missed;
}
