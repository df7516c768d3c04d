import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import { buttonsOf, type TestButton, type TestMessage, textOf } from '../../test/slack.ts';
import { until } from '../../test/until.ts';
import { createWorld, recorded, type World } from '../../test/world.ts';
import { createProducer } from '../jobs/producer.ts';
import type { Remediate } from '../jobs/worker.ts';
import type { Action, RemedyOutcome } from '../model/remedy.ts';
import { readAudit, verifyAudit } from '../store/audit.ts';

const ann = { user: 'ann', channel: 'incidents' };
const bob = { user: 'bob', channel: 'incidents' };
const cara = { user: 'cara', channel: 'incidents' };

let world: World | null = null;
let client: Redis | null = null;
afterEach(async () => {
  client?.disconnect();
  client = null;
  await world?.close();
  world = null;
});

type Hands = Awaited<ReturnType<World['bot']>>;

/** A remedy that heals, and counts how often it ran. */
function healer(): { readonly remediate: Remediate; readonly ran: Action[] } {
  const ran: Action[] = [];
  return {
    ran,
    remediate: async (action, { onStep }) => {
      ran.push(action);
      onStep('looking again whether the finding still holds');
      return healed;
    },
  };
}

const healed: RemedyOutcome = {
  outcome: 'healed',
  reason: null,
  before: [{ where: 'node-2', source: '/proc/sys/net/ipv4/ip_forward', text: '0' }],
  after: [{ where: 'node-2', source: '/proc/sys/net/ipv4/ip_forward', text: '1' }],
  verified: [
    {
      probe: 'pod-ping:node-1>web-2',
      sentence: 'node-1 → default/web-2',
      before: { how: 'timeout', sent: 2, delivered: 0 },
      after: { how: 'ok', sent: 2, delivered: 2 },
    },
  ],
  undo: [['sysctl', '-w', 'net/ipv4/ip_forward=0']],
};

async function start(config: object = {}): Promise<{ readonly world: World; readonly hands: Hands; readonly redis: Redis }> {
  world = await createWorld({
    config: ({ user }) => ({ remedies: { enabled: true }, access: { approve: { users: [user('bob')] } }, ...config }),
  });
  client = new Redis(world.redis.url);
  return { world, hands: await world.bot(), redis: client };
}

/** Has the recorded fault found, and returns the button of its remedy. */
async function offer(from: World, hands: Hands): Promise<{ readonly root: TestMessage; readonly button: TestButton }> {
  await hands.command('cluster', ann);
  const root = await until(
    async () => (await from.slack.messages('incidents')).find(({ text }) => text.startsWith('🔴')),
    'the verdict',
  );
  const button = buttonsOf(root)[0];
  if (button === undefined) throw new Error('the verdict has no button');
  return { root, button };
}

/** The card of the remedy, once it looks as wanted. */
function card(from: World, root: TestMessage, look: (text: string) => boolean, what: string): Promise<TestMessage> {
  return until(
    async () =>
      (await from.slack.thread('incidents', root.ts)).find((message) =>
        message.text.startsWith('A remedy') || message.text.startsWith('Remedy') ? look(textOf(message)) : false,
      ),
    what,
  );
}

async function requested(
  from: World,
  hands: Hands,
): Promise<{ readonly root: TestMessage; readonly approve: TestButton; readonly deny: TestButton; readonly id: string }> {
  const { root, button } = await offer(from, hands);
  const said = await (await hands.click(button, ann)).said();
  expect(said).toMatch(/^Requested \(`a\w{10}`\)\. What will run, and who may approve it, is in the thread\.$/);
  const [approve, deny] = buttonsOf(await card(from, root, (text) => text.includes('waiting for approval'), 'the card'));
  if (approve === undefined || deny === undefined) throw new Error('the card has no buttons');
  return { root, approve, deny, id: approve.value.split('/')[1] ?? '' };
}

async function audit(redis: Redis): Promise<string[]> {
  return (await readAudit(redis, 'lab', 0)).map((line) => String(JSON.parse(line).event));
}

