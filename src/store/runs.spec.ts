import { gunzipSync } from 'node:zlib';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { makeOrder } from '../../test/order.ts';
import { startRedis, type TestRedis } from '../../test/redis.ts';
import { emptyBundle, plansFor, readVerdict } from '../../test/verdicts.ts';
import type { OutboxEntry } from '../model/wire/outbox.ts';
import type { RunOrder } from '../model/wire/run.ts';
import { newId } from './ids.ts';
import { createOutbox, outboxRef } from './outbox.ts';
import { closeRedis, connectRedis } from './redis.ts';
import { capCitations, createRunStore, type RunStore } from './runs.ts';

const limits = { perUser: 3, perCluster: 5, joinMs: 30_000 };
const patient = { queuedMs: 60_000, runningMs: 60_000, staleMs: 60_000 };
const root: OutboxEntry = { op: 'root', step: 'root', message: { text: 'queued', blocks: [] } };
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

let server: TestRedis;
let redis: Redis;
let runs: RunStore;

beforeAll(async () => {
  server = await startRedis();
  redis = connectRedis(server.url, 'patient', silent);
  runs = createRunStore(redis, 'lab');
});
afterAll(async () => {
  closeRedis(redis);
  await server.close();
});
beforeEach(async () => {
  await redis.flushall();
});

async function accepted(order: RunOrder): Promise<number> {
  const acceptance = await runs.accept(order, limits, 5_000);
  if (acceptance.kind !== 'accepted') throw new Error(`not accepted: ${acceptance.kind}`);
  return acceptance.at;
}

async function queued(order: RunOrder): Promise<void> {
  expect(await runs.confirm(order, (await accepted(order)) + 2_000, root)).toBe(true);
}

test('an order becomes a queued run with its root message in the outbox', async () => {
  const order = makeOrder();
  const at = await accepted(order);
  expect(await createOutbox(redis).steps(outboxRef('lab', order.id))).toEqual([]);
  expect(await runs.confirm(order, at + 2_000, root)).toBe(true);
  expect(await runs.get(order.id)).toEqual({
    ok: true,
    value: {
      order,
      status: 'queued',
      epoch: 0,
      worker: null,
      acceptedAt: at,
      startedAt: null,
      finishedAt: null,
      reason: null,
      cancelledBy: null,
      deliveryFault: null,
    },
  });
  expect(await createOutbox(redis).steps(outboxRef('lab', order.id))).toEqual([{ step: 'root', state: 'pending' }]);
  expect([await runs.active(), await runs.recent(5)]).toEqual([[order.id], [order.id]]);
});

test('accepting and confirming twice does what doing it once does', async () => {
  const order = makeOrder();
  const at = await accepted(order);
  expect(await runs.accept(order, limits, 5_000)).toMatchObject({ kind: 'accepted' });
  expect([await runs.confirm(order, at + 2_000, root), await runs.confirm(order, at + 2_000, root)]).toEqual([true, true]);
  expect(await runs.active()).toEqual([order.id]);
  expect(await createOutbox(redis).steps(outboxRef('lab', order.id))).toHaveLength(1);
});

test('a confirmation that reaches Redis too late is refused, and the order can be withdrawn', async () => {
  const order = makeOrder();
  const at = await accepted(order);
  expect(await runs.confirm(order, at - 1, root)).toBe(false);
  expect(await runs.withdraw(order.id)).toBe(true);
  expect(await runs.confirm(order, at + 60_000, root)).toBe(false);
  expect(await runs.begin(order.id, 'w')).toEqual({ kind: 'over' });
  expect([await runs.active(), await runs.sweep(patient)]).toEqual([[], { untold: [], waiting: [] }]);
});

test('an order that nobody confirmed is withdrawn by whoever meets it, but not before its time', async () => {
  const early = makeOrder();
  await accepted(early);
  expect(await runs.begin(early.id, 'w')).toEqual({ kind: 'wait' });
  await runs.sweep(patient);
  expect(await runs.get(early.id)).toMatchObject({ value: { status: 'accepting' } });
  const late = makeOrder({ requestedBy: { user: 'U2', team: 'T1' } });
  await runs.accept(late, limits, -1);
  expect(await runs.begin(late.id, 'w')).toEqual({ kind: 'over' });
  expect(await runs.get(late.id)).toMatchObject({ value: { status: 'withdrawn', reason: 'not accepted in time' } });
  const forgotten = makeOrder({ requestedBy: { user: 'U3', team: 'T1' } });
  await runs.accept(forgotten, limits, -1);
  await runs.sweep(patient);
  expect(await runs.get(forgotten.id)).toMatchObject({ value: { status: 'withdrawn' } });
});

