import naughty from 'big-list-of-naughty-strings/blns.json' with { type: 'json' };
import { afterEach, expect, test } from 'vitest';
import { buttonsOf, signed, type TestMessage, textOf } from '../../test/slack.ts';
import { until } from '../../test/until.ts';
import { createWorld, recorded, type World } from '../../test/world.ts';
import type { Diagnose } from '../jobs/worker.ts';

const ann = { user: 'ann', channel: 'incidents' };
const bob = { user: 'bob', channel: 'incidents' };

let world: World | null = null;
afterEach(async () => {
  await world?.close();
  world = null;
});

async function start(options: Parameters<typeof createWorld>[0] = {}): Promise<World> {
  world = await createWorld(options);
  return world;
}

async function rootOf(from: World, look: (message: TestMessage) => boolean, what: string): Promise<TestMessage> {
  return until(async () => (await from.slack.messages('incidents')).find(look), what);
}

/** A diagnosis that goes on until it is told to stop. */
function endless(): { readonly diagnose: Diagnose; readonly begun: Promise<void>; readonly stopped: () => boolean } {
  const begun = Promise.withResolvers<void>();
  let stopped = false;
  return {
    begun: begun.promise,
    stopped: () => stopped,
    diagnose: (_request, { signal, onProgress }) => {
      onProgress({ phase: 'sweep', nodesReady: 4, nodesTotal: 6, layers: { L2: 'ok', L3: 'checking' } });
      begun.resolve();
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => {
        stopped = true;
        reject(new Error('aborted'));
      });
      return promise;
    },
  };
}

test('a command is queued, shown, diagnosed, and answered in one message and its thread', async () => {
  const { bot, worker, slack } = await start();
  const hands = await bot();
  await worker(recorded('ip-forward-off'));
  expect(await hands.command('cluster', ann)).toMatchObject({
    status: 200,
    text: expect.stringMatching(/^Queued: cluster `lab` \(run `r\w{10}`\)\. The answer comes in this channel\.$/),
  });
  const root = await until(
    async () => (await slack.messages('incidents')).find(({ text }) => text.startsWith('🔴')),
    'a verdict',
  );
  const thread = await until(async () => {
    const replies = await slack.thread('incidents', root.ts);
    return replies.length === 3 ? replies : null;
  }, 'the thread');
  expect(thread.slice(1).map(({ text }) => text)).toEqual([
    'Evidence: node-2 does not forward packets: its pods are cut off from all other nodes.',
    '15 probes failed or lost packets',
  ]);
  expect(await slack.messages('incidents')).toHaveLength(1);
  expect(textOf(root)).toContain('*Cause:* node-2 does not forward IPv4');
  expect(slack.refusedBlocks).toEqual([]);
});

test('a run shows how far it is, and Cancel stops it', async () => {
  const { bot, worker, slack } = await start();
  const hands = await bot();
  const diagnosis = endless();
  await worker(diagnosis.diagnose);
  await hands.command('node node-3', ann);
  const running = await rootOf(world as World, (message) => textOf(message).includes('4 of 6 nodes ready'), 'progress');
  expect(textOf(running)).toContain('`L2` ✅  `L3` ⏳  `L4` ➖  `DNS` ➖  `L7` ➖');
  const [cancel] = buttonsOf(running);
  if (cancel === undefined) throw new Error('no Cancel button');
  expect(await (await hands.click(cancel, bob)).said()).toBe('Stopping. The message says when it has stopped.');
  const ended = await rootOf(world as World, ({ text }) => text.startsWith('Cancelled'), 'the cancellation');
  expect(textOf(ended)).toContain(`🛑 *Cancelled:* the check of node \`node-3\` of cluster \`lab\`, by <@${slack.user('bob')}>`);
  expect([diagnosis.stopped(), buttonsOf(ended)]).toEqual([true, []]);
  expect(await (await hands.click(cancel, bob)).said()).toBe('Too late: this run is cancelled.');
});

