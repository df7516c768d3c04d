import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BOT_TOKEN, textOf } from '../../test/slack.ts';
import { until } from '../../test/until.ts';
import { createWorld, FAST, type World } from '../../test/world.ts';
import { section } from '../formatters/slack/blocks.ts';
import { md } from '../formatters/slack/markup.ts';
import { NO_METER } from '../meter.ts';
import type { OutboxEntry } from '../model/wire/outbox.ts';
import { createOutbox, type Outbox, outboxRef } from '../store/outbox.ts';
import type { Drawing } from './draw.ts';
import { createSender, DELIVERY, type DeliveryTuning, type Sender } from './sender.ts';
import { createSlackApi, createUpload } from './slack-api.ts';

let world: World;
let redis: Redis;
let outbox: Outbox;
const senders: Sender[] = [];
const tuning = { ...DELIVERY, ...FAST };

beforeEach(async () => {
  world = await createWorld({ channels: { one: {}, two: {} } });
  redis = new Redis(world.redis.url);
  outbox = createOutbox(redis);
});
afterEach(async () => {
  await Promise.all(senders.splice(0).map((sender) => sender.stop()));
  redis.disconnect();
  await world.close();
});

function start(more: Partial<DeliveryTuning> = {}): Sender {
  const call = createSlackApi({
    token: BOT_TOKEN,
    apiUrl: world.slack.apiUrl,
    timeoutMs: tuning.timeoutMs,
    log: world.log,
    meter: NO_METER,
  });
  const sender = createSender({
    outbox,
    call,
    upload: createUpload(world.slack.apiUrl, tuning.timeoutMs),
    draw: async () => drawing,
    self: world.slack.botUser,
    log: world.log,
    tuning: { ...tuning, ...more },
  });
  senders.push(sender);
  sender.start();
  return sender;
}

/** What is drawn for every picture. */
let drawing: Drawing | null = null;

const message = (text: string) => ({ text, blocks: [section(md`a message`)] });
const root = (text: string): OutboxEntry => ({ op: 'root', step: 'root', message: message(text) });
const reply = (step: string): OutboxEntry => ({ op: 'reply', step, message: message(step) });
const verdict = (text: string): OutboxEntry => ({
  op: 'update',
  step: 'verdict',
  of: 'root',
  final: true,
  message: message(text),
});

const quiet = () => until(async () => (await outbox.unsettled()) === 0, 'the outbox to be empty');
const shown = async (channel: string) => (await world.slack.messages(channel)).map(({ text }) => text);
const states = async (run: string) =>
  Object.fromEntries((await outbox.steps(outboxRef('lab', run))).map(({ step, state }) => [step, state]));

test('steps are sent in their order, once, however often they are put in', async () => {
  const ref = outboxRef('lab', 'r1');
  const channel = world.slack.channel('one');
  await outbox.push(ref, channel, [root('queued'), verdict('done'), reply('first'), reply('second')]);
  await outbox.push(ref, channel, [root('queued again'), reply('first'), reply('third')]);
  start();
  await quiet();
  const [only] = await world.slack.messages('one');
  expect([only?.text, (await world.slack.thread('one', only?.ts ?? '')).map(({ text }) => text)]).toEqual([
    'done',
    ['done', 'first', 'second', 'third'],
  ]);
});

test('a channel gets one call at a time, with a pause in between', async () => {
  for (const [index, name] of ['one', 'two', 'one', 'two'].entries()) {
    await outbox.push(outboxRef('lab', `r${index}`), world.slack.channel(name), [
      root(`queued ${index}`),
      reply('a'),
      reply('b'),
    ]);
  }
  start({ channelGapMs: 120 });
  await quiet();
  for (const name of ['one', 'two']) {
    const at = world.slack.calls
      .filter(({ method, parameters }) => method.startsWith('chat.') && parameters.get('channel') === world.slack.channel(name))
      .map((one) => one.at);
    const gaps = at.slice(1).map((time, index) => time - (at[index] ?? 0));
    // A call is counted where it arrives, so a late one seems closer to the next one than it was.
    expect([at.length, gaps.filter((gap) => gap < 40)]).toEqual([6, []]);
  }
});

