import { Resvg } from '@resvg/resvg-js';
import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import { buttonsOf, type TestMessage, textOf } from '../../test/slack.ts';
import { until } from '../../test/until.ts';
import { emptyBundle, readVerdict } from '../../test/verdicts.ts';
import { createWorld, recorded, type World } from '../../test/world.ts';
import type { Diagnose } from '../jobs/worker.ts';
import type { DigestRecord } from '../model/digest.ts';
import type { Mesh } from '../model/mesh.ts';
import type { NotChecked } from '../model/verdict.ts';
import { createDigestStore, type DigestStore } from '../store/digests.ts';
import { newId } from '../store/ids.ts';

const ann = { user: 'ann', channel: 'incidents' };
const bob = { user: 'bob', channel: 'incidents' };

let world: World;
let redis: Redis;
let digests: DigestStore;
afterEach(async () => {
  redis.disconnect();
  await world.close();
});

async function start(options: Parameters<typeof createWorld>[0] = {}): Promise<World> {
  world = await createWorld(options);
  redis = new Redis(world.redis.url);
  digests = createDigestStore(redis, 'lab');
  return world;
}

/** Types a schedule and presses Save; returns the digest's number. */
async function save(hands: Awaited<ReturnType<World['bot']>>, schedule: string, who = ann): Promise<number> {
  const [button] = buttonsOf(await hands.command(`digest ${schedule}`, who));
  if (button === undefined) throw new Error('no Save button');
  const { text } = await (await hands.click(button, who)).shown();
  return Number(/^Saved as digest (\d+):/.exec(text)?.[1]);
}

/** Saves a digest that is due every so many seconds: more often than anybody could type. */
async function often(cron: string, onlyChanges = false): Promise<void> {
  const by = { user: world.slack.user('ann'), team: 'T000000001' };
  const channel = world.slack.channel('incidents');
  const id = newId('s');
  await digests.draft({ id, channel, schedule: { cron, timezone: 'UTC' }, onlyChanges, theme: 'light', by });
  await digests.save(id, { user: by.user, channel }, { perChannel: 9, perCluster: 9 });
}

const digestMessages = async (): Promise<TestMessage[]> =>
  (await world.slack.messages('incidents')).filter(({ text }) => /: digest \d+ of cluster/.test(text));

/** The records of all digests that are shown, by their slots. */
async function records(): Promise<DigestRecord[]> {
  const shown = await Promise.all(
    (await digestMessages()).map((one) => digests.made(one.metadata?.event_payload.run.split('/')[1] ?? '')),
  );
  return shown.filter((record) => record !== null).sort((a, b) => a.slot - b.slot);
}

/** Whether every slot has one digest, or is counted as missed by the next one. */
function isGapless(all: readonly DigestRecord[], everyMs: number): boolean {
  return all.slice(1).every(({ slot, missed }, index) => slot - (all[index]?.slot ?? 0) === everyMs * (missed + 1));
}

/** Runs digest 1 now, and waits for its message. */
async function runNow(hands: Awaited<ReturnType<World['bot']>>, who = ann): Promise<TestMessage> {
  const { text } = await hands.command('digest run', who);
  const run = /\(run `(r\w+)`\)/.exec(text)?.[1];
  if (run === undefined) throw new Error(text);
  return until(
    async () => (await digestMessages()).find((one) => one.metadata?.event_payload.run === `lab/${run}`),
    `digest ${run}`,
  );
}

/** A diagnosis that finds something else each time: the last one again and again. */
function finding(
  ...found: readonly { readonly name: string; readonly mesh?: Mesh; readonly notChecked?: NotChecked[] }[]
): Diagnose {
  const left = [...found];
  return async (request, { runId }) => {
    const { name, mesh, notChecked } = left.length > 1 ? left.shift()! : left[0]!;
    const verdict = readVerdict(name, { id: runId, request, cluster: 'lab', startedAt: new Date().toISOString(), durationMs: 5 });
    return {
      verdict: {
        ...verdict,
        ...(mesh === undefined ? {} : { mesh }),
        ...(notChecked === undefined ? {} : { notChecked, status: 'inconclusive' }),
      },
      bundle: emptyBundle(verdict.run),
    };
  };
}