test('without a worker that is said at once, the run can be cancelled, and one that comes takes it up', async () => {
  const { bot, worker } = await start();
  const hands = await bot();
  expect(await hands.command('cluster', ann)).toMatchObject({
    text: expect.stringContaining(
      '⚠️ No worker of `lab` is alive (none was ever heard of). The check starts as soon as one is back.',
    ),
  });
  const root = await rootOf(world as World, ({ text }) => text.startsWith('Queued'), 'the queued run');
  expect(textOf(root)).toContain('No worker of `lab` is alive');
  const [cancel] = buttonsOf(root);
  if (cancel === undefined) throw new Error('no Cancel button');
  expect(await (await hands.click(cancel, ann)).said()).toBe('Cancelled.');
  await rootOf(world as World, ({ text }) => text.startsWith('Cancelled'), 'the cancellation');
  await hands.command('cluster', ann);
  await worker(recorded('healthy'));
  await rootOf(world as World, ({ text }) => text.startsWith('🟢 Healthy'), 'the verdict');
});

test('a diagnosis that throws, and one that never ends, end as explicit failures', async () => {
  const { bot, worker, config } = await start();
  const hands = await bot();
  const first = await worker(async () => {
    throw new Error('a bug');
  });
  await hands.command('cluster', ann);
  const failed = await rootOf(world as World, ({ text }) => text.startsWith('No verdict'), 'the failure');
  expect(textOf(failed)).toContain('internal error, see the log of the worker');
  await first.stop();
  const diagnosis = endless();
  await worker(diagnosis.diagnose, { config: { timeouts: { ...config.timeouts, runMs: 300 } } });
  await hands.command('node node-1', ann);
  const stopped = await rootOf(
    world as World,
    ({ text }) => text.includes('node node-1') && text.startsWith('No verdict'),
    'the time-out',
  );
  expect(textOf(stopped)).toContain('internal error');
  expect(diagnosis.stopped()).toBe(true);
});

test('a node that the cluster does not have is answered at once, with the names that come close', async () => {
  const { bot, worker, slack } = await start();
  const hands = await bot();
  await worker(recorded('healthy'), { nodes: ['node-1', 'node-2', 'node-12'] });
  await until(async () => (await hands.command('node node-22', ann)).text.includes('has no node'), 'the list of nodes');
  expect((await hands.command('node node-22', ann)).text).toMatch(
    /^Cluster `lab` has no node `node-22` \(as of \d+ s ago\), so nothing was started\. Did you mean `\/netcheck node node-12`, `\/netcheck node node-2`, `\/netcheck node node-1`\?$/,
  );
  expect((await hands.command('node NODE-2', ann)).text).toMatch(/^Queued: node `node-2`/);
  await rootOf(world as World, ({ text }) => text.includes('node node-2') && text.startsWith('🟢'), 'the verdict');
  expect((await slack.messages('incidents')).filter(({ text }) => text.includes('node-22')).length).toBeLessThanOrEqual(1);
});

test('the same command again joins the run under way; too many are refused with the reason', async () => {
  const { bot } = await start({ config: () => ({ limits: { runsPerUser: 2, runsPerCluster: 3 } }) });
  const hands = await bot();
  const [first, second] = await Promise.all([hands.command('cluster', ann), hands.command('cluster', ann)]);
  expect([first.text, second.text].filter((text) => text.startsWith('You asked for this a moment ago'))).toHaveLength(1);
  await hands.command('node node-1', ann);
  expect((await hands.command('node node-2', ann)).text).toBe(
    'Not accepted: you have 2 unfinished checks already: wait for one to end, or cancel one. Nothing was started.',
  );
  await hands.command('cluster', bob);
  expect((await hands.command('cluster', { user: 'cara', channel: 'incidents' })).text).toBe(
    'Not accepted: this cluster has 3 unfinished checks already: wait for one to end, or cancel one. Nothing was started.',
  );
});

test('only what Slack signed within five minutes gets in, and only once', async () => {
  const { bot, slack } = await start();
  const hands = await bot();
  const body = hands.commandBody('cluster', ann);
  const now = Math.floor(Date.now() / 1_000);
  const headers = signed(body, now);
  const statuses = async (...variants: [string, Record<string, string>][]): Promise<number[]> => {
    const answers = [];
    for (const [text, head] of variants) answers.push((await hands.send(text, head)).status);
    return answers;
  };
  expect(
    await statuses(
      [body, { 'content-type': 'application/x-www-form-urlencoded' }],
      [body, { ...headers, 'x-slack-signature': 'v0=' }],
      [body, signed(body, now, 'another secret')],
      [`${body}&text=node`, headers],
      [body, signed(body, now - 301)],
      [body, signed(body, now + 302)],
      [body, { ...signed(body, now), 'x-slack-request-timestamp': String(now + 1) }],
    ),
  ).toEqual([401, 401, 401, 401, 401, 401, 401]);
  const large = 'x'.repeat(600_000);
  expect(await statuses([large, signed(large)])).toEqual([413]);
  expect(await slack.messages('incidents')).toEqual([]);
  const [once, twice] = [await hands.send(body, headers), await hands.send(body, headers)];
  expect([once.text.slice(0, 6), twice]).toMatchObject([
    'Queued',
    { status: 200, text: 'This request reached netcheck twice and was carried out once. If nothing appears, send it again.' },
  ]);
  const elsewhere = await Promise.all([
    fetch(`http://127.0.0.1:${hands.port}/healthz`),
    fetch(`http://127.0.0.1:${hands.port}/slack/events`),
    fetch(`http://127.0.0.1:${hands.port}/other`, { method: 'POST' }),
  ]);
  expect(elsewhere.map(({ status }) => status)).toEqual([200, 405, 404]);
});