test('of two senders one sends; when it stops the other one goes on', async () => {
  const first = start();
  start();
  await outbox.push(outboxRef('lab', 'r1'), world.slack.channel('one'), [root('one')]);
  await quiet();
  await first.stop();
  await outbox.push(outboxRef('lab', 'r2'), world.slack.channel('one'), [root('two')]);
  await quiet();
  expect(await shown('one')).toEqual(['one', 'two']);
});

test('what another sender may have been changing is changed once more later, what is its own is not', async () => {
  const ref = outboxRef('lab', 'r1');
  const channel = world.slack.channel('one');
  const updates = () => world.slack.calls.filter(({ method }) => method === 'chat.update').length;
  const first = start({ settleMs: 50 });
  await outbox.push(ref, channel, [root('queued'), { ...verdict('first'), step: 'first' }]);
  await quiet();
  expect(updates()).toBe(1);
  await first.stop();
  start({ settleMs: 50 });
  await outbox.push(ref, channel, [verdict('done')]);
  await quiet();
  expect([updates(), await shown('one')]).toEqual([3, ['done']]);
});

test('a layout that Slack refuses is shown as text', async () => {
  world.slack.fail((_method, parameters) => (parameters.has('blocks') ? { kind: 'error', error: 'invalid_blocks' } : null));
  await outbox.push(outboxRef('lab', 'r1'), world.slack.channel('one'), [
    root('queued'),
    verdict('the verdict in words'),
    reply('more'),
  ]);
  start();
  await quiet();
  const [only] = await world.slack.messages('one');
  expect([only?.text, only === undefined ? '' : textOf(only)]).toEqual(['the verdict in words', '']);
  expect(await states('r1')).toEqual({ root: 'sent', verdict: 'sent', more: 'sent' });
});

test('a message that cannot be changed any more is followed by a reply that says it', async () => {
  world.slack.fail((method) => (method === 'chat.update' ? { kind: 'error', error: 'edit_window_closed' } : null));
  await outbox.push(outboxRef('lab', 'r1'), world.slack.channel('one'), [root('queued'), verdict('the verdict')]);
  start();
  await quiet();
  const [only] = await world.slack.messages('one');
  expect((await world.slack.thread('one', only?.ts ?? '')).map(({ text }) => text)).toEqual(['queued', 'the verdict']);
});

test.each(['channel_not_found', 'not_in_channel', 'invalid_auth', 'is_archived'])(
  '%s ends all that is still to be said, and is kept',
  async (error) => {
    world.slack.fail((method) => (method === 'chat.update' ? { kind: 'error', error } : null));
    await redis.hset('nc:lab:run:r1', 'status', 'finished');
    await outbox.push(outboxRef('lab', 'r1'), world.slack.channel('one'), [
      root('queued'),
      verdict('the verdict'),
      reply('more'),
    ]);
    start();
    await quiet();
    expect(await states('r1')).toEqual({ root: 'sent', verdict: 'failed', more: 'skipped' });
    expect(await redis.hget('nc:lab:run:r1', 'deliveryFault')).toBe(error);
  },
);

test('a step that cannot be read is skipped with a word in the log, and the others are sent', async () => {
  const ref = outboxRef('lab', 'r1');
  await outbox.push(ref, world.slack.channel('one'), [root('queued'), reply('broken'), reply('whole')]);
  await redis.hset(`nc-bot:outbox:${ref}`, 'e:broken', '{"v":9,"data":{}}');
  start();
  await quiet();
  expect(await states('r1')).toEqual({ root: 'sent', broken: 'failed', whole: 'sent' });
  expect(world.log.lines.filter((line) => line.includes('a message that cannot be read was dropped'))).toHaveLength(1);
});

test('progress shows the latest only, and never what is older than the verdict', async () => {
  const ref = outboxRef('lab', 'r1');
  const channel = world.slack.channel('one');
  const sender = start();
  await outbox.push(ref, channel, [root('queued')]);
  await quiet();
  for (let step = 1; step <= 50; step += 1) sender.refresh(ref, channel, 'root', message(`step ${step}`));
  await until(async () => (await shown('one')).includes('step 50'), 'the latest progress');
  const updates = world.slack.calls.filter(({ method }) => method === 'chat.update').length;
  expect(updates).toBeLessThan(10);
  await outbox.push(ref, channel, [verdict('the verdict')]);
  sender.refresh(ref, channel, 'root', message('late progress'));
  await quiet();
  sender.refresh(ref, channel, 'root', message('later progress'));
  await outbox.push(ref, channel, [reply('after')]);
  await until(async () => (await states('r1'))['after'] === 'sent', 'the reply');
  await quiet();
  expect(await shown('one')).toEqual(['the verdict']);
});