test('a schedule is shown in words with its next times, and saved by whoever typed it, once', async () => {
  const { bot, slack } = await start();
  const hands = await bot();
  const shown = await hands.command('digest weekdays 09:00 Europe/Berlin only changes', ann);
  expect(textOf(shown)).toMatch(
    /^A digest of cluster `lab` in this channel, \*every weekday \(Monday to Friday\) at 09:00, Europe\/Berlin time\*, only when something changed\. Next:\n(• \w{3}, \d+ \w+ \d{4}, 09:00 CES?T\n){3}Pictures are drawn for Slack's light theme; with `dark` at the end for its dark one\.\nNothing is saved yet\.\nSave\nCancel$/,
  );
  const [saveButton, cancelButton] = buttonsOf(shown);
  if (saveButton === undefined || cancelButton === undefined) throw new Error('no buttons');
  expect(await (await hands.click(saveButton, bob)).said()).toMatch(/^This schedule is not known any more/);
  const twice = await Promise.all([hands.click(saveButton, ann), hands.click(saveButton, ann)]);
  const answers = await Promise.all(twice.map((click) => click.shown()));
  for (const answer of answers) {
    expect(answer).toMatchObject({
      text: 'Saved as digest 1: every weekday (Monday to Friday) at 09:00, Europe/Berlin time. One right now: `/netcheck digest run 1`',
      replace_original: true,
    });
  }
  const note = await until(async () => (await slack.messages('incidents'))[0], 'the note');
  expect(textOf(note)).toBe(
    `🗓️ <@${slack.user('ann')}> saved digest 1 of cluster \`lab\`: every weekday (Monday to Friday) at 09:00, Europe/Berlin time, only when something changed.`,
  );
  expect((await digests.list()).map(({ number, by, channel }) => [number, by.user, channel])).toEqual([
    [1, slack.user('ann'), slack.channel('incidents')],
  ]);
  expect(await slack.messages('incidents')).toHaveLength(1);
  // BullMQ knows when it is due.
  expect(await redis.zrange('nc-bot:digest:repeat', '0', '-1')).toEqual(['lab.d1']);
});

test('Cancel saves nothing; without a time zone it is that of the profile, and without one it is asked for', async () => {
  const { bot, slack } = await start({ users: { ann: { tz: 'America/New_York' }, bob: { tz: '' } } });
  const hands = await bot();
  const shown = await hands.command('digest daily 8:30am', ann);
  expect(textOf(shown)).toContain('*every day at 08:30, America/New_York time*');
  expect(textOf(shown)).toContain('You named no time zone: this is the one in your Slack profile.');
  const cancelButton = buttonsOf(shown)[1];
  if (cancelButton === undefined) throw new Error('no Cancel button');
  expect(await (await hands.click(cancelButton, ann)).said()).toBe('Nothing was saved.');
  expect((await hands.command('digest daily', bob)).text).toBe(
    'In which time zone? Nothing was saved. Type for example `/netcheck digest weekdays 09:00 Europe/Berlin`.',
  );
  expect([await digests.list(), await slack.messages('incidents')]).toEqual([[], []]);
});