test('a remedy is requested by one, approved by another, run once, verified and told', async () => {
  const { world: w, hands, redis } = await start();
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const { root, approve, id } = await requested(w, hands);
  const ask = textOf(await card(w, root, () => true, 'the card'));
  expect(ask).toContain('sysctl -w net.ipv4.ip_forward=1');
  expect(ask).toContain(`*Who may approve:* <@${w.slack.user('bob')}>, but not whoever requested it. Until <!date^`);
  expect(await (await hands.click(approve, bob)).said()).toBe('Approved. It runs now; the thread says what became of it.');
  const done = await card(w, root, (text) => text.includes('Remedy, done'), 'the card when it is done');
  expect([textOf(done).includes(`Approved by <@${w.slack.user('bob')}>`), buttonsOf(done)]).toEqual([true, []]);
  const report = await until(
    async () => (await w.slack.thread('incidents', root.ts)).find(({ text }) => text.startsWith('Healed')),
    'the report',
  );
  expect(textOf(report)).toBe(
    [
      '✅ *Healed:* the probes that failed pass now. *Set ip_forward to 1 on node-2*',
      '*Before:* `node-2` /proc/sys/net/ipv4/ip_forward: `0`\n*After:* `node-2` /proc/sys/net/ipv4/ip_forward: `1`',
      'timeout 0/2 → ok 2/2  node-1 → default/web-2',
      '*To undo*, this runs on `node-2`, in this order:',
      'sysctl -w net/ipv4/ip_forward=0',
      'Request undo',
    ].join('\n'),
  );
  expect(ran.map((action) => [action.id, action.requestedBy.user, action.commands])).toEqual([
    [id, w.slack.user('ann'), [['sysctl', '-w', 'net.ipv4.ip_forward=1']]],
  ]);
  expect(await audit(redis)).toEqual(['requested', 'approved', 'started', 'done']);
  const file = await until(() => {
    const lines = readFileSync(join(w.directory, 'audit.jsonl'), 'utf8').trim().split('\n');
    return lines.length === 4 ? lines : null;
  }, 'the audit file');
  expect(verifyAudit(await readAudit(redis, 'lab', 0), await redis.get('nc:lab:audit-head'), file)).toEqual({
    ok: true,
    value: { lines: 4 },
  });
  expect(w.slack.refusedBlocks).toEqual([]);
});

test("everybody else's click has no effect, and gets a reason", async () => {
  const { world: w, hands, redis } = await start();
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const { approve, deny, root } = await requested(w, hands);
  const [button] = buttonsOf(root);
  if (button === undefined) throw new Error('no button');
  expect(await (await hands.click(approve, ann)).said()).toBe(
    'You may not approve or deny a remedy: you are not listed in `access.approve` of netcheck.yaml.',
  );
  expect(await (await hands.click(approve, cara)).said()).toMatch(/^You may not approve or deny a remedy/);
  expect(await (await hands.click(deny, cara)).said()).toMatch(/^You may not approve or deny a remedy/);
  expect(await (await hands.click(button, cara)).said()).toMatch(/^This remedy is requested already/);
  const forged = ['lab/a0000000000', 'other/a1', 'lab/../a1', '', 'lab/r1', `lab/${'a'.repeat(500)}`];
  for (const value of forged) {
    expect(await (await hands.click({ action_id: 'approve', value }, bob)).said()).toMatch(
      /^(This remedy is not known here|This belongs to another|There is no cluster `other`)/,
    );
  }
  expect([ran, await audit(redis)]).toEqual([[], ['requested']]);
});

test('an approver may not approve what they requested, unless configured, and then with a reason', async () => {
  const strict = await start();
  await strict.world.worker(recorded('ip-forward-off'), healer());
  const first = await offer(strict.world, strict.hands);
  await (await strict.hands.click(first.button, bob)).said();
  const [approve] = buttonsOf(await card(strict.world, first.root, () => true, 'the card'));
  if (approve === undefined) throw new Error('no button');
  expect(await (await strict.hands.click(approve, bob)).said()).toBe(
    'You requested this remedy: somebody else has to approve it.',
  );
  expect(await audit(strict.redis)).toEqual(['requested']);
  strict.redis.disconnect();
  await strict.world.close();

  const { world: w, hands, redis } = await start({});
  Object.assign(w.config.access, { selfApproval: true });
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const again = await offer(w, hands);
  await (await hands.click(again.button, bob)).said();
  const [own] = buttonsOf(await card(w, again.root, () => true, 'the card'));
  if (own === undefined) throw new Error('no button');
  await hands.click(own, bob);
  const view = await until(() => w.slack.views[0] as { callback_id: string; private_metadata: string } | undefined, 'the modal');
  expect((await hands.submit(view, '  ', { user: 'bob' })).text).toContain('A reason is needed');
  expect((await hands.submit(view, 'nobody else is awake', { user: 'cara' })).text).toContain(
    'You may not approve or deny a remedy',
  );
  expect(await hands.submit(view, 'nobody else is awake', { user: 'bob' })).toMatchObject({ status: 200, text: '' });
  await until(() => ran.length === 1, 'the remedy');
  const line = JSON.parse((await readAudit(redis, 'lab', 1))[0] ?? '{}');
  expect([line.event, line.detail]).toEqual(['approved', { selfApproval: 'yes', reason: 'nobody else is awake' }]);
});

