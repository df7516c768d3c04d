import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createActionStore } from '../../src/store/actions.ts';
import { createRunStore } from '../../src/store/runs.ts';
import { freePort } from '../redis.ts';
import { buttonsOf, createHands } from '../slack.ts';
import { until } from '../until.ts';
import { createWorld, FAST, FAST_WORKER, recorded } from '../world.ts';
import { type Child, startChild } from './child.ts';
import { acceptedRun, type Tally, tally } from './count.ts';
import { createRandom } from './random.ts';

/**
 * Kills the bot with SIGKILL again and again, at random moments, while commands come in and verdicts go out. Commands
 * that get no answer were not accepted.
 */
export async function killBots(size: { readonly runs: number; readonly kills: number; readonly seed: number }): Promise<Tally> {
  const channels = ['ch-0', 'ch-1'];
  const world = await createWorld({
    channels: { 'ch-0': {}, 'ch-1': {} },
    config: () => ({ limits: { runsPerUser: size.runs, runsPerCluster: size.runs } }),
  });
  let bot: Child | null = null;
  try {
    const random = createRandom(size.seed);
    const port = await freePort();
    const slack = world.config.slack;
    if (slack === null) throw new Error('no Slack');
    const config = { ...world.config, slack: { ...slack, port } };
    // The sender that dies holds the right to send: another one waits for the rest of that time.
    const tuning = { ...FAST, timeoutMs: 600, leaseMs: 500, channelGapMs: 25 };
    bot = await startChild('bot', config, tuning);
    await world.worker(recorded('ip-forward-off'), { tuning: { concurrency: 4 } });
    const hands = createHands(world.slack, port);
    const accepted: string[] = [];
    let killed = 0;
    for (let run = 0; run < size.runs; run += 1) {
      const answer = hands.command(`node node-${run}`, { user: 'ann', channel: channels[run % 2] ?? '' }).catch(() => null);
      if (killed < size.kills && random() < (1.2 * size.kills) / size.runs) {
        await delay(random() * 120);
        await bot.close();
        killed += 1;
        bot = await startChild('bot', config, tuning);
      }
      const id = acceptedRun((await answer)?.text ?? '');
      if (id !== null) accepted.push(id);
    }
    for (; killed < size.kills; killed += 1) {
      await delay(random() * 300);
      await bot.close();
      bot = await startChild('bot', config, tuning);
    }
    return await tally(world, accepted, channels, 2, 60_000 + size.runs * 300);
  } finally {
    await bot?.close();
    await world.close();
  }
}

/**
 * Kills a worker (or stops it and lets it go on later) in the middle of a run, while another one lives. Returns what
 * Slack shows, and how many milliseconds each run took from the death to its verdict.
 */
export async function killWorkers(size: {
  readonly times: number;
  readonly how: 'kill' | 'stop and continue';
  readonly seed: number;
  readonly tuning?: { readonly lockMs: number; readonly stalledMs: number };
}): Promise<{ readonly tally: Tally; readonly recoveryMs: number[] }> {
  const world = await createWorld({
    channels: { 'ch-0': {} },
    config: () => ({ limits: { runsPerUser: 9_999, runsPerCluster: 9_999 } }),
  });
  const redis = new Redis(world.redis.url);
  const runs = createRunStore(redis, 'lab');
  const random = createRandom(size.seed);
  const tuning = { ...FAST_WORKER, ...size.tuning, concurrency: 1 };
  const settings = { tuning, takesMs: 300, verdict: 'ip-forward-off' };
  const alive = new Map<string, Child>();
  try {
    const hands = await world.bot();
    const begin = async (): Promise<void> => {
      const child = await startChild('worker', world.config, settings);
      alive.set(child.said, child);
    };
    await Promise.all([begin(), begin()]);
    const accepted: string[] = [];
    const recoveryMs: number[] = [];
    for (let time = 0; time < size.times; time += 1) {
      const id = acceptedRun((await hands.command(`node node-${time}`, { user: 'ann', channel: 'ch-0' })).text);
      if (id === null) throw new Error('not accepted');
      accepted.push(id);
      const worker = await until(async () => {
        const read = await runs.get(id);
        return read.ok && read.value?.status === 'running' ? read.value.worker : null;
      }, 'the run to begin');
      await delay(random() * 250);
      const victim = alive.get(worker);
      if (victim === undefined) throw new Error(`no worker ${worker}`);
      const from = performance.now();
      if (size.how === 'kill') {
        await victim.close();
        alive.delete(worker);
        await begin();
      } else victim.kill('SIGSTOP');
      await until(
        async () => {
          const read = await runs.get(id);
          return read.ok && read.value?.status === 'finished';
        },
        'the verdict',
        40_000,
      );
      recoveryMs.push(performance.now() - from);
      victim.kill('SIGCONT');
    }
    return { tally: await tally(world, accepted, ['ch-0'], 2, 60_000 + size.times * 500), recoveryMs };
  } finally {
    redis.disconnect();
    await Promise.all([...alive.values()].map((child) => child.close()));
    await world.close();
  }
}

