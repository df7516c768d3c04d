import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import { count, proves } from '../../test/promises/counts.ts';
import { buttonsOf, type TestButton, type TestMessage, textOf } from '../../test/slack.ts';
import { until } from '../../test/until.ts';
import { plansFor } from '../../test/verdicts.ts';
import { createWorld, recorded, type World } from '../../test/world.ts';
import type { Remediate } from '../jobs/execute.ts';
import { createProducer } from '../jobs/producer.ts';
import type { Diagnose } from '../jobs/worker.ts';
import { type Action, digestOf, type RemedyOutcome } from '../model/remedy.ts';
import { ActionKind } from '../model/wire/action.ts';
import { pack, unpack } from '../model/wire/kind.ts';
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

type View = { readonly callback_id: string; readonly private_metadata: string; readonly blocks: TestMessage['blocks'] };

/** The form that something opens. */
async function opened(from: World, open: () => Promise<unknown>): Promise<View> {
  const before = from.slack.views.length;
  await open();
  return (await until(() => from.slack.views[before], 'a form')) as View;
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
  expect([
    textOf(done).includes(`Approved by <@${w.slack.user('bob')}>`),
    buttonsOf(done).map(({ action_id }) => action_id),
  ]).toEqual([true, ['details']]);
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
  const view = await opened(w, () => hands.click(own, bob));
  expect((await hands.submit(view, '  ', { user: 'bob' })).text).toContain('A reason is needed');
  expect((await hands.submit(view, 'nobody else is awake', { user: 'cara' })).text).toContain(
    'You may not approve or deny a remedy',
  );
  expect(await hands.submit(view, 'nobody else is awake', { user: 'bob' })).toMatchObject({ status: 200, text: '' });
  await until(() => ran.length === 1, 'the remedy');
  const line = JSON.parse((await readAudit(redis, 'lab', 1))[0] ?? '{}');
  expect([line.event, line.detail]).toEqual(['approved', { selfApproval: 'yes', reason: 'nobody else is awake' }]);
});

test('of many clicks at once one has an effect', { timeout: 120_000 }, async ({ task }) => {
  const { world: w, hands, redis } = await start();
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const { approve, root } = await requested(w, hands);
  const clicks = count(60, 1_000);
  const said = await Promise.all(Array.from({ length: clicks }, async () => (await hands.click(approve, bob)).said()));
  expect(said.filter((text) => text.startsWith('Approved.'))).toHaveLength(1);
  expect(said.filter((text) => !/^(Approved\.|It is approved already, by|It has run already)/.test(text))).toEqual([]);
  await card(w, root, (text) => text.includes('Remedy, done'), 'the end');
  expect([ran.length, await audit(redis)]).toEqual([1, ['requested', 'approved', 'started', 'done']]);
  proves(task, 7, `${clicks} clicks at once, 1 effect`);
});

