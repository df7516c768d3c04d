import { expect, test } from 'vitest';
import { count, proves } from '../promises/counts.ts';
import { killBots, killRedis, killRemedies, killWorkers } from './deaths.ts';

const clean = { missing: [], doubleRoots: [], doubleReplies: [], missingReplies: [] };

const bots = { runs: count(24, 1_000), kills: count(5, 200) };
test('a bot that is killed at any moment loses nothing and says nothing twice', { timeout: 240_000 + bots.runs * 5_000 }, async ({
  task,
}) => {
  const result = await killBots({ ...bots, seed: 11 });
  expect(result).toMatchObject(clean);
  expect(result.accepted).toBeGreaterThan(10);
  proves(task, 1, `${bots.kills} kills of the bot, ${result.accepted} of ${bots.runs} commands accepted, 0 missing`);
});

const kills = count(3, 500);
test('a run whose worker is killed goes on elsewhere, with one verdict', { timeout: 120_000 + kills * 20_000 }, async ({
  task,
}) => {
  const { tally, recoveryMs } = await killWorkers({ times: kills, how: 'kill', seed: 3 });
  expect(tally).toEqual({ ...clean, accepted: kills });
  expect(recoveryMs.length).toBe(kills);
  proves(task, 3, `${kills} workers killed, 0 duplicates`);
});

const halts = count(2, 100);
test('a worker that is stopped and goes on later does not add a second verdict', { timeout: 120_000 + halts * 20_000 }, async ({
  task,
}) => {
  const { tally } = await killWorkers({ times: halts, how: 'stop and continue', seed: 4 });
  expect(tally).toEqual({ ...clean, accepted: halts });
  proves(task, 3, `${halts} workers stopped and continued, 0 duplicates`);
});

const deaths = count(1, 20);
test('with the times that netcheck runs with a worker that dies costs seconds', { timeout: 60_000 + deaths * 60_000 }, async ({
  task,
}) => {
  const { tally, recoveryMs } = await killWorkers({
    times: deaths,
    how: 'kill',
    seed: 8,
    tuning: { lockMs: 10_000, stalledMs: 5_000 },
  });
  expect(tally).toEqual({ ...clean, accepted: deaths });
  const longest = Math.max(...recoveryMs);
  expect(longest).toBeLessThan(25_000);
  proves(task, 3, `${deaths} with the real times, recovered within ${Math.round(longest / 1000)} s`);
});

const outages = { runs: count(40, 5_000), kills: count(3, 100) };
test.for(['kill', 'freeze'] as const)(
  'whatever was accepted is answered, although Redis goes away: %s',
  { timeout: 240_000 + outages.runs * 1_000 },
  async (how, { task }) => {
    const result = await killRedis({ ...outages, how, awayMs: 700, seed: 5 });
    expect(result).toMatchObject(clean);
    expect(result.accepted).toBeGreaterThanOrEqual(outages.runs);
    for (const promise of [1, 4])
      proves(task, promise, `${result.accepted} accepted commands, Redis away ${outages.kills} times (${how}), 0 missing`);
  },
);

const crashes = count(4, 50);
test('a remedy whose worker is killed at any moment runs at most once, and its end is told as it is known', {
  timeout: 240_000 + crashes * 20_000,
}, async ({ task }) => {
  const { twice, untrue, ended } = await killRemedies({ times: crashes, seed: 6 });
  expect([twice, untrue]).toEqual([[], []]);
  expect(ended.done + ended.unknown + ended.notRun).toBe(crashes);
  proves(task, 7, `${crashes} workers killed while they carried a remedy out, 0 ran twice`);
});
