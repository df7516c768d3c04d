import { expect, test } from 'vitest';
import { count } from '../promises/counts.ts';
import { killBotsOverSlots } from './slots.ts';

/** A thousand slots take about four minutes. */
const slots = count(25, 1_000);

test(
  'every slot has one digest, although the two bots are killed at any moment',
  async () => {
    const tally = await killBotsOverSlots({ digests: 150, slots, kills: 2, seed: 21 });
    expect(tally).toMatchObject({ missing: [], twice: [], missed: [] });
    expect(tally.slots).toBeGreaterThanOrEqual(slots);
    expect(tally.kills).toBeGreaterThanOrEqual(2);
  },
  180_000 + slots * 600,
);
