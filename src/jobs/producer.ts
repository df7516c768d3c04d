import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { QueueState } from '../meter.ts';
import { DiagnoseJobKind, type QueueName, RemediateJobKind } from '../model/wire/job.ts';
import { wrap } from '../model/wire/kind.ts';
import { clusterKeys } from '../store/keys.ts';
import { openQueue } from './queue.ts';

/** The names of the queues; BullMQ's keys lie under the cluster's prefix. */
export const QUEUES = { diagnose: 'diagnose', remediate: 'remediate' } as const satisfies Readonly<Record<QueueName, string>>;

const DIAGNOSE = { attempts: 1, removeOnComplete: { age: 3_600, count: 1_000 }, removeOnFail: { age: 86_400, count: 1_000 } };
const REMEDIATE = { attempts: 1, removeOnComplete: { age: 86_400 }, removeOnFail: { age: 86_400 } };

/** Puts jobs into the queues of all clusters. */
export type Producer = {
  /** Stores a run's job. Storing it again does nothing. Rejects at once when Redis cannot be reached. */
  readonly diagnose: (cluster: string, run: string) => Promise<void>;
  /** Stores an approved action's job. Storing it again does nothing. */
  readonly remediate: (cluster: string, action: string) => Promise<void>;
  /** How full the queues of a cluster are. Rejects when Redis cannot be reached. */
  readonly state: (cluster: string) => Promise<readonly QueueState[]>;
  readonly close: () => Promise<void>;
};

/**
 * Makes a producer on a connection that fails fast and groups no commands. An observer only reads: BullMQ writes its own
 * version into a queue when one is opened and complains of settings by itself, and is kept from both.
 */
export function createProducer(redis: Redis, { isObserver = false }: { readonly isObserver?: boolean } = {}): Producer {
  const queues = new Map<string, Queue>();

  function queueOf(cluster: string, name: string): Queue {
    const key = `${cluster}/${name}`;
    const known = queues.get(key);
    if (known !== undefined) return known;
    const queue = openQueue(redis, name, {
      prefix: clusterKeys(cluster).prefix,
      skipMetasUpdate: isObserver,
      skipVersionCheck: isObserver,
    });
    queues.set(key, queue);
    return queue;
  }

  async function add(cluster: string, name: string, id: string, data: object, options: object): Promise<void> {
    await queueOf(cluster, name).add(name, data, { ...options, jobId: id });
  }

  async function stateOf(cluster: string, name: string): Promise<QueueState> {
    const queue = queueOf(cluster, name);
    const [counts, [oldest]] = await Promise.all([queue.getJobCounts('waiting', 'active'), queue.getWaiting(0, 0)]);
    const oldestSeconds = oldest === undefined ? 0 : Math.max(0, (Date.now() - oldest.timestamp) / 1000);
    return { cluster, queue: name, waiting: counts['waiting'] ?? 0, active: counts['active'] ?? 0, oldestSeconds };
  }

  return {
    diagnose: (cluster, run) => add(cluster, QUEUES.diagnose, run, wrap(DiagnoseJobKind, { run }), DIAGNOSE),
    remediate: (cluster, action) => add(cluster, QUEUES.remediate, action, wrap(RemediateJobKind, { action }), REMEDIATE),
    state: (cluster) => Promise.all(Object.values(QUEUES).map((name) => stateOf(cluster, name))),
    close: async () => {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}
