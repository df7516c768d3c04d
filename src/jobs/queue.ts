import { Queue, type QueueOptions } from 'bullmq';
import type { Redis } from 'ioredis';

/**
 * Opens a BullMQ queue on a connection that fails fast, at its first use: a queue that is made before Redis was ever reached
 * would hang, so this throws instead. The connection must not group commands: BullMQ defines its scripts on the connection
 * when a queue is opened, ioredis does not know them in a group that was begun before, and its error ends the process.
 */
export function openQueue(redis: Redis, name: string, options: Omit<QueueOptions, 'connection'>): Queue {
  if (redis.options.enableAutoPipelining === true) throw new Error('a queue needs a connection that groups no commands');
  if (redis.status !== 'ready') throw new Error('Connection is closed: Redis cannot be reached');
  const queue = new Queue(name, { ...options, connection: redis });
  // The connection has its own listener; without one here an error would end the process.
  queue.on('error', () => undefined);
  return queue;
}