test('of many clicks at once one has an effect', async () => {
  const { world: w, hands, redis } = await start();
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const { approve, root } = await requested(w, hands);
  const clicks = Number(process.env['NETCHECK_CLICKS'] ?? 60);
  const said = await Promise.all(Array.from({ length: clicks }, async () => (await hands.click(approve, bob)).said()));
  expect(said.filter((text) => text.startsWith('Approved.'))).toHaveLength(1);
  expect(said.filter((text) => !/^(Approved\.|It is approved already, by|It has run already)/.test(text))).toEqual([]);
  await card(w, root, (text) => text.includes('Remedy, done'), 'the end');
  expect([ran.length, await audit(redis)]).toEqual([1, ['requested', 'approved', 'started', 'done']]);
}, 30_000);

test('a remedy is denied by an approver, or withdrawn by whoever requested it, and then does not run', async () => {
  const { world: w, hands, redis } = await start();
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const first = await requested(w, hands);
  expect(await (await hands.click(first.deny, bob)).said()).toBe('Denied: it will not run.');
  const denied = await card(w, first.root, (text) => text.includes('Remedy, denied'), 'the denial');
  expect(textOf(denied)).toContain(`By <@${w.slack.user('bob')}>.`);
  expect(await (await hands.click(first.approve, bob)).said()).toBe(`It was denied by <@${w.slack.user('bob')}>.`);
  const button = buttonsOf(first.root)[0];
  if (button === undefined) throw new Error('no button');
  await (await hands.click(button, ann)).said();
  const second = await until(
    async () => (await w.slack.thread('incidents', first.root.ts)).find((message) => message.text.startsWith('A remedy waits')),
    'the second card',
  );
  const deny = buttonsOf(second)[1];
  if (deny === undefined) throw new Error('no button');
  expect(await (await hands.click(deny, ann)).said()).toBe('Withdrawn: it will not run.');
  expect([ran, await audit(redis)]).toEqual([[], ['requested', 'denied', 'requested', 'denied']]);
});

test('a request that nobody approves in time, and an approval that nobody starts, expire and close their card', async () => {
  const { world: w, hands, redis } = await start({ timeouts: { approveMs: 600 } });
  await w.worker(recorded('ip-forward-off'));
  const { root, approve } = await requested(w, hands);
  await card(w, root, (text) => text.includes('Remedy, expired') && text.includes('Nobody approved it in time.'), 'the expiry');
  expect(await (await hands.click(approve, bob)).said()).toBe(
    'Too late: this request has expired. Check again, and request it again if it is still needed.',
  );
  expect(await audit(redis)).toEqual(['requested', 'expired']);
});

test('an approval that comes to a worker too late is not carried out', async () => {
  const { world: w, hands, redis } = await start({ timeouts: { startMs: 250 } });
  const plain = await w.worker(recorded('ip-forward-off'));
  const { root, approve } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  await card(w, root, (text) => text.includes('Remedy, expired') && text.includes('no worker started it in time'), 'the expiry');
  await plain.stop();
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  await until(
    async () => (await redis.hget(`nc:lab:remediate:${approve.value.split('/')[1] ?? ''}`, 'finishedOn')) !== null,
    'the job',
  );
  expect([ran, await audit(redis)]).toEqual([[], ['requested', 'approved', 'expired']]);
});

test('a later check that no longer finds the fault closes the request', async () => {
  const { world: w, hands, redis } = await start();
  const sick = await w.worker(recorded('ip-forward-off'), healer());
  const { root } = await requested(w, hands);
  await sick.stop();
  await w.worker(recorded('healthy'), healer());
  await hands.command('node node-2', cara);
  await card(
    w,
    root,
    (text) => text.includes('no longer needed') && text.includes('A later check did not find that fault any more.'),
    'the closed card',
  );
  expect(await audit(redis)).toEqual(['requested', 'superseded']);
});

