import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../slack.ts';
import { createWorld, recorded } from '../world.ts';
import { acceptedRun, type Tally, tally } from './count.ts';
import { createRandom } from './random.ts';

/** The ways in which Slack and the network to it go wrong. */
export const FAULTS = {
  'rate limit': () => ({ kind: 'rate-limit', seconds: 1 }),
  'error 500': () => ({ kind: 'status', status: 500 }),
  'error 500 after accepting': () => ({ kind: 'status', status: 500, after: true }),
  'internal error': () => ({ kind: 'error', error: 'internal_error' }),
  'connection dropped': () => ({ kind: 'drop' }),
  'dropped after accepting': () => ({ kind: 'drop-after' }),
  hang: () => ({ kind: 'hang' }),
  'hang after accepting': () => ({ kind: 'hang-after' }),
  'carried out after it was given up': () => ({ kind: 'late', ms: 500 }),
} as const satisfies Record<string, () => Fault>;
export type FaultName = keyof typeof FAULTS;

/**
 * Has many runs answered through a Slack with which a part of all calls go wrong in one way, and counts what Slack
 * shows in the end. `share` is the part of posts and updates that fail.
 */
export async function deliverUnder(
  fault: FaultName,
  size: { readonly runs: number; readonly channels: number; readonly share: number; readonly seed: number },
): Promise<Tally> {
  const channels = Array.from({ length: size.channels }, (_, index) => `ch-${index}`);
  const world = await createWorld({
    channels: Object.fromEntries(channels.map((name) => [name, {}])),
    config: () => ({ limits: { runsPerUser: size.runs, runsPerCluster: size.runs } }),
  });
  try {
    const random = createRandom(size.seed);
    world.slack.fail((method) =>
      /^(chat|conversations\.(history|replies))/.test(method) && random() < size.share ? FAULTS[fault]() : null,
    );
    const hands = await world.bot({ timeoutMs: 400 });
    await world.worker(recorded('ip-forward-off'), { tuning: { concurrency: 8 } });
    const accepted: string[] = [];
    for (let run = 0; run < size.runs; run += 1) {
      const { text } = await hands.command(`node node-${run}`, { user: 'ann', channel: channels[run % channels.length] ?? '' });
      const id = acceptedRun(text);
      if (id !== null) accepted.push(id);
      await delay(random() * 10);
    }
    return await tally(world, accepted, channels, 2, 60_000 + size.runs * 400);
  } finally {
    await world.close();
  }
}