test('hostile text gets a polite answer, starts nothing, and is never shown live', async () => {
  const { bot, slack, log } = await start({ config: () => ({ limits: { runsPerUser: 1, runsPerCluster: 1 } }) });
  const hands = await bot();
  const texts = naughty.flatMap((text) => [text, `node ${text}`]);
  const answers = [];
  for (let at = 0; at < texts.length; at += 50) {
    answers.push(...(await Promise.all(texts.slice(at, at + 50).map((text) => hands.command(text, ann)))));
  }
  expect(answers.filter(({ status, text }) => status !== 200 || text === '')).toEqual([]);
  expect(answers.filter(({ text }) => /<(?!@|#)|internal error/.test(text))).toEqual([]);
  const started = await slack.messages('incidents');
  expect(started.filter(({ text }) => !/^Queued: node [a-z0-9.-]+ of cluster lab$/.test(text))).toEqual([]);
  expect(log.lines.filter((line) => line.startsWith('error'))).toEqual([]);
}, 60_000);

const IDENTITIES = {
  member: { traits: {}, refusal: null },
  guest: { traits: { is_restricted: true }, refusal: 'Guests may not use netcheck. Ask a full member of the workspace.' },
  singleGuest: {
    traits: { is_restricted: true, is_ultra_restricted: true },
    refusal: 'Guests may not use netcheck. Ask a full member of the workspace.',
  },
  robot: { traits: { is_bot: true }, refusal: 'Bots and apps may not use netcheck.' },
  app: { traits: { is_app_user: true }, refusal: 'Bots and apps may not use netcheck.' },
  gone: { traits: { deleted: true }, refusal: 'Your Slack account is deactivated.' },
  stranger: {
    traits: { is_stranger: true },
    refusal: 'You belong to another organisation (Slack Connect): netcheck answers only to members of this one.',
  },
  partner: {
    traits: { team_id: 'T999999999' },
    refusal: 'You belong to another organisation (Slack Connect): netcheck answers only to members of this one.',
  },
  invited: { traits: { is_invited_user: true }, refusal: 'Your invitation to this workspace is not accepted yet.' },
} as const;

test('every handler refuses everybody who is no full member, with a reason that they see', async () => {
  const { bot, slack } = await start({
    users: Object.fromEntries(Object.entries(IDENTITIES).map(([name, { traits }]) => [name.toLowerCase(), traits])),
    config: ({ user }) => ({ remedies: { enabled: true }, access: { approve: { users: [user('member')] } } }),
  });
  const hands = await bot();
  const buttons = ['cancel', 'request:0', 'approve', 'deny'].map((action_id) => ({
    action_id,
    value: `lab/${action_id === 'approve' || action_id === 'deny' ? 'a' : 'r'}1/p1`,
  }));
  for (const [name, { refusal }] of Object.entries(IDENTITIES)) {
    const who = { user: name.toLowerCase(), channel: 'incidents' };
    const said = [
      ...(await Promise.all(
        ['cluster', 'node node-1', 'status', 'help', '', 'nonsense $(x)'].map(
          async (text) => (await hands.command(text, who)).text,
        ),
      )),
      ...(await Promise.all(buttons.map(async (button) => (await hands.click(button, who)).said()))),
    ];
    const refused = said.filter((text) => text === refusal || text.includes('may not'));
    expect(refused).toEqual(refusal === null ? [] : Array.from({ length: 10 }, () => refusal));
  }
  const member = { user: 'member', channel: 'incidents' };
  const foreign = await Promise.all([
    hands.command('cluster', { ...member, team: 'T999999999' }),
    hands.command('status', { ...member, team: 'T999999999' }),
  ]);
  expect(foreign.map(({ text }) => text)).toEqual([
    'You belong to another workspace: netcheck answers only to members of the one it is installed in.',
    'You belong to another workspace: netcheck answers only to members of the one it is installed in.',
  ]);
  expect(await slack.messages('incidents')).toHaveLength(2);
});

test('who may do what is as configured, by user and by group; nobody may where nobody is listed', async () => {
  const { bot, slack } = await start({
    groups: { S0000000A: ['bob'] },
    config: ({ user }) => ({
      access: { diagnose: { users: [user('ann')], groups: ['S0000000A'] }, request: { users: [] } },
      remedies: { enabled: true },
    }),
  });
  const hands = await bot();
  const cara = { user: 'cara', channel: 'incidents' };
  expect((await hands.command('cluster', ann)).text).toMatch(/^Queued/);
  expect((await hands.command('cluster', bob)).text).toMatch(/^Queued/);
  expect((await hands.command('cluster', cara)).text).toBe(
    'You may not start or cancel a check: you are not listed in `access.diagnose` of netcheck.yaml.',
  );
  expect((await hands.command('status', cara)).text).toContain('no worker is alive');
  const press = async (action_id: string, value: string) => (await hands.click({ action_id, value }, ann)).said();
  expect([await press('request:0', 'lab/r1/p1'), await press('approve', 'lab/a1')]).toEqual([
    'Nobody may request a remedy: `access.request` in netcheck.yaml is empty.',
    'Nobody may approve or deny a remedy: `access.approve` in netcheck.yaml is empty.',
  ]);
  slack.fail((method) => (method === 'usergroups.users.list' ? { kind: 'error', error: 'missing_scope' } : null));
  await hands.process.stop();
  const again = await world?.bot();
  expect((await again?.command('cluster', bob))?.text).toBe(
    'Nothing was started: netcheck could not look up the user groups in `access.diagnose`, because Slack answered `missing_scope`. Try again in a moment.',
  );
});

test('channels without netcheck, shared ones and those of no cluster are refused before anything is accepted', async () => {
  const { bot, slack, redis, config } = await start({
    channels: {
      incidents: {},
      elsewhere: { without: true },
      shared: { is_ext_shared: true },
      allowed: { is_ext_shared: true },
      old: { is_archived: true },
      lounge: {},
    },
    config: ({ channel }) => ({
      slack: { externallySharedChannels: [channel('allowed')] },
      clusters: { lab: { channels: ['incidents', 'elsewhere', 'shared', 'allowed', 'old'].map(channel) } },
    }),
  });
  expect(config.redis.url).toBe(redis.url);
  const hands = await bot();
  const ask = async (channel: string) => (await hands.command('cluster', { user: 'ann', channel })).text;
  expect(await ask('elsewhere')).toBe(
    'netcheck is not in this channel, so nothing was started. Type `/invite @netcheck` here, then try again.',
  );
  expect(await ask('shared')).toBe(
    `This channel is shared with another organisation, and netcheck does not show your network there. Use an internal channel, or list \`${slack.channel('shared')}\` under \`slack.externallySharedChannels\`.`,
  );
  expect(await ask('old')).toBe('This channel is archived.');
  expect(await ask('lounge')).toBe(
    `No cluster is asked about in this channel: \`lab\` in ${['incidents', 'elsewhere', 'shared'].map((name) => `<#${slack.channel(name)}>`).join(', ')}. Others are added in netcheck.yaml, under \`clusters.NAME.channels\`.`,
  );
  expect(await ask('allowed')).toMatch(/^Queued/);
  slack.setMember('elsewhere', true);
  expect(await ask('elsewhere')).toMatch(/^Queued/);
});

test('with Redis away commands are refused in time, and go through again when it is back', async () => {
  const { bot, worker, redis, slack } = await start();
  const hands = await bot();
  await worker(recorded('healthy'));
  await redis.kill();
  const refused = await hands.command('cluster', ann);
  expect(refused).toMatchObject({
    status: 200,
    text: 'Not accepted: Redis cannot be reached, so netcheck can neither queue nor remember anything. Nothing was started.',
  });
  expect(refused.ms).toBeLessThan(3_000);
  await redis.restart();
  await until(async () => (await hands.command('cluster', ann)).text.startsWith('Queued'), 'Redis to be used again');
  await rootOf(world as World, ({ text }) => text.startsWith('🟢'), 'the verdict');
  redis.freeze();
  const frozen = await hands.command('node node-1', ann);
  redis.resume();
  expect(frozen.text).toMatch(/^Not accepted/);
  expect(frozen.ms).toBeLessThan(3_000);
  await until(async () => (await hands.command('node node-2', bob)).text.startsWith('Queued'), 'Redis to be used again');
  await rootOf(world as World, ({ text }) => text.startsWith('🟢') && text.includes('node-2'), 'the verdict');
  expect((await slack.messages('incidents')).filter(({ text }) => text.includes('node-1'))).toEqual([]);
}, 30_000);

test('a bot that starts before Redis refuses commands until Redis is there', async () => {
  const { bot, redis } = await start();
  await redis.kill();
  const hands = await bot();
  expect((await hands.command('cluster', ann)).text).toMatch(/^Not accepted: Redis cannot be reached/);
  await redis.restart();
  await until(async () => (await hands.command('cluster', ann)).text.startsWith('Queued'), 'Redis to be used');
});

test('when Redis is full commands are refused, and nothing that was accepted is lost', async () => {
  const { bot, slack } = await start();
  const hands = await bot();
  await hands.command('cluster', ann);
  await rootOf(world as World, ({ text }) => text.startsWith('Queued'), 'the root message');
  const owner = await import('ioredis').then(({ Redis }) => new Redis(world?.redis.url ?? ''));
  // Less than it holds: it takes nothing more, whatever buffers it gives up meanwhile.
  await owner.config('SET', 'maxmemory', '100kb');
  expect((await hands.command('node node-1', bob)).text).toMatch(/^Not accepted: Redis is full/);
  await owner.config('SET', 'maxmemory', '0');
  owner.disconnect();
  expect((await hands.command('node node-2', bob)).text).toMatch(/^Queued: node `node-2`/);
  await rootOf(world as World, ({ text }) => text.startsWith('Queued: node'), 'the root message of the other');
  expect(await slack.messages('incidents')).toHaveLength(2);
});

test('when Slack does not say who somebody is, nothing is accepted, and the answer comes in time', async () => {
  const { bot, slack } = await start();
  const hands = await bot({ timeoutMs: 10_000 });
  slack.fail((method) => (method === 'users.info' ? { kind: 'hang' } : null));
  const late = await hands.command('cluster', ann);
  expect(late.text).toBe(
    'Not accepted: it took too long to find out whether you may. Nothing was started; try again in a moment.',
  );
  expect(late.ms).toBeLessThan(3_000);
  slack.fail((method) => (method === 'users.info' ? { kind: 'rate-limit', seconds: 5 } : null));
  expect((await hands.command('cluster', bob)).text).toBe(
    'Nothing was started: netcheck could not find out who you are, because Slack answered that there are too many requests. Try again in a moment.',
  );
  slack.fail((method) => (method === 'users.info' ? { kind: 'drop' } : null));
  expect((await hands.command('cluster', bob)).text).toBe(
    'Nothing was started: netcheck could not find out who you are, because Slack did not answer. Try again in a moment.',
  );
  slack.heal();
  expect((await hands.command('cluster', bob)).text).toMatch(/^Queued/);
});

test('a channel that takes no messages any more ends the delivery, and status says so', async () => {
  const { bot, worker, slack } = await start();
  const hands = await bot();
  await worker(recorded('healthy'));
  slack.fail((method) => (method === 'chat.postMessage' ? { kind: 'error', error: 'channel_not_found' } : null));
  await hands.command('cluster', ann);
  const said = await until(async () => {
    const { text } = await hands.command('status', ann);
    return text.includes('could not be shown') && text.includes('Healthy') ? text : null;
  }, 'the failure in the status');
  expect(said).toContain('could not be shown: `channel_not_found`');
});

test('status and help tell what there is', async () => {
  const { bot, worker, slack } = await start();
  const hands = await bot();
  await worker(recorded('ip-forward-off'));
  expect((await hands.command('status', ann)).text).toMatch(
    /^\*Cluster\* `lab`: 1 worker alive, 0 runs unfinished\.\nNothing was checked yet\. Type `\/netcheck cluster`\.$/,
  );
  await hands.command('cluster', ann);
  const root = await rootOf(world as World, ({ text }) => text.startsWith('🔴'), 'the verdict');
  expect((await hands.command('status', ann)).text).toMatch(
    new RegExp(
      `^\\*Cluster\\* \`lab\`: 1 worker alive, 0 runs unfinished\\.\\n\\*Latest:\\*\\n• <https://test\\.slack\\.com/archives/${slack.channel('incidents')}/p${root.ts.replace('.', '')}\\|\`r\\w{10}\`> cluster \`lab\` by <@${slack.user('ann')}>: 🔴 \\*Failed\\* node-2 does not forward packets: its pods are cut off from all other nodes\\.$`,
    ),
  );
  expect((await hands.command('help', ann)).text).toContain('• `/netcheck cluster` checks the whole cluster');
});

test('where remedies are on, status tells who carries them out, or that nobody does', async () => {
  const { bot, worker } = await start({ config: () => ({ remedies: { enabled: true } }) });
  const hands = await bot();
  const line = (is: RegExp): Promise<string> =>
    until(async () => {
      const second = (await hands.command('status', ann)).text.split('\n')[1] ?? '';
      return is.test(second) ? second : null;
    }, `${is} in the status`);
  await worker(recorded('healthy'), { queues: ['diagnose'] });
  expect(await line(/no worker/)).toBe(
    '⚠️ *Remedies*: no worker is alive that carries them out (none was ever heard of). What is approved waits, and expires.',
  );
  const remediate = (): Promise<never> => Promise.reject(new Error('there is nothing to do'));
  const acting = await worker(recorded('healthy'), { queues: ['remediate'], remediate });
  expect(await line(/1 worker/)).toBe('*Remedies*: 1 worker alive.');
  await acting.stop();
  expect(await line(/no worker/)).toMatch(/ \(the last one was heard of .+ ago\)\. What is approved waits, and expires\.$/);
});

test('no secret reaches a log, Redis or Slack', async () => {
  const { bot, worker, slack, log, redis } = await start();
  const hands = await bot();
  await worker(recorded('ip-forward-off'));
  slack.fail((method) => (method === 'chat.update' && Math.random() < 0.3 ? { kind: 'status', status: 500 } : null));
  await hands.command('cluster', ann);
  const bad = hands.commandBody('cluster', bob);
  await hands.send(bad, signed(bad, 1_700_000_000));
  await rootOf(world as World, ({ text }) => text.startsWith('🔴'), 'the verdict');
  const { Redis } = await import('ioredis');
  const client = new Redis(redis.url);
  const dump = await Promise.all((await client.keys('*')).map((key) => client.dump(key)));
  client.disconnect();
  const everything = [log.lines.join('\n'), dump.join('\n'), JSON.stringify(await slack.messages('incidents'))].join('\n');
  const secrets = ['xoxb-test', 'a-signing-secret', 'PRIVATE KEY'];
  expect(secrets.filter((secret) => everything.includes(secret))).toEqual([]);
});

test('in a channel of several clusters a command says which; one without workers is said to be gone at once', async () => {
  const { bot, worker, slack } = await start({
    channels: { incidents: {}, elsewhere: {} },
    config: ({ channel }) => ({
      clusters: {
        lab: { channels: [channel('incidents')] },
        prod: { channels: [channel('incidents'), channel('elsewhere')] },
      },
    }),
  });
  const hands = await bot();
  await worker(recorded('healthy'));
  const inElsewhere = { user: 'ann', channel: 'elsewhere' };
  const said = async (text: string, who = ann) => (await hands.command(text, who)).text;
  expect([
    await said('cluster'),
    await said('cluster on labb'),
    await said('cluster on lab', inElsewhere),
    await said('cluster on lab'),
    await said('cluster', inElsewhere),
  ]).toEqual([
    'This channel asks about `lab`, `prod`. Say which: end the command with `on lab`.',
    'There is no cluster `labb`. This channel asks about `lab`, `prod`.',
    `Cluster \`lab\` is not asked about in this channel, but in <#${slack.channel('incidents')}>. This channel asks about \`prod\`.`,
    expect.stringMatching(/^Queued: cluster `lab` \(run `r\w{10}`\)\. The answer comes in this channel\.$/),
    expect.stringContaining('⚠️ No worker of `prod` is alive (none was ever heard of).'),
  ]);
  await rootOf(world as World, ({ text }) => text.startsWith('🟢 Healthy'), 'the verdict of lab');
});
