import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeOrder } from '../../test/order.ts';
import { until } from '../../test/until.ts';
import { createWorld, recorded, type World } from '../../test/world.ts';
import { createRunStore, type RunStore } from '../store/runs.ts';
import { createWorkerStore } from '../store/workers.ts';
import { createProducer } from './producer.ts';
import type { Diagnose } from './worker.ts';

let world: World;
let redis: Redis;
let runs: RunStore;
beforeEach(async () => {
  world = await createWorld();
  redis = new Redis(world.redis.url);
  redis.on('error', () => undefined);
  runs = createRunStore(redis, 'lab');
});
afterEach(async () => {
  redis.disconnect();
  await world.close();
});

/** Accepts a run as the bot does, and returns its id. */
async function submit(): Promise<string> {
  const order = makeOrder();
  const accepted = await runs.accept(order, { perUser: 99, perCluster: 99, joinMs: 1 }, 5_000);
  if (accepted.kind !== 'accepted') throw new Error('not accepted');
  await createProducer(redis).diagnose('lab', order.id);
  await runs.confirm(order, accepted.at + 5_000, { op: 'root', step: 'root', message: { text: 't', blocks: [] } });
  return order.id;
}

async function statusOf(id: string): Promise<string> {
  const read = await runs.get(id);
  return read.ok ? (read.value?.status ?? 'gone') : 'unreadable';
}

const ended = (id: string, status: string) => until(async () => (await statusOf(id)) === status, `${id} to be ${status}`);

/** A diagnosis that waits until it is let go, or told to stop. */
function gated() {
  const signals: AbortSignal[] = [];
  const gate = Promise.withResolvers<void>();
  const diagnose: Diagnose = async (request, options) => {
    signals.push(options.signal);
    const aborted = Promise.withResolvers<never>();
    options.signal.addEventListener('abort', () => aborted.reject(new Error('aborted')));
    await Promise.race([gate.promise, aborted.promise]);
    return recorded('healthy')(request, options);
  };
  return { diagnose, signals, open: gate.resolve };
}

test('a job that is there before its run is confirmed waits for that, and one that never is does not run', async () => {
  const order = makeOrder();
  const void_ = makeOrder({ channel: 'C2' });
  const limits = { perUser: 9, perCluster: 9, joinMs: 1 };
  const accepted = await runs.accept(order, limits, 5_000);
  await runs.accept(void_, limits, 50);
  const producer = createProducer(redis);
  await Promise.all([producer.diagnose('lab', order.id), producer.diagnose('lab', void_.id)]);
  const { diagnose, signals, open } = gated();
  open();
  await world.worker(diagnose);
  await ended(void_.id, 'withdrawn');
  expect([signals.length, await statusOf(order.id)]).toEqual([0, 'accepting']);
  const at = accepted.kind === 'accepted' ? accepted.at : 0;
  await runs.confirm(order, at + 5_000, { op: 'root', step: 'root', message: { text: 't', blocks: [] } });
  await ended(order.id, 'finished');
  expect(signals).toHaveLength(1);
});

test('a cancellation reaches the process that runs it, also when its broadcast was missed', async () => {
  const { diagnose, signals } = gated();
  await world.worker(diagnose);
  const [told, missed] = [await submit(), await submit()];
  await until(() => signals.length === 2, 'both runs to begin');
  await runs.cancel(told, 'U1');
  await redis.hset(`nc:lab:run:${missed}`, 'cancelledBy', 'U1');
  await Promise.all([ended(told, 'cancelled'), ended(missed, 'cancelled')]);
  expect(signals.map((signal) => signal.reason)).toEqual(['cancelled', 'cancelled']);
});

test('a diagnosis that does not stop when told is given up, and that is said', async () => {
  await world.worker(() => new Promise(() => undefined));
  const run = await submit();
  await ended(run, 'running');
  await runs.cancel(run, 'U1');
  await ended(run, 'cancelled');
  expect(await runs.get(run)).toMatchObject({
    value: { reason: 'it did not stop in time: commands may still be running on nodes until their deadline' },
  });
});

test('a verdict found until the time limit counts, although the diagnosis was told to stop', async () => {
  const { config } = world;
  await world.worker(
    async (request, options) => {
      await new Promise((resolve) => options.signal.addEventListener('abort', resolve));
      return recorded('agent-missing')(request, options);
    },
    { config: { timeouts: { ...config.timeouts, runMs: 100 } } },
  );
  const run = await submit();
  await ended(run, 'finished');
  expect(await runs.verdict(run)).toMatchObject({ value: { status: 'inconclusive' } });
});

