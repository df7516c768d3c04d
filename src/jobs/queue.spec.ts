import { afterEach, beforeEach, expect, test } from 'vitest';
import { startRedis, type TestRedis } from '../../test/redis.ts';
import { closeRedis, connectRedis, redisIsReady } from '../store/redis.ts';
import { createProducer } from './producer.ts';
import { openQueue } from './queue.ts';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const open = (options: { readonly isGrouped: boolean }) => connectRedis(server.url, 'fail-fast', silent, options);

let server: TestRedis;
beforeEach(async () => {
  server = await startRedis();
});
afterEach(() => server.close());

test('queues are opened among other commands, by producers and observers, and no process ends of it', async () => {
  for (const isObserver of [true, false]) {
    for (let round = 0; round < 20; round += 1) {
      const redis = open({ isGrouped: false });
      expect(await redisIsReady(redis, 5_000)).toBe(true);
      const producer = createProducer(redis, { isObserver });
      const others = Array.from({ length: 5 }, () => redis.get('anything'));
      const states = await Promise.all(['lab', 'prod'].map(producer.state));
      expect(states.flat().map(({ cluster, queue, waiting }) => [cluster, queue, waiting])).toEqual([
        ['lab', 'diagnose', 0],
        ['lab', 'remediate', 0],
        ['prod', 'diagnose', 0],
        ['prod', 'remediate', 0],
      ]);
      await Promise.all(others);
      await producer.close();
      closeRedis(redis);
    }
  }
});

test('a queue on a connection that groups commands, or that does not stand, is refused', async () => {
  const grouped = open({ isGrouped: true });
  const fresh = open({ isGrouped: false });
  expect(() => openQueue(fresh, 'q', {})).toThrow('Connection is closed: Redis cannot be reached');
  expect(await redisIsReady(grouped, 5_000)).toBe(true);
  expect(() => openQueue(grouped, 'q', {})).toThrow('a queue needs a connection that groups no commands');
  closeRedis(grouped);
  closeRedis(fresh);
});
