import { randomUUID } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { buttonsOf, createSocketHands } from '../../test/slack.ts';
import { until } from '../../test/until.ts';
import { createWorld, recorded, type World } from '../../test/world.ts';

const ann = { user: 'ann', channel: 'incidents' };

let world: World | null = null;
afterEach(async () => {
  await world?.close();
  world = null;
});

async function start(config: object = {}): Promise<World> {
  world = await createWorld({ config: () => ({ slack: { mode: 'socket' }, ...config }) });
  return world;
}

test('commands and clicks come over Socket Mode, and are answered in place', async () => {
  const { bot, slack, worker } = await start();
  await bot();
  const hands = createSocketHands(slack);
  expect(await hands.command('cluster', ann)).toContain('Queued: cluster `lab`');
  const root = await until(async () => (await slack.messages('incidents'))[0], 'the message of the run');
  const [cancel] = buttonsOf(root);
  if (cancel === undefined) throw new Error('no Cancel button');
  expect(await hands.click(cancel, ann)).toBe('Cancelled.');
  expect(await hands.command('clutser', ann)).toContain('Did you mean `/netcheck cluster`?');
  await worker(recorded('healthy'));
  await hands.command('cluster', { user: 'bob', channel: 'incidents' });
  await until(async () => (await slack.messages('incidents')).find(({ text }) => text.startsWith('🟢 Healthy')), 'the verdict');
});

test('an envelope that Slack sends twice is carried out once', async () => {
  const { bot, slack } = await start();
  await bot();
  const envelope = randomUUID();
  const payload = {
    command: '/netcheck',
    text: 'cluster',
    user_id: slack.user('ann'),
    team_id: slack.team,
    channel_id: slack.channel('incidents'),
    response_url: slack.responseUrl().url,
  };
  const answers = [
    await slack.socketMode.deliver('slash_commands', payload, envelope),
    await slack.socketMode.deliver('slash_commands', payload, envelope),
  ];
  expect(answers).toEqual([
    expect.objectContaining({ text: expect.stringContaining('Queued') }),
    {
      response_type: 'ephemeral',
      text: 'This request reached netcheck twice and was carried out once. If nothing appears, send it again.',
    },
  ]);
});

test('two replicas: connections are renewed again and again, and no command is lost or carried out twice', async () => {
  const { bot, slack } = await start({ limits: { runsPerUser: 1000, runsPerCluster: 1000 } });
  await Promise.all([bot(), bot()]);
  await until(() => slack.socketMode.connections().open === 4 || undefined, 'four connections');
  const hands = createSocketHands(slack);
  const answers: string[] = [];
  for (let round = 0; round < 12; round += 1) {
    const commands = Array.from({ length: 5 }, (_, index) => hands.command(`node node-${round}-${index}`, ann));
    slack.socketMode.renew();
    answers.push(...(await Promise.all(commands)));
  }
  expect(answers.filter((answer) => !answer.startsWith('Queued'))).toEqual([]);
  const runs = answers.map((answer) => /run `(r\w+)`/.exec(answer)?.[1]);
  expect(new Set(runs).size).toBe(60);
  await until(async () => ((await slack.messages('incidents')).length === 60 ? true : undefined), 'one message a run');
  expect(slack.socketMode.connections().ever).toBeGreaterThanOrEqual(12);
});

test('connections that are cut, and a Slack that cannot be reached, are come back from', async () => {
  const { bot, slack } = await start();
  await bot();
  slack.fail((method) => (method === 'apps.connections.open' ? { kind: 'drop' } : null));
  slack.socketMode.cut();
  await expect(slack.socketMode.deliver('slash_commands', {})).rejects.toThrow('dispatch_failed');
  slack.heal();
  await until(() => slack.socketMode.connections().open >= 1 || undefined, 'a connection');
  expect(await createSocketHands(slack).command('status', ann)).toContain('Cluster');
});

test('an app-level token that Slack refuses is said, with what to do', async () => {
  const made = await start();
  made.slack.fail((method) => (method === 'apps.connections.open' ? { kind: 'error', error: 'invalid_auth' } : null));
  await expect(made.bot()).rejects.toThrow(
    'Slack refuses the app-level token (invalid_auth): check NETCHECK_SLACK_APP_TOKEN; it needs the scope connections:write, and Socket Mode has to be switched on',
  );
});

test('without Redis a command is refused at once, and nothing is started', async () => {
  const { bot, slack, redis } = await start();
  await bot();
  await redis.kill();
  expect(await createSocketHands(slack).command('cluster', ann)).toBe(
    'Not accepted: Redis cannot be reached, so netcheck can neither queue nor remember anything. Nothing was started.',
  );
});