test('what others posted is never taken for ours', async () => {
  const ref = outboxRef('lab', 'r1');
  let dropped = false;
  world.slack.fail((method) => {
    if (method !== 'chat.postMessage' || dropped) return null;
    dropped = true;
    return { kind: 'drop' };
  });
  await world.slack.forge('one', 'forged', { event_type: 'netcheck_message', event_payload: { run: ref, step: 'root' } });
  await outbox.push(ref, world.slack.channel('one'), [root('genuine')]);
  start();
  await quiet();
  expect(await shown('one')).toEqual(['forged', 'genuine']);
});

const picture: OutboxEntry = { op: 'picture', step: 'picture' };
const PNG = { png: new TextEncoder().encode('a picture'), alt: 'node-1 to node-2 loses 5 %', title: 'Network of lab' };

/** The names of the files in the thread of the first message of a channel, and what its other replies say. */
async function threadOf(channel: string): Promise<readonly string[]> {
  const [first] = await world.slack.messages(channel);
  const replies = (await world.slack.thread(channel, first?.ts ?? '')).slice(1);
  return replies.map(({ files, text }) => files[0]?.name ?? text);
}

test('a picture is uploaded into the thread, with its words for whoever does not see it', async () => {
  drawing = PNG;
  await outbox.push(outboxRef('lab', 'r1'), world.slack.channel('one'), [root('a digest'), picture, reply('after')]);
  start();
  await quiet();
  expect(await threadOf('one')).toEqual(['netcheck-lab-r1-picture.png', 'after']);
  const [first] = await world.slack.messages('one');
  const shared = (await world.slack.thread('one', first?.ts ?? '')).find(({ files }) => files.length > 0);
  if (shared === undefined) throw new Error('no picture');
  expect(shared.files).toEqual([expect.objectContaining({ title: PNG.title, alt_txt: PNG.alt })]);
  expect((await world.slack.file(shared)).toString()).toBe('a picture');
});

test.each([
  ['the address is refused for a while', 'files.getUploadURLExternal', { kind: 'status', status: 500 }],
  ['the bytes do not arrive', 'upload', { kind: 'drop' }],
  ['sharing is lost before Slack has it', 'files.completeUploadExternal', { kind: 'drop' }],
  ['sharing is carried out, and the answer is lost', 'files.completeUploadExternal', { kind: 'drop-after' }],
  ['sharing is rate limited', 'files.completeUploadExternal', { kind: 'rate-limit', seconds: 1 }],
] as const)('a picture is there once: %s', async (_name, method, fault) => {
  drawing = PNG;
  let failures = 2;
  world.slack.fail((called) => {
    if (called !== method || failures === 0) return null;
    failures -= 1;
    return fault;
  });
  await outbox.push(outboxRef('lab', 'r1'), world.slack.channel('one'), [root('a digest'), picture, reply('after')]);
  start();
  await quiet();
  expect(await threadOf('one')).toEqual(['netcheck-lab-r1-picture.png', 'after']);
});

test('a picture that Slack refuses is told in words, and holds nothing up', async () => {
  drawing = PNG;
  world.slack.fail((method) => (method === 'files.getUploadURLExternal' ? { kind: 'error', error: 'missing_scope' } : null));
  await outbox.push(outboxRef('lab', 'r1'), world.slack.channel('one'), [root('a digest'), picture, reply('after')]);
  start();
  await quiet();
  expect(await threadOf('one')).toEqual([
    'after',
    'node-1 to node-2 loses 5 % (The picture could not be uploaded: Slack answered missing_scope.)',
  ]);
});

test('a picture of which nothing is left to draw is left out', async () => {
  drawing = null;
  await outbox.push(outboxRef('lab', 'r1'), world.slack.channel('one'), [root('a digest'), picture, reply('after')]);
  start();
  await quiet();
  expect(await threadOf('one')).toEqual(['after']);
});