test('limits: so many digests for a channel; those of other channels are not touched from here', async () => {
  const { bot } = await start({ channels: { incidents: {}, other: {} }, config: () => ({ limits: { digestsPerChannel: 2 } }) });
  const hands = await bot();
  const there = { user: 'ann', channel: 'other' };
  expect([
    await save(hands, 'daily 09:00 UTC'),
    await save(hands, 'mondays 10:00 UTC'),
    await save(hands, 'daily 11:00 UTC', there),
  ]).toEqual([1, 2, 3]);
  expect((await hands.command('digest weekends 09:00 UTC', ann)).text).toBe(
    'Nothing was saved: this channel has 2 digests of `lab` already, and that is the limit. Remove one: `/netcheck digest remove N`',
  );
  expect((await hands.command('digest remove 3', ann)).text).toMatch(
    /^This channel has no digest 3 of cluster `lab`, so nothing was removed/,
  );
  expect((await hands.command('digest run 3', ann)).text).toMatch(
    /^Nothing was started: this channel has no digest 3 of cluster `lab`/,
  );
  expect((await hands.command('digest run', ann)).text).toBe('Which one? `/netcheck digest run 1`, `/netcheck digest run 2`');
  expect((await hands.command('digest remove 1', bob)).text).toBe('Removed digest 1.');
  expect((await hands.command('digest list', ann)).text).toMatch(
    /^\*Digests of cluster `lab` in this channel:\*\n• \*2\* every Monday at 10:00, UTC time, saved by <@\w+>; next Mon, .* 10:00 UTC\n1 digest more in other channels\./,
  );
  expect(await save(hands, 'weekends 09:00 UTC')).toBe(4);
  expect((await redis.zrange('nc-bot:digest:repeat', '0', '-1')).sort()).toEqual(['lab.d2', 'lab.d3', 'lab.d4']);
});

test('a digest is what changed since the last one; healthy is one line', async () => {
  const { bot, worker, slack } = await start();
  const hands = await bot();
  await worker(
    finding(
      { name: 'healthy' },
      { name: 'healthy' },
      { name: 'ip-forward-off' },
      { name: 'ip-forward-off' },
      { name: 'healthy' },
    ),
  );
  await save(hands, 'daily 09:00 UTC');
  const first = await runNow(hands);
  expect([first.blocks.length, textOf(first)]).toEqual([
    1,
    expect.stringMatching(
      /^🟢 \*Healthy\* · cluster `lab`: 6 nodes, \d+ probes, every one as it should be · the first digest: nothing to compare with · digest 1 · asked for by <@\w+> · run `r\w+`$/,
    ),
  ]);
  expect(textOf(await runNow(hands))).toMatch(/every one as it should be · nothing changed since \w{3}, .* UTC · digest 1/);
  const broken = textOf(await runNow(hands, bob));
  expect(broken).toMatch(/^🔴 \*Failed\* at `L3` · digest of cluster `lab`\n\*node-2 does not forward packets/);
  expect(broken).toContain('🆕 *New* (1)\n• `L3` node-2 does not forward IPv4');
  expect(broken).toMatch(/compared with \w{3}, .* UTC · digest 1/);
  const still = textOf(await runNow(hands));
  expect(still).not.toContain('*New*');
  expect(still).toMatch(/⏳ \*Still open\* \(1\)\n• `L3` node-2 does not forward IPv4.* _since \w{3}, .* UTC_/);
  const healed = await runNow(hands, bob);
  expect(textOf(healed)).toMatch(
    /^🟢 \*Healthy\* · digest of cluster `lab`[^]*✅ \*Resolved\* \(1\)\n• `L3` node-2 does not forward IPv4.* _since/,
  );
  expect(slack.refusedBlocks).toEqual([]);
});

test('what could not be looked at is not resolved, but not known any more', async () => {
  const { bot, worker } = await start();
  const hands = await bot();
  const blind = { what: 'everything that is read on the node', where: 'node-2', reason: 'the agent did not answer' };
  await worker(finding({ name: 'ip-forward-off' }, { name: 'healthy', notChecked: [blind] }, { name: 'healthy' }));
  await save(hands, 'daily 09:00 UTC');
  await runNow(hands);
  const hidden = textOf(await runNow(hands, bob));
  expect(hidden).not.toContain('*Resolved*');
  expect(hidden).toMatch(/❔ \*Not known any more\*, it could not be looked at \(1\)\n• `L3` node-2 does not forward IPv4/);
  expect(hidden).toContain('➖ *Not checked* (1)\n• node-2: everything that is read on the node (the agent did not answer)');
  expect(textOf(await runNow(hands))).toMatch(/✅ \*Resolved\* \(1\)\n• `L3` node-2 does not forward IPv4/);
});

