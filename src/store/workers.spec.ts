import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis, type TestRedis } from '../../test/redis.ts';
import { closeRedis, connectRedis } from './redis.ts';
import { isFirstSeen } from './replay.ts';
import { createWorkerStore } from './workers.ts';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = connectRedis(server.url, 'patient', silent);
});
afterAll(async () => {
  closeRedis(redis);
  await server.close();
});

test('workers are alive while they say so, and remembered when they were', async () => {
  const workers = createWorkerStore(redis, 'lab', 15_000);
  expect(await workers.workforce()).toEqual({ alive: [], lastSeenMs: null });
  const beat = { id: 'w1', version: '1', running: ['r1'] };
  await workers.beat(beat);
  expect(await workers.workforce()).toEqual({ alive: [{ beat, ageMs: expect.any(Number) }], lastSeenMs: expect.any(Number) });
  expect(await createWorkerStore(redis, 'lab', -1).workforce()).toEqual({ alive: [], lastSeenMs: expect.any(Number) });
  await workers.leave('w1');
  expect(await workers.workforce()).toEqual({ alive: [], lastSeenMs: expect.any(Number) });
});

test('node names are kept with their age, and nonsense is no list', async () => {
  const workers = createWorkerStore(redis, 'lab', 15_000);
  expect(await workers.nodes()).toBeNull();
  await workers.setNodes(['node-1', 'node-2']);
  expect(await workers.nodes()).toEqual({ names: ['node-1', 'node-2'], ageMs: expect.any(Number) });
  await redis.set('nc:lab:nodes', 'nonsense');
  expect(await workers.nodes()).toBeNull();
});

test('a signature is new once in ten minutes', async () => {
  expect([await isFirstSeen(redis, 'v0=a'), await isFirstSeen(redis, 'v0=a'), await isFirstSeen(redis, 'v0=b')]).toEqual([
    true,
    false,
    true,
  ]);
  expect(await redis.ttl('nc-bot:seen:v0=a')).toBeGreaterThan(590);
});
