import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { QueueName } from '../model/wire/job.ts';
import { pack, unpack } from '../model/wire/kind.ts';
import { NodeNamesKind, type WorkerBeat, WorkerBeatKind } from '../model/wire/worker.ts';
import { clusterKeys } from './keys.ts';
import { defineScript, StoredInteger } from './redis.ts';

const beatScript = defineScript(`
redis.call('HSET', KEYS[1], ARGV[1], tostring(now()) .. ' ' .. ARGV[2])
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^(%d+) ')) or 0
  if at < now() - tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i]) end
end
redis.call('SET', KEYS[2], now())
return 1
`);

const nodesScript = defineScript(`
redis.call('SET', KEYS[1], tostring(now()) .. ' ' .. ARGV[1])
return 1
`);

// Times are of Redis's own clock, so ages are computed there as well.
const workforceScript = defineScript(`
return {tostring(now()), redis.call('GET', KEYS[2]) or '', redis.call('HVALS', KEYS[1])}
`);

const readNodesScript = defineScript(`
return {tostring(now()), redis.call('GET', KEYS[1]) or ''}
`);

const FORGET_MS = 86_400_000;

/** Whether anybody works for a cluster. Ages are milliseconds on Redis's clock; null when nobody ever did. */
export type Workforce = {
  readonly alive: { readonly beat: WorkerBeat; readonly ageMs: number }[];
  readonly lastSeenMs: number | null;
};

export type WorkerStore = ReturnType<typeof createWorkerStore>;

/** Signs of life of a cluster's workers that serve a queue, and the node names that they last read. */
export function createWorkerStore(redis: Redis, cluster: string, aliveMs: number, queue: QueueName = 'diagnose') {
  const keys = clusterKeys(cluster);
  const beats = queue === 'diagnose' ? keys.workers : keys.remediationWorkers;
  const seen = `${beats}-seen`;
  return {
    beat: async (beat: WorkerBeat): Promise<void> => {
      await beatScript(redis, [beats, seen], [beat.id, pack(WorkerBeatKind, beat), FORGET_MS]);
    },

    /** A worker that goes away says so. */
    leave: async (id: string): Promise<void> => {
      await redis.hdel(beats, id);
    },

    workforce: async (): Promise<Workforce> => {
      const [at, last, found] = z
        .tuple([z.string(), z.string(), z.array(z.string())])
        .parse(await workforceScript(redis, [beats, seen], []));
      const now = Number(at);
      const alive = found.flatMap((text) => {
        const read = splitStamp(text);
        if (read === null || now - read.at > aliveMs) return [];
        const beat = unpack(WorkerBeatKind, beats, read.text);
        return beat.ok ? [{ beat: beat.value, ageMs: Math.max(0, now - read.at) }] : [];
      });
      const lastSeen = StoredInteger.safeParse(last);
      return { alive, lastSeenMs: lastSeen.success ? Math.max(0, now - lastSeen.data) : null };
    },

    setNodes: async (names: readonly string[]): Promise<void> => {
      await nodesScript(redis, [keys.nodes], [pack(NodeNamesKind, { names: [...names] })]);
    },

    /** The node names as last read, and how long ago; null when none are known or they cannot be understood. */
    nodes: async (): Promise<{ readonly names: readonly string[]; readonly ageMs: number } | null> => {
      const [now, text] = z.tuple([z.string(), z.string()]).parse(await readNodesScript(redis, [keys.nodes], []));
      const read = splitStamp(text);
      if (read === null) return null;
      const nodes = unpack(NodeNamesKind, keys.nodes, read.text);
      return nodes.ok ? { names: nodes.value.names, ageMs: Math.max(0, Number(now) - read.at) } : null;
    },
  } as const;
}

function splitStamp(text: string): { readonly at: number; readonly text: string } | null {
  const space = text.indexOf(' ');
  const at = z
    .string()
    .regex(/^\d+$/)
    .safeParse(text.slice(0, Math.max(0, space)));
  return at.success ? { at: Number(at.data), text: text.slice(space + 1) } : null;
}