test('what was changed after it was approved is refused, whatever was changed', async () => {
  const { world: w, hands, redis } = await start();
  const plain = await w.worker(recorded('ip-forward-off'));
  const { remediate, ran } = healer();
  const { approve, id } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  const key = `nc:lab:action:${id}`;
  const [action = '', approval = ''] = await redis.hmget(key, 'action', 'approval');
  await plain.stop();
  const other = generateKeyPairSync('ed25519');
  const changes: [string, string, string][] = [
    ['action', '"node":"node-2"', '"node":"node-3"'],
    ['action', 'net.ipv4.ip_forward=1', 'kernel.panic=1'],
    ['action', '"uid":"uid-node-2"', '"uid":"uid-node-9"'],
    ['action', '"value":"1"', '"value":"2"'],
    ['action', '"code":"ip-forward-off"', '"code":"other"'],
    ['action', `"user":"${w.slack.user('ann')}"`, `"user":"${w.slack.user('cara')}"`],
    ['approval', `"user":"${w.slack.user('bob')}"`, `"user":"${w.slack.user('cara')}"`],
    ['approval', '"expiresAt":', '"expiresAt":9'],
    ['approval', '"cluster":"lab"', '"cluster":"prod"'],
    ['approval', '"signature":"', '"signature":"AAAA'],
  ];
  for (const [field, from, to] of changes) {
    const before = field === 'action' ? action : approval;
    expect(before).toContain(from);
    await redis.hset(key, { state: 'approved', action, approval, [field]: String(before).replace(from, to) });
    const worker = await w.worker(recorded('ip-forward-off'), { remediate });
    await redis.del(`nc:lab:remediate:${id}`);
    const producer = createProducer(redis);
    await producer.remediate('lab', id);
    await until(async () => (await redis.hget(key, 'state')) === 'failed', `the refusal of ${to}`);
    await worker.stop();
    await producer.close();
  }
  await redis.hset(key, { state: 'approved', action, approval });
  writeFileSync(w.config.remedies.publicKeyFile ?? '', other.publicKey.export({ type: 'spki', format: 'pem' }));
  await w.worker(recorded('ip-forward-off'), { remediate });
  await redis.del(`nc:lab:remediate:${id}`);
  await createProducer(redis).remediate('lab', id);
  await until(async () => (await redis.hget(key, 'reason')) === "its approval does not bear the bot's signature", 'the refusal');
  expect(ran).toEqual([]);
}, 60_000);

test('what cannot be audited does not happen', async () => {
  const { world: w, hands } = await start();
  const { remediate, ran } = healer();
  const file = join(w.directory, 'a-file');
  writeFileSync(file, '');
  await w.worker(recorded('ip-forward-off'), {
    remediate,
    config: { remedies: { ...w.config.remedies, auditFile: join(file, 'audit.jsonl') } },
  });
  const { root, approve } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  await card(
    w,
    root,
    (text) => text.includes('Remedy, not done') && text.includes('What cannot be audited does not happen'),
    'the refusal',
  );
  expect(ran).toEqual([]);
});

test('a remedy that is cut short has an unknown outcome: it is not repeated, and its node is checked', async () => {
  const { world: w, hands, redis } = await start();
  let ran = 0;
  const remediate: Remediate = async () => {
    ran += 1;
    throw new Error('the connection broke');
  };
  await w.worker(recorded('ip-forward-off'), { remediate });
  const { root, approve } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  await card(w, root, (text) => text.includes('Remedy, outcome unknown'), 'the unknown outcome');
  const check = await until(
    async () =>
      (await w.slack.messages('incidents')).find(({ ts, text }) => ts !== root.ts && text.includes('node node-2 of cluster lab')),
    'the check on its own account',
  );
  expect(textOf(check)).toContain('asked by netcheck');
  expect([ran, await audit(redis)]).toEqual([1, ['requested', 'approved', 'started', 'outcome-unknown']]);
});

test('an old verdict offers nothing any more', async () => {
  const { world: w, hands, redis } = await start();
  await w.worker(recorded('ip-forward-off'));
  const { button } = await offer(w, hands);
  const run = button.value.split('/')[1] ?? '';
  await redis.hset(`nc:lab:run:${run}`, 'finishedAt', Date.now() - 2 * 3_600_000);
  expect(await (await hands.click(button, ann)).said()).toBe(
    'This verdict is 120 min 0 s old. Check again with `/netcheck cluster`: a remedy is offered if it is still needed.',
  );
});