test('without a verdict nothing is called resolved, and the next digest is compared with the last that had one', async () => {
  const { bot, worker } = await start();
  const hands = await bot();
  let time = 0;
  await worker(async (request, options) => {
    time += 1;
    if (time === 2) throw new Error('a bug');
    return recorded('ip-forward-off')(request, options);
  });
  await save(hands, 'daily 09:00 UTC');
  await runNow(hands);
  const none = textOf(await runNow(hands, bob));
  expect(none).toMatch(/^⚪ \*No verdict\* · digest of cluster `lab`\n\*internal error, see the log of the worker\*/);
  expect(none).toMatch(/❔ \*Not known any more\*[^]*node-2 does not forward IPv4/);
  const after = textOf(await runNow(hands));
  expect(after).not.toContain('*New*');
  expect(after).toMatch(/⏳ \*Still open\* \(1\)/);
});

test('with "only changes" a digest is silent when nothing changed, and the history says so', async () => {
  const { bot, worker, slack } = await start();
  const hands = await bot();
  await worker(finding({ name: 'healthy' }, { name: 'healthy' }, { name: 'ip-forward-off' }));
  await often('*/2 * * * * *', true);
  const [first, second] = await until(
    async () => {
      const all = await digestMessages();
      return all.length >= 2 ? all : null;
    },
    'two digests',
    30_000,
  );
  expect([first?.text, second?.text]).toEqual([
    expect.stringMatching(/^🟢 Healthy: digest 1 of cluster lab/),
    expect.stringMatching(/^🔴 Failed: digest 1 of cluster lab/),
  ]);
  await until(async () => (await redis.zcard('nc-bot:history:lab')) >= 5, 'more digests');
  expect(await digestMessages()).toHaveLength(2);
  const shown = await hands.command('history', bob);
  const lines = textOf(shown)
    .split('\n')
    .slice(1)
    .filter((line) => line.startsWith('• '));
  expect(lines.at(-1)).toMatch(
    /^• <!date\^\d+\^\{date_short_pretty\} \{time\}\|[^>]+> 🟢 \*Healthy\* digest 1: The network is healthy.* <https:\/\/[^|]+\/archives\/C\w+\/p\d+\|thread>$/,
  );
  expect(lines.at(-2)).toMatch(/🟢 \*Healthy\* digest 1, not posted: .* `r\w+`$/);
  expect(lines.at(-3)).toMatch(/🔴 \*Failed\* digest 1: .*\|thread>$/);
  expect(lines.at(-4)).toMatch(/🔴 \*Failed\* digest 1, not posted: /);
  expect(slack.refusedBlocks).toEqual([]);
});

test('two bots make one digest for each slot; after a time without any there is one late digest, not one for each slot', async () => {
  const { bot, worker } = await start();
  const first = await bot();
  const second = await bot();
  await worker(recorded('healthy'));
  await often('*/2 * * * * *');
  await until(async () => (await digestMessages()).length >= 3, 'three digests', 30_000);
  await Promise.all([first.process.stop(), second.process.stop()]);
  const before = await records();
  expect(isGapless(before, 2_000)).toBe(true);
  const lastSlot = before.at(-1)?.slot ?? 0;
  await until(async () => Date.now() > lastSlot + 9_000, 'some slots to pass', 20_000);
  await bot();
  const late = await until(async () => (await digestMessages())[before.length], 'the late digest', 20_000);
  const after = await records();
  expect(after[before.length]?.missed).toBeGreaterThanOrEqual(3);
  expect(isGapless(after, 2_000)).toBe(true);
  expect(textOf(late)).toMatch(/⏰ \d digests before this one could not be made: netcheck was not running\./);
});