test('a remedy is denied by an approver, or withdrawn by whoever requested it, and then does not run', async () => {
  const { world: w, hands, redis } = await start();
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const first = await requested(w, hands);
  const form = await opened(w, () => hands.click(first.deny, bob));
  expect((await hands.submit(form, '   ', { user: 'bob' })).text).toContain('A reason is needed');
  expect((await hands.submit(form, 'not allowed to', { user: 'cara' })).text).toContain('You may not approve or deny a remedy');
  expect(await audit(redis)).toEqual(['requested']);
  expect(await hands.submit(form, 'a deploy runs on that node', { user: 'bob' })).toMatchObject({ status: 200, text: '' });
  const denied = await card(w, first.root, (text) => text.includes('Remedy, denied'), 'the denial');
  expect(textOf(denied)).toContain(`By <@${w.slack.user('bob')}>.\nA deploy runs on that node.`);
  expect(JSON.parse((await readAudit(redis, 'lab', 1))[0] ?? '{}').detail).toEqual({ reason: 'a deploy runs on that node' });
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

test('a worker that is told to stop finishes what it carries out, also what takes longer than others may', async () => {
  const { world: w, hands, redis } = await start({ timeouts: { remedyMs: 200 } });
  const [begun, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const worker = await w.worker(recorded('ip-forward-off'), {
    propose: (verdict) => plansFor(verdict).map((plan) => ({ ...plan, timeoutMs: 20_000 })),
    remediate: async () => {
      begun.resolve();
      await release.promise;
      return healed;
    },
    tuning: { stopMs: 100 },
  });
  const { root, approve } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  await begun.promise;
  const stopping = worker.stop();
  await delay(3_000);
  release.resolve();
  await stopping;
  await card(w, root, (text) => text.includes('Remedy, done'), 'the outcome');
  expect(await audit(redis)).toEqual(['requested', 'approved', 'started', 'done']);
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

// Where several nodes share a reason, a gap names them all.
test('a later check that could not see the node leaves the request open', async () => {
  const { world: w, hands, redis } = await start();
  const sick = await w.worker(recorded('ip-forward-off'), healer());
  await requested(w, hands);
  await sick.stop();
  const blind: Diagnose = async (request, context) => {
    const found = await recorded('stale-neighbour')(request, context);
    if ('refusal' in found) return found;
    const gap = { what: 'every check of these nodes', where: 'node-1, node-2', reason: 'no agent answered' };
    return { ...found, verdict: { ...found.verdict, notChecked: [gap] } };
  };
  await w.worker(blind, healer());
  await hands.command('cluster', cara);
  await until(
    async () => (await w.slack.messages('incidents')).some((message) => textOf(message).includes('no agent answered')),
    'the verdict',
  );
  await until(async () => (await redis.zcard('nc:lab:untold')) === 0, 'the end of what the verdict causes');
  expect(await audit(redis)).toEqual(['requested']);
});

test('what was changed after it was approved is refused, whatever was changed', async () => {
  const { world: w, hands, redis } = await start();
  const plain = await w.worker(recorded('ip-forward-off'));
  const { remediate, ran } = healer();
  const { approve, id } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  const key = `nc:lab:action:${id}`;
  const [action = '', approvals = ''] = await redis.hmget(key, 'action', 'approvals');
  await plain.stop();
  const other = generateKeyPairSync('ed25519');
  const changes: [string, string, string][] = [
    ['action', '"node":"node-2"', '"node":"node-3"'],
    ['action', 'net.ipv4.ip_forward=1', 'kernel.panic=1'],
    ['action', '"uid":"uid-node-2"', '"uid":"uid-node-9"'],
    ['action', '"value":"1"', '"value":"2"'],
    ['action', '"code":"ip-forward-off"', '"code":"other"'],
    ['action', '"riskClass":"medium"', '"riskClass":"low"'],
    ['action', '"approvalsNeeded":1', '"approvalsNeeded":2'],
    ['action', `"user":"${w.slack.user('ann')}"`, `"user":"${w.slack.user('cara')}"`],
    ['approvals', `"user":"${w.slack.user('bob')}"`, `"user":"${w.slack.user('cara')}"`],
    ['approvals', '"expiresAt":', '"expiresAt":9'],
    ['approvals', '"cluster":"lab"', '"cluster":"prod"'],
    ['approvals', '"signature":"', '"breakGlass":"why not","signature":"'],
    ['approvals', '"signature":"', '"signature":"AAAA'],
  ];
  for (const [field, from, to] of changes) {
    const before = field === 'action' ? action : approvals;
    expect(before).toContain(from);
    await redis.hset(key, { state: 'approved', action, approvals, [field]: String(before).replace(from, to) });
    const worker = await w.worker(recorded('ip-forward-off'), { remediate });
    await redis.del(`nc:lab:remediate:${id}`);
    const producer = createProducer(redis);
    await producer.remediate('lab', id);
    await until(async () => (await redis.hget(key, 'state')) === 'failed', `the refusal of ${to}`);
    await worker.stop();
    await producer.close();
  }
  await redis.hset(key, { state: 'approved', action, approvals });
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

test.each([
  ['is written', null, []],
  ['that cannot be written is logged, and stops nothing', 'forbidden', ['warn no Event tells of an action that has ended']],
  ['whose writing throws is logged, too', new Error('broken'), ['warn no Event tells of an action that has ended']],
])('an Event %s', async (_name, fault, logged) => {
  const { world: w, hands } = await start();
  const told: string[] = [];
  const announce = async ({ id }: Action, { outcome }: RemedyOutcome): Promise<string | null> => {
    told.push(`${id} ${outcome}`);
    if (fault instanceof Error) throw fault;
    return fault;
  };
  const { remediate, ran } = healer();
  const remedies = { ...w.config.remedies, events: true };
  const worker = await w.worker(recorded('ip-forward-off'), { remediate, announce, config: { remedies } });
  const { root, approve } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  await card(w, root, (text) => text.includes('Remedy, done'), 'the outcome');
  await worker.stop();
  expect(told).toEqual([`${ran[0]?.id} healed`]);
  expect(w.log.lines.filter((line) => line.includes('Event')).map((line) => line.split(' {')[0])).toEqual(logged);
});

test('no Event is written where nobody asked for it', async () => {
  const { world: w, hands } = await start();
  let told = 0;
  const announce = async (): Promise<null> => {
    told += 1;
    return null;
  };
  const worker = await w.worker(recorded('ip-forward-off'), { remediate: healer().remediate, announce });
  const { root, approve } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  await card(w, root, (text) => text.includes('Remedy, done'), 'the outcome');
  await worker.stop();
  expect(told).toBe(0);
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

const dan = { user: 'dan', channel: 'incidents' };
const users = { ann: {}, bob: {}, cara: {}, dan: {} };

/** A world in which `bob` and `dan` approve, and policy asks for something more. */
async function strict(access: object): Promise<Awaited<ReturnType<typeof start>>> {
  world = await createWorld({
    users,
    config: ({ user }) => ({
      remedies: { enabled: true },
      access: { approve: { users: [user('bob'), user('dan')] }, ...access },
    }),
  });
  client = new Redis(world.redis.url);
  return { world, hands: await world.bot(), redis: client };
}

test('where two have to approve, the first approval runs nothing, is shown, and counts once; the second one runs it', async () => {
  const { world: w, hands, redis } = await strict({ rules: [{ risk: ['medium', 'high'], approvals: 2 }] });
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const { root, approve } = await requested(w, hands);
  const asked = await card(w, root, () => true, 'the card');
  expect([textOf(asked).includes('*Approvals:* 0 of 2, by different people.'), approve.text.text]).toEqual([true, 'Approve']);
  expect(await (await hands.click(approve, bob)).said()).toBe('Approved. It runs as soon as somebody else approves it, too.');
  const half = await card(w, root, (text) => text.includes('1 of 2'), 'the card with one approval');
  expect(textOf(half)).toContain(`*Approvals:* 1 of 2, by different people: so far <@${w.slack.user('bob')}>.`);
  expect(buttonsOf(half).map(({ text }) => text.text)).toEqual(['Approve and run', 'Deny', 'Details']);
  expect(await (await hands.click(approve, bob)).said()).toBe(
    'You have approved it already (1 of 2): somebody else has to approve it, too.',
  );
  expect(await (await hands.click(approve, ann)).said()).toMatch(/^You may not approve or deny a remedy/);
  expect([ran, await audit(redis)]).toEqual([[], ['requested', 'approval']]);
  expect(await (await hands.click(approve, dan)).said()).toBe('Approved. It runs now; the thread says what became of it.');
  const done = await card(w, root, (text) => text.includes('Remedy, done'), 'the end');
  expect(textOf(done)).toContain(`Approved by <@${w.slack.user('bob')}>, <@${w.slack.user('dan')}>.`);
  expect([
    ran.map(({ approvals, approvalsNeeded }) => [approvalsNeeded, approvals.map(({ by }) => by.user)]),
    await audit(redis),
  ]).toEqual([[[2, [w.slack.user('bob'), w.slack.user('dan')]]], ['requested', 'approval', 'approved', 'started', 'done']]);
  expect(w.slack.refusedBlocks).toEqual([]);
});

test('a worker runs nothing that has too few approvals, whatever Redis says, and asks its own policy, too', async () => {
  const { world: w, hands, redis } = await strict({ approvals: 2 });
  const plain = await w.worker(recorded('ip-forward-off'));
  const { remediate, ran } = healer();
  const { approve, id } = await requested(w, hands);
  await (await hands.click(approve, bob)).said();
  await plain.stop();
  const key = `nc:lab:action:${id}`;
  const [given = '[]'] = await redis.hmget(key, 'approvals');
  const twice = JSON.parse(String(given)) as { data: unknown[] };
  const reasons = [];
  for (const approvals of [given, JSON.stringify({ ...twice, data: [...twice.data, ...twice.data] })]) {
    await redis.hset(key, { state: 'approved', approvals: String(approvals), startBy: Date.now() + 60_000, reason: '' });
    const worker = await w.worker(recorded('ip-forward-off'), { remediate });
    await redis.del(`nc:lab:remediate:${id}`);
    const producer = createProducer(redis);
    await producer.remediate('lab', id);
    reasons.push(await until(async () => (await redis.hget(key, 'reason')) || null, 'the refusal'));
    await worker.stop();
    await producer.close();
  }
  expect([reasons, ran]).toEqual([Array.from({ length: 2 }, () => 'it has 1 of the 2 approvals that it needs'), []]);
});

test('what was requested when one approval was enough is not approved when policy asks for two', async () => {
  const { world: w, hands, redis } = await strict({});
  await w.worker(recorded('ip-forward-off'), healer());
  const { approve } = await requested(w, hands);
  Object.assign(w.config.access, { approvals: 2 });
  expect(await (await hands.click(approve, bob)).said()).toBe(
    'By now this needs 2 approvals (`access.approvals`), and it was requested with 1. Deny it, and request it again.',
  );
  expect(await audit(redis)).toEqual(['requested']);
});

test('rules say who may approve which remedy, and a remedy that nobody may approve is not offered', async () => {
  world = await createWorld({
    users,
    config: ({ user }) => ({
      remedies: { enabled: true },
      access: {
        approve: { users: [user('bob')] },
        rules: [{ clusters: ['lab'], remedies: ['set-ip-forward'], approve: { users: [user('dan')] } }],
      },
    }),
  });
  const w = world;
  const hands = await w.bot();
  await w.worker(recorded('ip-forward-off'), healer());
  const { root, approve } = await requested(w, hands);
  expect(textOf(await card(w, root, () => true, 'the card'))).toContain(`*Who may approve:* <@${w.slack.user('dan')}>, but`);
  expect(await (await hands.click(approve, bob)).said()).toBe(
    'You may not approve or deny a remedy: you are not listed in `access.rules.0.approve` of netcheck.yaml.',
  );
  expect(await (await hands.click(approve, dan)).said()).toBe('Approved. It runs now; the thread says what became of it.');
  await card(w, root, (text) => text.includes('Remedy, done'), 'the end');
  Object.assign(w.config.access.rules[0] ?? {}, { approve: { users: [], groups: [] } });
  await hands.command('node node-2', ann);
  const again = await until(
    async () => (await w.slack.messages('incidents')).find(({ ts, text }) => ts !== root.ts && text.startsWith('🔴')),
    'the second verdict',
  );
  expect([buttonsOf(again), textOf(again).includes('nobody may approve one')]).toEqual([[], true]);
});

test('in quiet hours nothing is requested, unless the glass can be broken, and then nothing is approved otherwise', async () => {
  const { world: w, hands, redis } = await strict({ approvals: 2, quiet: [{ zone: 'UTC' }] });
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const { root, button } = await offer(w, hands);
  expect(await (await hands.click(button, ann)).said()).toMatch(
    /^Not requested: these are quiet hours \(every day 00:00–24:00 UTC, `access\.quiet`\), until <!date\^.*\. Ask again then\.$/,
  );
  expect(await audit(redis)).toEqual([]);
  Object.assign(w.config.access, { breakGlass: { enabled: true, people: { users: [w.slack.user('bob')], groups: [] } } });
  await (await hands.click(button, ann)).said();
  const asked = await card(w, root, (text) => text.includes('Quiet hours'), 'the card');
  const [approve, , glass] = buttonsOf(asked);
  if (approve === undefined || glass?.action_id !== 'break-glass') throw new Error('no buttons');
  expect(await (await hands.click(approve, bob)).said()).toMatch(
    /^Not approved: these are quiet hours .* Until then only breaking the glass approves it\.$/,
  );
  expect([await (await hands.click(glass, dan)).said(), await (await hands.click(glass, cara)).said()]).toEqual([
    'You may not break the glass: you are not listed in `access.breakGlass.people` of netcheck.yaml.',
    'You may not approve or deny a remedy: you are not listed in `access.approve` of netcheck.yaml.',
  ]);
  const form = await opened(w, () => hands.click(glass, bob));
  expect((await hands.submit(form, ' ', { user: 'bob' })).text).toContain('A reason is needed');
  expect((await hands.submit(form, 'the shop is down', { user: 'dan' })).text).toContain('You may not break the glass');
  expect([ran, await audit(redis)]).toEqual([[], ['requested']]);
  expect(await hands.submit(form, 'the shop is down', { user: 'bob' })).toMatchObject({ status: 200, text: '' });
  const done = await card(w, root, (text) => text.includes('Remedy, done'), 'the end');
  expect(textOf(done)).toContain(`🚨 *Break-glass* by <@${w.slack.user('bob')}>: the shop is down`);
  const loud = await until(
    async () => (await w.slack.messages('incidents')).find(({ text }) => text.startsWith('Break-glass')),
    'the message in the channel',
  );
  expect(textOf(loud)).toContain('*Reason:* the shop is down');
  expect((await w.slack.messages('incidents')).filter(({ text }) => text.startsWith('Break-glass'))).toHaveLength(1);
  expect([ran.length, await audit(redis)]).toEqual([1, ['requested', 'approved', 'started', 'done']]);
  const [approved] = await readAudit(redis, 'lab', 1);
  expect(JSON.parse(approved ?? '{}').detail).toEqual({
    approvals: '1 of 2',
    breakGlass: 'yes',
    overrides: 'quiet hours, further approvals',
    reason: 'the shop is down',
  });
  expect(w.slack.refusedBlocks).toEqual([]);
});

test('the glass is not broken for what can be approved without, nor for one’s own request, nor where it is off', async () => {
  const { world: w, hands, redis } = await strict({});
  Object.assign(w.config.access, {
    breakGlass: { enabled: true, people: { users: [w.slack.user('bob'), w.slack.user('dan')], groups: [] } },
  });
  await w.worker(recorded('ip-forward-off'), healer());
  const { button, root } = await offer(w, hands);
  await (await hands.click(button, bob)).said();
  const asked = await card(w, root, () => true, 'the card');
  const glass = { action_id: 'break-glass', value: buttonsOf(asked)[0]?.value ?? '' };
  const said = [await (await hands.click(glass, dan)).said(), await (await hands.click(glass, bob)).said()];
  w.config.access.breakGlass.enabled = false;
  expect([...said, await (await hands.click(glass, dan)).said()]).toEqual([
    'Nothing has to be broken for this one: press `Approve and run`.',
    'You requested this remedy: somebody else has to approve it.',
    'Nobody may break the glass: `access.breakGlass.enabled` in netcheck.yaml is off.',
  ]);
  expect([buttonsOf(asked).map(({ action_id }) => action_id), await audit(redis)]).toEqual([
    ['approve', 'deny', 'details'],
    ['requested'],
  ]);
});

test('whoever may read the channel may see the details of a remedy, with the policy that applies to it', async () => {
  const { world: w, hands } = await strict({ rules: [{ risk: ['medium'], approvals: 2 }] });
  await w.worker(recorded('ip-forward-off'), healer());
  const { root, id } = await requested(w, hands);
  const details = buttonsOf(await card(w, root, () => true, 'the card')).find(({ action_id }) => action_id === 'details');
  if (details === undefined) throw new Error('no button');
  const shown = textOf(await opened(w, () => hands.click(details, cara)));
  const lines = [
    'sysctl -w net.ipv4.ip_forward=1',
    '*May request it:* every full member of the workspace (`access.request`)',
    `*May approve it:* <@${w.slack.user('bob')}>, <@${w.slack.user('dan')}> (\`access.approve\`), but not whoever requested it (\`access.selfApproval\`)`,
    '*Needs:* 2 approvals (`access.rules.0.approvals`)',
    '*Quiet hours:* none (`access.quiet`)',
    `action \`${id}\``,
  ];
  expect(lines.filter((line) => !shown.includes(line))).toEqual([]);
  expect(shown).toMatch(/digest `[0-9a-f]{64}`/);
  w.slack.fail((method) => (method === 'views.open' ? { kind: 'error', error: 'expired_trigger_id' } : null));
  expect(await (await hands.click(details, cara)).said()).toBe('Slack did not open the details. Try again.');
});

test('a remedy whose risk is said to be another than it is is neither requested nor approved', async () => {
  const { world: w, hands, redis } = await strict({});
  await w.worker(recorded('ip-forward-off'), healer());
  const { button, root } = await offer(w, hands);
  const run = button.value.split('/')[1] ?? '';
  const key = `nc:lab:proposals:${run}`;
  const stored = (await redis.get(key)) ?? '';
  expect(stored).toContain('"riskClass":"medium"');
  await redis.set(key, stored.replace('"riskClass":"medium"', '"riskClass":"low"'));
  const other = 'This remedy belongs to another version of netcheck. Check again with `/netcheck cluster`.';
  expect(await (await hands.click(button, ann)).said()).toBe(other);
  await redis.set(key, stored);
  await (await hands.click(button, ann)).said();
  const [approve] = buttonsOf(await card(w, root, () => true, 'the card'));
  if (approve === undefined) throw new Error('no button');
  const action = `nc:lab:action:${approve.value.split('/')[1] ?? ''}`;
  const requestedAs = (await redis.hget(action, 'action')) ?? '';
  for (const [from, to] of [
    ['"riskClass":"medium"', '"riskClass":"low"'],
    ['net.ipv4.ip_forward=1', 'kernel.panic=1'],
  ] as const) {
    await redis.hset(action, 'action', requestedAs.replace(from, to));
    expect(await (await hands.click(approve, bob)).said()).toBe(other);
  }
  expect(await audit(redis)).toEqual(['requested']);
});

test('what a card shows is what its button approves: a request that was changed since is not signed', async () => {
  const { world: w, hands, redis } = await strict({});
  const { remediate, ran } = healer();
  await w.worker(recorded('ip-forward-off'), { remediate });
  const { approve, id } = await requested(w, hands);
  const key = `nc:lab:action:${id}`;
  const stored = unpack(ActionKind, key, (await redis.hget(key, 'action')) ?? '');
  if (!stored.ok) throw new Error(stored.error.message);
  const changed = { ...stored.value, params: { device: 'eth0' } };
  await redis.hset(key, 'action', pack(ActionKind, { ...changed, digest: digestOf(changed) }));
  const said = [];
  for (const value of [approve.value, `lab/${id}`]) {
    said.push(await (await hands.click({ ...approve, value }, bob)).said());
  }
  expect(said).toEqual(
    Array.from({ length: 2 }, () => 'Not approved: what is stored is not what this card shows. Deny it, and check again.'),
  );
  expect([ran, await audit(redis)]).toEqual([[], ['requested']]);
});
