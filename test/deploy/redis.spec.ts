import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBot } from '../../src/bot/bot.ts';
import { createHands } from '../slack.ts';
import { until } from '../until.ts';
import { createWorld, FAST, recorded, type World } from '../world.ts';

/*
 * The users of Redis as docs/installation.md has them made.
 */

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/installation.md'), 'utf8').replaceAll('prod', 'lab');

let world: World;
let admin: Redis;

beforeAll(async () => {
  world = await createWorld();
  admin = new Redis(world.redis.url);
});

afterAll(async () => {
  admin.disconnect();
  await world.close();
});

/** The address of Redis for a user, who is made as the page says. */
async function as(user: string): Promise<string> {
  const [, password = '', rights = ''] = new RegExp(`^ACL SETUSER ${user} on >(\\S+) (.*)$`, 'm').exec(PAGE) ?? [];
  await admin.call('ACL', 'SETUSER', user, 'on', `>${password}`, ...rights.split(' '));
  return world.redis.url.replace('redis://', `redis://${user}:${password}@`);
}

test('suffice for bot and worker, from a command to its verdict', async () => {
  const bot = createBot({ ...world.config, redis: { url: await as('netcheck-bot') } }, { log: world.log, tuning: FAST });
  const { port } = await bot.start();
  await world.worker(recorded('healthy'), { config: { redis: { url: await as('netcheck-lab') } }, nodes: ['node-1'] });
  await createHands(world.slack, port ?? 0).command('cluster', { user: 'ann', channel: 'incidents' });
  await until(
    async () => (await world.slack.messages('incidents')).find(({ text }) => text.startsWith('🟢')),
    'the verdict in Slack',
    20_000,
  );
  await bot.stop();
  expect(await admin.call('ACL', 'LOG')).toEqual([]);
});

test("keep workers out of the bot's keys and of other clusters'", async () => {
  const worker = new Redis(await as('netcheck-lab'));
  const refused = await Promise.all(
    ['nc-bot:outbox-due', 'nc:other:active'].map((key) => worker.get(key).catch((error: Error) => error.message)),
  );
  const dangerous = await worker.call('CONFIG', 'GET', '*').catch((error: Error) => error.message);
  worker.disconnect();
  expect([...refused, dangerous]).toEqual([
    expect.stringMatching(/^NOPERM/),
    expect.stringMatching(/^NOPERM/),
    expect.stringMatching(/^NOPERM/),
  ]);
});
