import { afterEach, expect, test } from 'vitest';
import { createHands } from '../../test/slack.ts';
import { until } from '../../test/until.ts';
import { createWorld, FAST, FAST_WORKER, recorded, type World } from '../../test/world.ts';
import { createBot } from '../bot/bot.ts';
import { createWorker } from '../jobs/worker.ts';
import { createMetrics } from './metrics.ts';
import { serveOps } from './ops.ts';

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

/** A bot and a worker with what `netcheck all --ops-port` serves beside them. */
async function start(): Promise<{
  readonly world: World;
  readonly get: (path: string) => Promise<{ status: number; text: string }>;
}> {
  const world = await createWorld();
  ends.push(world.close);
  const { config, log } = world;
  let bot: ReturnType<typeof createBot> | null = null;
  const metrics = createMetrics(async () => (await bot?.queues()) ?? []);
  bot = createBot(config, { log, meter: metrics.meter, tuning: FAST });
  const worker = createWorker(config, {
    cluster: 'lab',
    version: '0.0.0',
    log,
    meter: metrics.meter,
    diagnose: recorded('ip-forward-off'),
    tuning: FAST_WORKER,
  });
  const readiness = async () => [...((await bot?.readiness()) ?? []), ...(await worker.readiness())];
  const ops = await serveOps({ host: '127.0.0.1', port: 0 }, { readiness, metrics });
  ends.push(ops.close);
  const get = async (path: string) => {
    const reply = await fetch(`http://127.0.0.1:${ops.port}${path}`);
    return { status: reply.status, text: await reply.text() };
  };
  expect(await get('/readyz')).toEqual({
    status: 503,
    text: 'the bot is starting, or stopping\nthe worker of lab is starting, or stopping\n',
  });
  const { port } = await bot.start();
  ends.push(bot.stop);
  await worker.start();
  ends.push(worker.stop);
  const hands = createHands(world.slack, port ?? 0);
  await hands.command('cluster', { user: 'ann', channel: 'incidents' });
  await until(async () => (await world.slack.messages('incidents')).find(({ text }) => text.startsWith('🔴')), 'the verdict');
  return { world, get };
}

test('a run is counted: its end, its status, its causes, Slack calls and queues; and nobody is named', async () => {
  const { world, get } = await start();
  expect(await get('/healthz')).toEqual({ status: 200, text: 'ok\n' });
  expect(await get('/readyz')).toEqual({ status: 200, text: 'ready\n' });
  const { status, text } = await get('/metrics');
  const lines = text.split('\n');
  expect([status, lines.filter((line) => /^netcheck_(runs|verdicts|findings|queue_jobs)/.test(line)).toSorted()]).toEqual([
    200,
    [
      'netcheck_findings_total{cluster="lab",kind="cause",code="ip-forward-off"} 1',
      'netcheck_queue_jobs{cluster="lab",queue="diagnose",state="active"} 0',
      'netcheck_queue_jobs{cluster="lab",queue="diagnose",state="waiting"} 0',
      'netcheck_queue_jobs{cluster="lab",queue="remediate",state="active"} 0',
      'netcheck_queue_jobs{cluster="lab",queue="remediate",state="waiting"} 0',
      'netcheck_runs_total{cluster="lab",outcome="finished"} 1',
      'netcheck_verdicts_total{cluster="lab",status="failed",layer="L3"} 1',
    ],
  ]);
  expect(text).toMatch(/netcheck_slack_call_seconds_count\{method="chat.postMessage",result="ok"\} [1-9]/);
  expect(text).toContain('process_resident_memory_bytes');
  expect(text).not.toContain(world.slack.user('ann'));
});

test('the run id is in the log from its beginning to its end', async () => {
  const { world } = await start();
  const begun = world.log.lines.find((line) => line.startsWith('info run begun'));
  const id = /"run":"(r\w+)"/.exec(begun ?? '')?.[1];
  const about = world.log.lines.filter((line) => line.includes(`"run":"${id}"`)).map((line) => line.split(' {')[0]);
  // The worker may be faster than the answer to whoever typed.
  expect(new Set(about)).toEqual(new Set(['info run accepted', 'info run begun', 'info run ended']));
});

test('without Redis it is not ready, says so, and still lives', async () => {
  const { world, get } = await start();
  await world.redis.kill();
  const answer = await until(async () => {
    const read = await get('/readyz');
    return read.status === 503 ? read : undefined;
  }, 'that it is not ready');
  expect(answer.text).toContain('Redis cannot be reached');
  expect((await get('/healthz')).status).toBe(200);
  // A scrape that fails is counted, and told by the next one.
  await get('/metrics');
  const { status, text } = await get('/metrics');
  expect([status, /netcheck_scrape_errors_total [1-9]/.test(text), text.includes('netcheck_queue_jobs{')]).toEqual([
    200,
    true,
    false,
  ]);
});

test('it serves nothing else', async () => {
  const ops = await serveOps({ host: '127.0.0.1', port: 0 }, { readiness: async () => [], metrics: createMetrics(null) });
  ends.push(ops.close);
  const url = `http://127.0.0.1:${ops.port}`;
  const statuses = await Promise.all([
    fetch(`${url}/`),
    fetch(`${url}/metrics`, { method: 'POST' }),
    fetch(`${url}/constructor`),
    fetch(`${url}/metrics?x=1`),
  ]);
  expect(statuses.map(({ status }) => status)).toEqual([404, 404, 404, 200]);
});