/** Kills Redis with SIGKILL, or freezes it, at random moments while commands come in; counts what became of the accepted ones. */
export async function killRedis(size: {
  readonly runs: number;
  readonly kills: number;
  readonly how: 'kill' | 'freeze';
  readonly awayMs: number;
  readonly seed: number;
}): Promise<Tally> {
  const channels = ['ch-0', 'ch-1'];
  const world = await createWorld({
    channels: { 'ch-0': {}, 'ch-1': {} },
    config: () => ({ limits: { runsPerUser: size.runs, runsPerCluster: size.runs } }),
  });
  try {
    const random = createRandom(size.seed);
    const hands = await world.bot();
    await world.worker(recorded('ip-forward-off'), { tuning: { concurrency: 4 } });
    const accepted: string[] = [];
    let breaking = Promise.resolve();
    let broken = 0;
    for (let attempt = 0; accepted.length < size.runs || broken < size.kills; attempt += 1) {
      if (broken < size.kills && random() < (1.3 * size.kills) / size.runs) {
        broken += 1;
        breaking = breaking.then(async () => {
          await delay(random() * 30);
          if (size.how === 'kill') await world.redis.kill();
          else world.redis.freeze();
          await delay(size.awayMs);
          if (size.how === 'kill') await world.redis.restart();
          else world.redis.resume();
          await delay(200);
        });
      }
      const { text } = await hands.command(`node node-${attempt}`, { user: 'ann', channel: channels[attempt % 2] ?? '' });
      const id = acceptedRun(text);
      if (id !== null) accepted.push(id);
      await delay(random() * 20);
    }
    await breaking;
    return await tally(world, accepted, channels, 2, 90_000 + size.runs * 300);
  } finally {
    await world.close();
  }
}

/** What became of remedies whose worker was killed while it ran them. All is well when nothing ran twice. */
export type RemedyTally = {
  /** Actions that ran more than once. */
  readonly twice: string[];
  /** Actions that ended as done although they did not run, or that never ended. */
  readonly untrue: string[];
  readonly ended: { readonly done: number; readonly unknown: number; readonly notRun: number };
};

/** Kills the worker with SIGKILL at a random moment while it carries a remedy out, again and again. */
export async function killRemedies(size: { readonly times: number; readonly seed: number }): Promise<RemedyTally> {
  const world = await createWorld({
    channels: { 'ch-0': {} },
    config: ({ user }) => ({
      remedies: { enabled: true },
      access: { approve: { users: [user('bob')] } },
      limits: { runsPerUser: 9_999, runsPerCluster: 9_999 },
    }),
  });
  const redis = new Redis(world.redis.url);
  const actions = createActionStore(redis, 'lab');
  const random = createRandom(size.seed);
  const effects = join(world.directory, 'effects');
  writeFileSync(effects, '');
  const settings = { tuning: { ...FAST_WORKER, concurrency: 1 }, takesMs: 300, verdict: 'ip-forward-off', effects };
  let worker = await startChild('worker', world.config, settings);
  try {
    const hands = await world.bot();
    const ids: string[] = [];
    for (let time = 0; time < size.times; time += 1) {
      const run = acceptedRun((await hands.command('cluster', { user: 'ann', channel: 'ch-0' })).text) ?? '';
      const root = await until(
        async () =>
          (await world.slack.messages('ch-0')).find(
            (one) => one.metadata?.event_payload.run === `lab/${run}` && buttonsOf(one)[0]?.action_id === 'request:0',
          ),
        'the offer',
      );
      const [request] = buttonsOf(root);
      if (request === undefined) throw new Error('no button');
      await (await hands.click(request, { user: 'ann', channel: 'ch-0' })).said();
      const id = await until(async () => (await actions.open())[0], 'the request');
      ids.push(id);
      const stored = await actions.get(id);
      const digest = stored.ok ? (stored.value?.action.digest ?? '') : '';
      const approve = { action_id: 'approve', value: `lab/${id}/d${digest.slice(0, 16)}` };
      await (await hands.click(approve, { user: 'bob', channel: 'ch-0' })).said();
      await delay(random() * 300);
      await worker.close();
      worker = await startChild('worker', world.config, settings);
      await until(async () => !(await actions.open()).includes(id), 'the action to end', 40_000);
    }
    const ran = readFileSync(effects, 'utf8').split('\n');
    const tally: RemedyTally = { twice: [], untrue: [], ended: { done: 0, unknown: 0, notRun: 0 } };
    const ended = { done: 0, unknown: 0, notRun: 0 };
    for (const id of ids) {
      const times = ran.filter((line) => line === id).length;
      const read = await actions.get(id);
      const state = read.ok ? read.value?.state : undefined;
      if (times > 1) tally.twice.push(id);
      if (state === 'done') ended.done += 1;
      else if (state === 'outcome-unknown') ended.unknown += 1;
      else ended.notRun += 1;
      if ((state === 'done' && times !== 1) || (state !== 'done' && state !== 'outcome-unknown' && times > 0))
        tally.untrue.push(`${id}: ${state ?? 'gone'}, ran ${times} times`);
    }
    return { ...tally, ended };
  } finally {
    redis.disconnect();
    await worker.close();
    await world.close();
  }
}