test('the same command of the same person joins the run under way, and only that', async () => {
  const first = makeOrder();
  await queued(first);
  expect(await runs.accept(makeOrder(), limits, 5_000)).toEqual({ kind: 'joined', run: first.id });
  const others = [
    makeOrder({ requestedBy: { user: 'U2', team: 'T1' } }),
    makeOrder({ channel: 'C2' }),
    makeOrder({ request: { kind: 'node', node: 'node-1' } }),
  ];
  for (const other of others) expect(await runs.accept(other, limits, 5_000)).toMatchObject({ kind: 'accepted' });
  await runs.end(first.id, 'failed', 'test');
  expect(await runs.accept(makeOrder(), limits, 5_000)).toMatchObject({ kind: 'accepted' });
});

test('caps per person and per cluster refuse, and a run that ends makes room', async () => {
  const mine = ['node-1', 'node-2', 'node-3'].map((node) => makeOrder({ request: { kind: 'node', node } }));
  for (const order of mine) await queued(order);
  const more = makeOrder();
  expect(await runs.accept(more, limits, 5_000)).toEqual({ kind: 'limit', of: 'user', limit: 3 });
  for (const user of ['U2', 'U3']) await queued(makeOrder({ requestedBy: { user, team: 'T1' } }));
  expect(await runs.accept(makeOrder({ requestedBy: { user: 'U4', team: 'T1' } }), limits, 5_000)).toEqual({
    kind: 'limit',
    of: 'cluster',
    limit: 5,
  });
  await runs.end(mine[0]?.id ?? '', 'failed', 'test');
  expect(await runs.accept(more, limits, 5_000)).toMatchObject({ kind: 'accepted' });
});

test('only the latest attempt of a run may write', async () => {
  const order = makeOrder();
  await queued(order);
  const first = await runs.begin(order.id, 'worker-1');
  const second = await runs.begin(order.id, 'worker-2');
  expect([first, second]).toEqual([
    { kind: 'run', epoch: 1, order, cancelled: false },
    { kind: 'run', epoch: 2, order, cancelled: false },
  ]);
  const progress = { phase: 'sweep' as const, nodesReady: 2, nodesTotal: 6, layers: { L2: 'ok' as const } };
  expect([await runs.progress(order.id, 1, progress), await runs.progress(order.id, 2, progress)]).toEqual(['stale', 'ok']);
  expect(await runs.latestProgress(order.id)).toEqual({ ok: true, value: progress });
  const verdict = readVerdict('healthy', { id: order.id });
  const result = { verdict, bundle: emptyBundle(verdict.run), proposals: [] };
  expect([await runs.finish(order.id, 1, result), await runs.finish(order.id, 2, result)]).toEqual([false, true]);
  expect([await runs.finish(order.id, 2, result), await runs.end(order.id, 'failed', 'late', 2)]).toEqual([false, false]);
  expect(await runs.get(order.id)).toMatchObject({ value: { status: 'finished', worker: 'worker-2', reason: null } });
});

test('a finished run keeps verdict, offers and bundle, each for its time', async () => {
  const order = makeOrder();
  await queued(order);
  await runs.begin(order.id, 'w');
  const verdict = readVerdict('ip-forward-off', { id: order.id });
  const bundle = emptyBundle(verdict.run);
  const proposals = plansFor(verdict).map((plan) => ({ ...plan, id: 'p1' }));
  expect(await runs.finish(order.id, 1, { verdict, bundle, proposals })).toBe(true);
  expect(await runs.verdict(order.id)).toEqual({ ok: true, value: verdict });
  expect(await runs.proposals(order.id)).toEqual({ ok: true, value: proposals });
  expect(JSON.parse(gunzipSync((await runs.bundle(order.id)) ?? '').toString())).toEqual(bundle);
  const days = async (key: string): Promise<number> => Math.round((await redis.ttl(key)) / 86_400);
  expect([
    await days(`nc:lab:run:${order.id}`),
    await days(`nc:lab:verdict:${order.id}`),
    await days(`nc:lab:bundle:${order.id}`),
  ]).toEqual([14, 14, 1]);
});

