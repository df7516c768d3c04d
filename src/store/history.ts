import type { Redis } from 'ioredis';
import { z } from 'zod';
import { type HistoryEntry, HistoryEntryKind } from '../model/wire/digest.ts';
import { pack, unpack } from '../model/wire/kind.ts';
import { botKeys, KEEP } from './keys.ts';
import { defineScript } from './redis.ts';

/** A cluster's history has at most so many entries: 90 days of a run every 13 minutes, in about 5 MB. */
const MOST_ENTRIES = 10_000;

/** Lua: `remember(history, entries, roots, run, at, entry, keepMs, most)` adds an entry once, and lets old ones go. */
export const REMEMBER = `
local function remember(history, entries, roots, run, at, entry, keepMs, most)
  if redis.call('HSETNX', entries, run, entry) == 1 then redis.call('ZADD', history, at, run) end
  local function forget(runs)
    if #runs == 0 then return end
    redis.call('ZREM', history, unpack(runs))
    redis.call('HDEL', entries, unpack(runs))
    redis.call('HDEL', roots, unpack(runs))
  end
  forget(redis.call('ZRANGEBYSCORE', history, '-inf', now() - tonumber(keepMs), 'LIMIT', 0, 100))
  local excess = redis.call('ZCARD', history) - tonumber(most)
  if excess > 0 then forget(redis.call('ZRANGE', history, 0, math.min(excess, 100) - 1)) end
end
`;

const addScript = defineScript(`${REMEMBER}
remember(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
return 1
`);

/** An entry with the message that showed it, or null where none did (yet). */
export type HistoryLine = { readonly entry: HistoryEntry; readonly root: string | null };

export type HistoryStore = ReturnType<typeof createHistoryStore>;

/** What of the history's arguments is the same for everybody who adds to it. */
export function historyArguments(cluster: string): {
  readonly keys: readonly [string, string, string];
  readonly limits: readonly [number, number];
} {
  return {
    keys: [botKeys.history(cluster), botKeys.historyEntries(cluster), botKeys.historyRoots(cluster)],
    limits: [KEEP.history * 1_000, MOST_ENTRIES],
  };
}

/** What became of a cluster's runs and digests, for 90 days. Every function rejects when Redis cannot be reached. */
export function createHistoryStore(redis: Redis, cluster: string) {
  const { keys, limits } = historyArguments(cluster);
  return {
    /** Adds an entry; one that is there stays as it is. */
    add: async (entry: HistoryEntry): Promise<void> => {
      await addScript(redis, keys, [entry.run, entry.at, pack(HistoryEntryKind, entry), ...limits]);
    },

    /** Entries from the newest on, after `skip` of them, and how many there are in all. Unreadable ones are left out. */
    page: async (skip: number, count: number): Promise<{ readonly lines: HistoryLine[]; readonly total: number }> => {
      const [ids, total] = await Promise.all([redis.zrevrange(keys[0], skip, skip + count - 1), redis.zcard(keys[0])]);
      if (ids.length === 0) return { lines: [], total };
      const [entries, roots] = await Promise.all([redis.hmget(keys[1], ...ids), redis.hmget(keys[2], ...ids)]);
      const lines = entries.flatMap((text, index): HistoryLine[] => {
        const read = unpack(HistoryEntryKind, keys[1], text ?? '');
        return read.ok
          ? [
              {
                entry: read.value,
                root: z
                  .string()
                  .nullable()
                  .parse(roots[index] ?? null),
              },
            ]
          : [];
      });
      return { lines, total };
    },
  } as const;
}