test('a digest of somebody who may not start checks any more checks nothing, and says so instead of falling silent', async () => {
  const { bot, worker, config } = await start();
  await bot();
  let checks = 0;
  await worker((request, options) => {
    checks += 1;
    return recorded('healthy')(request, options);
  });
  await often('*/2 * * * * *');
  await until(async () => (await digestMessages()).length >= 1, 'the first digest', 30_000);
  Object.assign(config.access, { diagnose: { users: [], groups: [] } });
  const refusals = async () =>
    (await digestMessages())
      .map(textOf)
      .filter((text) => text.includes('may not start checks any more: somebody who may has to'));
  await until(async () => (await refusals()).length >= 1, 'the refusal', 30_000);
  const before = checks;
  await until(async () => (await refusals()).length >= 3, 'two more', 30_000);
  expect(checks).toBe(before);
});

test('what was under way when Redis lost the queue goes on: the clock is wound again, and the slot is taken up', async () => {
  const { bot, worker } = await start();
  await bot({ graceMs: 500, clockMs: 300 });
  await worker(recorded('healthy'));
  await often('*/3 * * * * *');
  await until(async () => (await digestMessages()).length >= 1, 'the first digest', 20_000);
  const keys = await redis.keys('nc-bot:digest:*');
  await redis.del(...keys);
  const count = (await digestMessages()).length;
  await until(async () => (await digestMessages()).length >= count + 2, 'more digests', 30_000);
  expect(isGapless(await records(), 3_000)).toBe(true);
});

const MESH: Mesh = {
  groups: ['node-1', 'node-2', 'node-3'].map((name) => ({ name, nodes: 1 })),
  planes: [
    {
      of: 'pods',
      ways: 6,
      lossy: 2,
      unknown: 0,
      medianMs: 0.2,
      p95Ms: 0.4,
      cells: [null, [null, 100, 0], [0.2, 0, 0], [null, 100, 0], null, [0.4, 0, 0], [0.2, 0, 0], [0.2, 0, 0], null],
    },
  ],
};

test.each([
  ['light', '', '#ffffff'],
  ['dark', ' dark', '#1a1d21'],
] as const)('the picture of what is wrong is in the thread, %s, with its description', async (theme, typed, ground) => {
  const { bot, worker, slack } = await start();
  const hands = await bot();
  await worker(finding({ name: 'healthy', mesh: { ...MESH, planes: [] } }, { name: 'ip-forward-off', mesh: MESH }));
  await save(hands, `daily 09:00 UTC only changes${typed}`);
  expect((await hands.command('digest list', ann)).text.includes('only when something changed, with dark pictures')).toBe(
    theme === 'dark',
  );
  const quiet = await runNow(hands);
  const broken = await runNow(hands, bob);
  const picture = await until(
    async () => (await slack.thread('incidents', broken.ts)).find(({ files }) => files.length > 0),
    'the picture',
    20_000,
  );
  expect(picture.files[0]?.alt_txt).toMatch(
    /^Cluster lab, .*Pod to pod: 6 ways measured, 2 lose packets.*node-1 to node-2 loses 100 %.*The last 2 digests: 1 healthy/,
  );
  const png = await slack.file(picture);
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  expect(groundOf(png)).toBe(ground);
  expect(await slack.thread('incidents', quiet.ts)).toHaveLength(1);
});

/** The colour of a picture near its left edge, half way down. */
function groundOf(png: Buffer): string {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const href = `data:image/png;base64,${png.toString('base64')}`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><image width="${width}" height="${height}" href="${href}"/></svg>`;
  const { pixels } = new Resvg(svg).render();
  const at = 4 * (width * Math.floor(height / 2) + 6);
  return `#${pixels.subarray(at, at + 3).toString('hex')}`;
}

