import type { BotTuning } from '../../src/bot/bot.ts';
import { createBot } from '../../src/bot/bot.ts';
import type { Config } from '../../src/config.ts';
import { createLog } from '../world.ts';
import { inherited } from './child.ts';

const bot = createBot(inherited('NETCHECK_TEST_CONFIG') as Config, {
  log: createLog(),
  tuning: inherited('NETCHECK_TEST_SETTINGS') as Partial<BotTuning>,
});
const { port } = await bot.start();
process.stdout.write(`${port}\n`);