test('a waiting run is cancelled at once, a running one is asked, an ended one stays as it is', async () => {
  const waiting = makeOrder();
  await queued(waiting);
  expect(await runs.cancel(waiting.id, 'U9')).toEqual({ kind: 'cancelled' });
  expect(await runs.begin(waiting.id, 'w')).toEqual({ kind: 'over' });
  const running = makeOrder();
  await queued(running);
  await runs.begin(running.id, 'w');
  expect([await runs.cancel(running.id, 'U9'), await runs.progress(running.id, 1, null)]).toEqual([
    { kind: 'asked' },
    'cancelled',
  ]);
  expect(await runs.end(running.id, 'cancelled', '', 1)).toBe(true);
  expect([await runs.cancel(running.id, 'U8'), await runs.cancel(newId('r'), 'U8')]).toEqual([
    { kind: 'over', status: 'cancelled' },
    { kind: 'gone' },
  ]);
  expect(await runs.get(running.id)).toMatchObject({ value: { status: 'cancelled', cancelledBy: 'U9' } });
});

test('a run that waits or runs for too long fails with the reason, and its worker may not write any more', async () => {
  const waiting = makeOrder();
  await queued(waiting);
  expect(await runs.sweep(patient)).toEqual({ untold: [], waiting: [] });
  expect(await runs.sweep({ ...patient, staleMs: -1 })).toEqual({ untold: [], waiting: [waiting.id] });
  expect(await runs.sweep({ ...patient, queuedMs: -1 })).toEqual({ untold: [waiting.id], waiting: [] });
  const running = makeOrder();
  await queued(running);
  await runs.begin(running.id, 'w');
  expect(await runs.sweep(patient)).toEqual({ untold: [waiting.id, running.id], waiting: [] });
  expect(await runs.get(running.id)).toMatchObject({ value: { status: 'running' } });
  await runs.sweep({ ...patient, runningMs: -1 });
  expect(await runs.progress(running.id, 1, null)).toBe('stale');
  expect(await runs.get(running.id)).toMatchObject({
    value: { status: 'failed', reason: expect.stringContaining('its worker was lost') },
  });
  await runs.told(waiting.id);
  expect(await runs.sweep(patient)).toEqual({ untold: [running.id], waiting: [] });
});

test('what is no run, or of a version to come, is a fault that names its key', async () => {
  const order = makeOrder();
  await queued(order);
  const key = `nc:lab:run:${order.id}`;
  await redis.hset(key, 'order', JSON.stringify({ v: 3, data: order }));
  expect(await runs.get(order.id)).toEqual({
    ok: false,
    error: { kind: 'version', key, message: `${key}: run order of version 3, but this netcheck reads version 2 and 1` },
  });
  await redis.hset(key, 'order', JSON.stringify({ v: 1, data: { ...order, channel: 7 } }));
  expect(await runs.get(order.id)).toMatchObject({ ok: false, error: { kind: 'invalid', key } });
  await redis.hset(key, 'status', 'dancing');
  expect(await runs.get(order.id)).toMatchObject({ ok: false, error: { kind: 'invalid', key } });
  await redis.set(`nc:lab:verdict:${order.id}`, 'nonsense');
  expect(await runs.verdict(order.id)).toMatchObject({
    ok: false,
    error: { kind: 'not-json', key: `nc:lab:verdict:${order.id}` },
  });
});

test('citations are kept to 64 KiB each and 1 MiB in all', () => {
  const verdict = readVerdict('ip-forward-off');
  const cause = verdict.causes[0];
  if (cause === undefined) throw new Error('the recording has no cause');
  const evidence = Array.from({ length: 40 }, () => ({ where: 'node-2', source: 'cat', text: 'ä'.repeat(50_000) }));
  const capped = capCitations({ ...verdict, causes: [{ ...cause, evidence }] }).causes[0]?.evidence ?? [];
  const sizes = capped.map(({ text }) => Buffer.byteLength(text));
  expect(sizes.every((size) => size <= 65_536)).toBe(true);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(1_048_576);
  expect(capped[0]?.text.endsWith('… (cut: 100000 bytes in all)')).toBe(true);
  expect(capped[0]?.text.includes('�')).toBe(false);
  expect(capCitations(verdict)).toEqual(verdict);
});