test('remedies that ran are told once, with who approved them', async () => {
  const { bot, worker, slack } = await start({
    config: ({ user }) => ({ remedies: { enabled: true }, access: { approve: { users: [user('bob')] } } }),
  });
  const hands = await bot();
  await worker(recorded('ip-forward-off'), {
    remediate: async () => ({ outcome: 'healed', reason: null, before: [], after: [], verified: [], undo: [] }),
  });
  await save(hands, 'daily 09:00 UTC');
  const first = await runNow(hands);
  const request = buttonsOf(first).find(({ action_id }) => action_id === 'request:0');
  if (request === undefined) throw new Error('no remedy');
  await (await hands.click(request, ann)).said();
  const card = await until(
    async () => (await slack.thread('incidents', first.ts)).flatMap(buttonsOf).find(({ action_id }) => action_id === 'approve'),
    'the card',
  );
  await (await hands.click(card, bob)).said();
  await until(
    async () => (await slack.thread('incidents', first.ts)).some(({ text }) => text.startsWith('Healed')),
    'the outcome',
  );
  expect(textOf(await runNow(hands, bob))).toContain(
    `🔧 *Remedies since the last digest* (1)\n• Set ip_forward to 1 on node-2: healed (requested by <@${slack.user('ann')}>, approved by <@${slack.user('bob')}>)`,
  );
  expect(textOf(await runNow(hands))).not.toContain('Remedies since');
});

test('a channel that may not be told any more is told nothing, and the history says so', async () => {
  const { bot, worker, slack } = await start();
  const hands = await bot({ rememberMs: 1 });
  await worker(recorded('ip-forward-off'));
  await often('*/2 * * * * *');
  await until(async () => (await digestMessages()).length >= 1, 'a digest', 20_000);
  slack.setTraits('incidents', { is_ext_shared: true });
  const known = (await redis.zcard('nc-bot:history:lab')) + 1;
  await until(async () => (await redis.zcard('nc-bot:history:lab')) >= known + 2, 'more digests', 20_000);
  slack.setTraits('incidents', { is_ext_shared: false });
  expect(textOf(await hands.command('history', ann))).toContain('digest 1, not posted');
});

test('the history is turned page by page, in the same message', async () => {
  const { bot, worker } = await start({ config: () => ({ limits: { runsPerUser: 99, runsPerCluster: 99 } }) });
  const hands = await bot();
  await worker(recorded('ip-forward-off'), { tuning: { concurrency: 8 } });
  expect((await hands.command('history', ann)).text).toBe('Nothing was checked in cluster `lab` yet. Type `/netcheck cluster`.');
  for (let number = 1; number <= 23; number += 1) await hands.command(`node node-${number}`, ann);
  await until(async () => (await redis.zcard('nc-bot:history:lab')) === 23, 'all runs');
  await until(async () => (await redis.hlen('nc-bot:history-roots:lab')) === 23, 'all messages');
  const shown = await hands.command('history 2', bob);
  expect(textOf(shown)).toMatch(/^\*History of cluster `lab`\*, page 2 of 3; kept for 90 days\n/);
  expect(textOf(shown).match(/^• .*🔴 \*Failed\* node `node-\d+` of cluster `lab` by <@\w+>: .*\|thread>$/gm)).toHaveLength(10);
  expect(buttonsOf(shown).map(({ text, value }) => [text.text, value])).toEqual([
    ['Newer', 'lab/h1'],
    ['Older', 'lab/h3'],
  ]);
  const older = buttonsOf(shown)[1];
  if (older === undefined) throw new Error('no button');
  const last = await (await hands.click(older, bob)).shown();
  expect([last.replace_original, textOf(last).match(/^• /gm)?.length, buttonsOf(last).map(({ value }) => value)]).toEqual([
    true,
    3,
    ['lab/h2'],
  ]);
  expect((await hands.command('history 9', bob)).text).toBe('The history of cluster `lab` has 3 pages.');
});