test('a worker that stops hands its run back, and another one finishes it', async () => {
  const { diagnose, signals } = gated();
  const first = await world.worker(diagnose);
  const run = await submit();
  await until(() => signals.length === 1, 'the run to begin');
  await first.stop();
  expect([signals[0]?.reason, await statusOf(run)]).toEqual(['shutdown', 'running']);
  const second = await world.worker(recorded('healthy'));
  await ended(run, 'finished');
  expect(await runs.get(run)).toMatchObject({ value: { epoch: 2, worker: second.id } });
});

test('an attempt that lost its lock is stopped, and what it found does not count', async () => {
  const { diagnose, signals, open } = gated();
  await world.worker(diagnose, { tuning: { concurrency: 1 } });
  const run = await submit();
  await until(() => signals.length === 1, 'the run to begin');
  // Somebody else has taken the run over meanwhile.
  await runs.begin(run, 'another');
  await until(() => signals[0]?.aborted, 'the attempt to be stopped');
  open();
  expect(signals[0]?.reason).toBe('lost');
  expect(await runs.get(run)).toMatchObject({ value: { status: 'running', worker: 'another', epoch: 2 } });
});

test('jobs that cannot be read are dropped with a word in the log, and do not stop the others', async () => {
  await world.worker(recorded('healthy'));
  const queue = new Queue('diagnose', { connection: redis, prefix: 'nc:lab' });
  await queue.add('diagnose', { v: 7, data: { run: 'r1' } });
  await queue.add('diagnose', 'nonsense');
  const run = await submit();
  await ended(run, 'finished');
  const dropped = (): number => world.log.lines.filter((line) => line.includes('a job that cannot be read was dropped')).length;
  await until(() => dropped() > 1, 'the log');
  expect(dropped()).toBe(2);
  await queue.close();
});

test('a worker says that it lives and what it runs, and says goodbye', async () => {
  const { diagnose, open } = gated();
  const worker = await world.worker(diagnose, { nodes: ['node-1', 'node-2'] });
  const presence = createWorkerStore(redis, 'lab', 15_000);
  const run = await submit();
  await until(async () => (await presence.workforce()).alive[0]?.beat.running[0] === run, 'the run in the heartbeat');
  expect((await presence.nodes())?.names).toEqual(['node-1', 'node-2']);
  open();
  await ended(run, 'finished');
  await worker.stop();
  expect((await presence.workforce()).alive).toEqual([]);
});

test('a worker serves only the queue that it is told to, and counts as alive for that one only', async () => {
  const remedies = { ...world.config.remedies, enabled: true };
  const remediate = async (): Promise<never> => Promise.reject(new Error('there is nothing to do'));
  await world.worker(recorded('healthy'), { remediate, queues: ['remediate'], config: { remedies } });
  const alive = (queue: 'diagnose' | 'remediate') => createWorkerStore(redis, 'lab', 15_000, queue).workforce();
  await until(async () => (await alive('remediate')).alive.length === 1, 'the worker for remedies');
  const run = await submit();
  expect(await alive('diagnose')).toEqual({ alive: [], lastSeenMs: null });
  await world.worker(recorded('healthy'), { remediate, queues: ['diagnose'], config: { remedies } });
  await ended(run, 'finished');
  expect((await alive('diagnose')).alive).toHaveLength(1);
  expect((await alive('remediate')).alive).toHaveLength(1);
});

test("a worker needs nothing in Redis but its cluster's prefix", async () => {
  const rights = ['~nc:lab:*', '&nc:lab:*', '+@all', '-@dangerous', '-@admin', '+info', '+client|setname'];
  await redis.call('ACL', 'SETUSER', 'worker', 'on', '>secret', ...rights);
  const url = world.redis.url.replace('redis://', 'redis://worker:secret@');
  await world.worker(recorded('healthy'), {
    config: { redis: { url } },
    remediate: () => Promise.reject(new Error('unused')),
    nodes: ['node-1'],
  });
  const run = await submit();
  await ended(run, 'finished');
  expect(await redis.call('ACL', 'LOG')).toEqual([]);
  const worker = new Redis(url);
  const refused = await Promise.all(
    ['nc-bot:outbox-due', 'nc:prod:active'].map((key) => worker.type(key).catch((error: Error) => error.message)),
  );
  worker.disconnect();
  expect(refused.filter((text) => text.startsWith('NOPERM'))).toHaveLength(2);
});

test('a worker that stops while Redis is away stops all the same', async () => {
  const worker = await world.worker(recorded('healthy'));
  await world.redis.kill();
  await expect(worker.stop()).resolves.toBeUndefined();
  await world.redis.restart();
}, 20_000);
