import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Digest } from '../../src/model/digest.ts';
import { nextSlot } from '../../src/model/schedule.ts';
import { createDigestStore } from '../../src/store/digests.ts';
import { newId } from '../../src/store/ids.ts';
import { createWorld, FAST, recorded } from '../world.ts';
import { type Child, startChild } from './child.ts';
import { createRandom } from './random.ts';

/** What became of the slots of many digests, as somebody sees it who looks at Slack. The lists are empty when all is well. */
export type SlotTally = {
  readonly slots: number;
  readonly kills: number;
  /** Slots that neither have a digest, nor are counted as missed by a later one. */
  readonly missing: string[];
  /** Slots with more than one digest, or with one and counted as missed as well. */
  readonly twice: string[];
  /** Slots that were over, without any bot alive, before one could take them up: a later digest says so. */
  readonly missed: string[];
};

/** A digest is due so often, in seconds. A bot that is killed is back, or its jobs are with the other one, well before. */
const EVERY = 30;
const CHANNELS = ['ch-0', 'ch-1', 'ch-2', 'ch-3'];

/**
 * Two bots, each a process of its own, are killed with SIGKILL and started again at random moments, now and then both at
 * once, while many digests come due. No clock is faked: the digests are due every half a minute, each at another second,
 * which nobody could type but the store takes, so that a thousand slots pass in minutes. It goes on until there were so
 * many slots, and so many kills.
 */
export async function killBotsOverSlots(size: {
  readonly digests: number;
  readonly slots: number;
  readonly kills: number;
  readonly seed: number;
}): Promise<SlotTally> {
  const world = await createWorld({ channels: Object.fromEntries(CHANNELS.map((name) => [name, {}])) });
  const redis = new Redis(world.redis.url);
  const store = createDigestStore(redis, 'lab');
  const tuning = {
    ...FAST,
    timeoutMs: 600,
    leaseMs: 500,
    clockMs: 2_000,
    graceMs: 4_000,
    clockLockMs: 3_000,
    clockStalledMs: 1_000,
  };
  const slack = world.config.slack;
  if (slack === null) throw new Error('no Slack');
  const bots: (Child | null)[] = [null, null];
  const begin = async (index: number): Promise<void> => {
    bots[index] = await startChild('bot', { ...world.config, slack: { ...slack, port: 0 } }, tuning);
  };
  const kill = async (index: number): Promise<void> => {
    await bots[index]?.close();
  };
  try {
    const random = createRandom(size.seed);
    await world.worker(recorded('healthy'), { tuning: { concurrency: 8 } });
    const digests: Digest[] = [];
    for (let index = 0; index < size.digests; index += 1) {
      const by = { user: world.slack.user('ann'), team: 'T000000001' };
      const channel = world.slack.channel(CHANNELS[index % CHANNELS.length] ?? '');
      const id = newId('s');
      const cron = `${index % EVERY}-59/${EVERY} * * * * *`;
      await store.draft({ id, channel, schedule: { cron, timezone: 'Europe/Berlin' }, onlyChanges: false, theme: 'light', by });
      const saving = await store.save(id, { user: by.user, channel }, { perChannel: 9_999, perCluster: 9_999 });
      if (saving.kind !== 'saved') throw new Error('not saved');
      digests.push(saving.digest);
    }
    await Promise.all([begin(0), begin(1)]);
    const least = Date.now() + (1_000 * EVERY * size.slots) / size.digests;
    let kills = 0;
    while (Date.now() < least || kills < size.kills) {
      await delay(300 + random() * 2_500);
      const victims = random() < 0.2 ? [0, 1] : [random() < 0.5 ? 0 : 1];
      await Promise.all(victims.map(kill));
      kills += victims.length;
      await delay(random() * 400);
      await Promise.all(victims.map(begin));
    }
    return { kills, ...(await settled(world, store, digests, Math.max(least, Date.now()))) };
  } finally {
    await Promise.all([0, 1].map(kill));
    redis.disconnect();
    await world.close();
  }
}

/** Waits until every slot up to a time is told, and a while longer for what must not come, then counts. */
async function settled(
  world: Awaited<ReturnType<typeof createWorld>>,
  store: ReturnType<typeof createDigestStore>,
  digests: readonly Digest[],
  end: number,
): Promise<Omit<SlotTally, 'kills'>> {
  const until = Date.now() + 60_000;
  for (;;) {
    const tally = await count(world, store, digests, end);
    if (tally.missing.length === 0 || Date.now() > until) break;
    await delay(500);
  }
  await delay(3_000);
  return count(world, store, digests, end);
}

async function count(
  world: Awaited<ReturnType<typeof createWorld>>,
  store: ReturnType<typeof createDigestStore>,
  digests: readonly Digest[],
  end: number,
): Promise<Omit<SlotTally, 'kills'>> {
  const told = new Map<string, number>();
  const missed = new Set<string>();
  const twice = new Set<string>();
  const byId = new Map(digests.map((digest) => [digest.id, digest]));
  for (const channel of CHANNELS) {
    for (const message of await world.slack.messages(channel)) {
      const record = await store.made(message.metadata?.event_payload.run.split('/')[1] ?? '');
      const digest = byId.get(record?.digest ?? '');
      if (record === null || digest === undefined) continue;
      const key = `${digest.id} ${record.slot}`;
      told.set(key, (told.get(key) ?? 0) + 1);
      for (let left = record.missed, slot = record.slot - 1_000 * EVERY; left > 0; left -= 1, slot -= 1_000 * EVERY) {
        if (missed.has(`${digest.id} ${slot}`)) twice.add(`${digest.id} ${slot}`);
        missed.add(`${digest.id} ${slot}`);
      }
    }
  }
  const expected = digests.flatMap((digest) => {
    const slots: string[] = [];
    for (
      let slot = nextSlot(digest.schedule, digest.savedAt);
      slot !== null && slot <= end;
      slot = nextSlot(digest.schedule, slot)
    )
      slots.push(`${digest.id} ${slot}`);
    return slots;
  });
  for (const [key, times] of told) if (times > 1 || missed.has(key)) twice.add(key);
  return {
    slots: expected.length,
    missing: expected.filter((key) => !told.has(key) && !missed.has(key)),
    twice: [...twice],
    missed: [...missed],
  };
}
