import { expect, test } from 'vitest';
import { killBots, killRedis, killRemedies, killWorkers } from './deaths.ts';

const scale = Number(process.env['NETCHECK_CHAOS_SCALE'] ?? 1);
const clean = { missing: [], doubleRoots: [], doubleReplies: [], missingReplies: [] };

test(
  'a bot that is killed at any moment loses nothing and says nothing twice',
  async () => {
    const result = await killBots({ runs: 24 * scale, kills: 5 * scale, seed: 11 });
    expect(result).toMatchObject(clean);
    expect(result.accepted).toBeGreaterThan(10);
  },
  240_000 * scale,
);

test(
  'a run whose worker is killed goes on elsewhere, with one verdict',
  async () => {
    const { tally, recoveryMs } = await killWorkers({ times: 3 * scale, how: 'kill', seed: 3 });
    expect(tally).toEqual({ ...clean, accepted: 3 * scale });
    expect(recoveryMs.length).toBe(3 * scale);
  },
  120_000 * scale,
);

test(
  'a worker that is stopped and goes on later does not add a second verdict',
  async () => {
    const { tally } = await killWorkers({ times: 2 * scale, how: 'stop and continue', seed: 4 });
    expect(tally).toEqual({ ...clean, accepted: 2 * scale });
  },
  120_000 * scale,
);

test.each(['kill', 'freeze'] as const)(
  'whatever was accepted is answered, although Redis goes away: %s',
  async (how) => {
    const result = await killRedis({ runs: 40 * scale, kills: 3 * scale, how, awayMs: 700, seed: 5 });
    expect(result).toMatchObject(clean);
    expect(result.accepted).toBeGreaterThan(10 * scale);
  },
  240_000 * scale,
);

test(
  'a remedy whose worker is killed at any moment runs at most once, and its end is told as it is known',
  async () => {
    const { twice, untrue, ended } = await killRemedies({ times: 4 * scale, seed: 6 });
    expect([twice, untrue]).toEqual([[], []]);
    expect(ended.done + ended.unknown + ended.notRun).toBe(4 * scale);
  },
  240_000 * scale,
);
