import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signApproval } from '../../src/jobs/approval.ts';
import { createProducer } from '../../src/jobs/producer.ts';
import { digestOf } from '../../src/model/remedy.ts';
import { ActionKind } from '../../src/model/wire/action.ts';
import { pack, unpack } from '../../src/model/wire/kind.ts';
import { createActionStore } from '../../src/store/actions.ts';
import { readAudit, readAuditHead, verifyAudit } from '../../src/store/audit.ts';
import { makeApprovalKeys } from '../action.ts';
import { expectHealthy } from '../lab/faults/healthy.ts';
import { textOf } from '../slack.ts';
import { until } from '../until.ts';
import { createInstallation, type Effects, type Installation, watchEffects } from './installation.ts';

/*
 * `netcheck all` from the slash command to the healed network, and every way in which a remedy must not run. What
 * happened is told by the commands that the nodes really ran.
 */

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('netcheck all over a real network', () => {
  let netcheck: Installation;
  let effects: Effects;
  let before = 0;

  beforeAll(async () => {
    netcheck = await createInstallation({ nodes: 3 });
    effects = watchEffects(netcheck.lab);
  });

  afterAll(() => netcheck?.close());

  /** What remedies changed since it was asked the last time. */
  function effectsSince(): readonly string[] {
    const all = effects.seen();
    const since = all.slice(before);
    before = all.length;
    return since;
  }

  /** The claims of a node, without the prior states. */
  async function claimsOn(node: string): Promise<readonly string[]> {
    const listed = await netcheck.lab.sh(node, 'ls /var/lib/netcheck/claims 2>/dev/null || :');
    return listed.split('\n').filter((name) => name !== '' && !name.endsWith('.json'));
  }

  /** How an action ended: its state, outcome and reason. */
  async function ended(id: string): Promise<readonly unknown[]> {
    const { state, outcome, reason } = await netcheck.closed(id);
    return [state, outcome?.outcome ?? null, reason];
  }

  /** What the reply in a thread says that reports how an action ended. */
  async function report(root: Parameters<Installation['reply']>[0], text: RegExp): Promise<string> {
    return textOf(await netcheck.reply(root, (message) => text.test(message.text), `a reply like ${text}`));
  }

  test('set-ip-forward: asked for by one, refused to her and to a stranger, approved by two at once, done once, healed', async () => {
    await netcheck.lab.fault('ip-forward-off', { node: 'node-2' });
    const { verdict, root } = await netcheck.diagnose('cluster', 'ann');
    expect([verdict.status, verdict.layer, verdict.causes.map(({ code, entity }) => [code, entity.name])]).toEqual([
      'failed',
      'L3',
      [['ip-forward-off', 'node-2']],
    ]);
    const { id, approve, deny, text } = await netcheck.request(root, 'ann');
    expect(text).toContain('sysctl -w net/ipv4/ip_forward=1');
    const stranger = 'You may not approve or deny a remedy: you are not listed in `access.approve` of netcheck.yaml.';
    expect(await netcheck.click(approve, 'ann')).toBe('You requested this remedy: somebody else has to approve it.');
    expect(await netcheck.click(approve, 'cara')).toBe(stranger);
    expect(await netcheck.click(deny, 'cara')).toBe(stranger);
    expect([effectsSince(), await netcheck.audit(id)]).toEqual([[], ['requested']]);

    const said = await Promise.all((['bob', 'dan', 'bob', 'dan'] as const).map((who) => netcheck.click(approve, who)));
    expect(said.filter((answer) => answer === 'Approved. It runs now; the thread says what became of it.')).toHaveLength(1);
    expect(
      said.filter((answer) => !/^(Approved\.|It is approved already, by <@U\w+>\.|It has run already)/.test(answer)),
    ).toEqual([]);
    expect(await ended(id)).toEqual(['done', 'healed', '']);
    const healed = await report(root, /^Healed/);
    expect(healed).toMatch(/\*Before:\* `node-2` .*forwarding off: all.*\n\*After:\* `node-2` .*forwarding on: all/);
    expect(healed).toMatch(/timeout 0\/\d+ → ok/);
    expect(effectsSince()).toEqual(['node-2 sysctl -w net/ipv4/ip_forward=1']);
    expect([await netcheck.audit(id), await claimsOn('node-2')]).toEqual([['requested', 'approved', 'started', 'done'], [id]]);
    await expectHealthy(netcheck.lab);
    await netcheck.lab.heal('ip-forward-off');
  });

  test('flush-neighbour: found, approved, flushed once, healed', async () => {
    const { node, peer } = await netcheck.lab.fault('stale-neighbour', { node: 'node-1', peer: 'node-3' });
    const { verdict, root } = await netcheck.diagnose('cluster', 'bob');
    expect([verdict.status, verdict.layer, verdict.causes.map(({ code, entity }) => [code, entity.name])]).toEqual([
      'failed',
      'L2',
      [['stale-neighbour', node]],
    ]);
    const { id, approve, text } = await netcheck.request(root, 'bob');
    const { ip } = netcheck.lab.node(peer);
    expect(text).toContain(`ip neighbour flush to ${ip} dev eth0`);
    expect(text).toContain('*Undo:* not possible.');
    expect(await netcheck.click(approve, 'ann')).toMatch(/^Approved\./);
    expect(await ended(id)).toEqual(['done', 'healed', '']);
    expect(await report(root, /^Healed/)).toMatch(/\*Before:\* `node-1` .*lladdr 02:00:0a:1c:de:ad/);
    expect(effectsSince()).toEqual([`node-1 ip neighbour flush to ${ip} dev eth0`]);
    expect(await netcheck.audit(id)).toEqual(['requested', 'approved', 'started', 'done']);
    await expectHealthy(netcheck.lab);
    await netcheck.lab.heal('stale-neighbour');
  });

  test('what must not run: an action forged in Redis, and one whose finding is gone', async () => {
    await netcheck.lab.fault('ip-forward-off', { node: 'node-2' });
    const { root } = await netcheck.diagnose('node node-2', 'ann');

    // Somebody can write into Redis, and even has the worker believe a key of theirs: the node believes the bot's only.
    const thief = makeApprovalKeys();
    const forged = await netcheck.request(root, 'ann');
    const key = `nc:lab:action:${forged.id}`;
    const stored = unpack(ActionKind, key, (await netcheck.redis.hget(key, 'action')) ?? '');
    if (!stored.ok) throw new Error(stored.error.message);
    const changed = {
      ...stored.value,
      params: { device: 'eth0' },
      commands: [['sysctl', '-w', 'net/ipv4/conf/eth0/forwarding=1']],
    };
    const action = { ...changed, digest: digestOf(changed) };
    const [seconds] = await netcheck.redis.time();
    const expiresAt = (Number(seconds) + 60) * 1000;
    writeFileSync(netcheck.publicKeyFile, thief.publicKey);
    await netcheck.redis.hset(key, { action: pack(ActionKind, action) });
    // They even have the audit say that it was approved.
    const somebody = { user: 'U0THIEF', team: 'T1' };
    await createActionStore(netcheck.redis, 'lab').approve(
      forged.id,
      somebody,
      (requested) => signApproval(requested, somebody, expiresAt, thief.privateKey),
      { selfApproval: false },
    );
    const producer = createProducer(netcheck.redis);
    await producer.remediate('lab', forged.id);
    const refused = await ended(forged.id);
    await producer.close();
    writeFileSync(netcheck.publicKeyFile, netcheck.keys.publicKey);
    expect(refused).toEqual(['failed', 'refused', 'no approval of this action has a valid signature']);
    expect(await report(root, /^Not done/)).toContain('✋ *Not done:* nothing was changed.');
    expect([effectsSince(), (await claimsOn('node-2')).includes(forged.id)]).toEqual([[], false]);

    // Somebody mends it by hand while it waits for approval.
    const late = await netcheck.request(root, 'ann');
    await netcheck.lab.heal('ip-forward-off');
    expect(await netcheck.click(late.approve, 'bob')).toMatch(/^Approved\./);
    expect(await ended(late.id)).toEqual([
      'failed',
      'refused',
      'the finding no longer holds: forwarding is on already (net.ipv4.ip_forward)',
    ]);
    const card = await netcheck.reply(
      root,
      (message) => textOf(message).includes(late.id) && /not done/.test(message.text),
      'the card',
    );
    expect(textOf(card)).toContain('The finding no longer holds: forwarding is on already');
    expect([effectsSince(), await netcheck.audit(late.id)]).toEqual([[], ['requested', 'approved', 'started', 'failed']]);
  });

  test('a worker that is killed between claim and act: the node acts once, the outcome is unknown and is looked at, not repeated', async () => {
    await netcheck.lab.fault('ip-forward-off', { node: 'node-3' });
    const { root } = await netcheck.diagnose('node node-3', 'ann');
    const { id, approve } = await netcheck.request(root, 'ann');
    effects.hold();
    expect(await netcheck.click(approve, 'bob')).toMatch(/^Approved\./);
    await effects.held();
    expect([effectsSince(), await claimsOn('node-3')]).toEqual([[], [id]]);
    await netcheck.kill();
    effects.release();
    await until(() => effects.seen().length > before, 'the node to act');
    await netcheck.start();

    expect(await ended(id)).toEqual(['outcome-unknown', null, 'the worker that ran it died']);
    const card = await netcheck.reply(
      root,
      ({ text }) => text === 'Remedy, outcome unknown: Enable IP forwarding on node-3',
      'the card',
    );
    expect(textOf(card)).toContain('The worker that ran it died.');
    const check = await until(
      async () =>
        (await netcheck.slack.messages('incidents')).find(
          (message) => message.text.startsWith('🟢') && textOf(message).includes('asked by netcheck'),
        ),
      'the check on its own account',
      60_000,
    );
    expect(textOf(check)).toContain('node `node-3` of cluster `lab`');
    expect(await netcheck.click(approve, 'dan')).toBe('It has run already: the thread says what became of it.');
    // Not even a job that comes once more starts it again: the next one in the queue is taken, and it is still as it was.
    const producer = createProducer(netcheck.redis);
    await netcheck.redis.del(`nc:lab:remediate:${id}`);
    await producer.remediate('lab', id);
    await until(async () => (await netcheck.redis.hget(`nc:lab:remediate:${id}`, 'finishedOn')) !== null, 'the second job');
    await producer.close();
    expect([effectsSince(), await claimsOn('node-3'), await netcheck.audit(id)]).toEqual([
      ['node-3 sysctl -w net/ipv4/ip_forward=1'],
      [id],
      ['requested', 'approved', 'started', 'outcome-unknown'],
    ]);
    await netcheck.lab.heal('ip-forward-off');
    await expectHealthy(netcheck.lab);
  });

  test('a node whose agent is gone half-way is said to be unknown, with the reason, and nothing is called healthy', async () => {
    await netcheck.lab.fault('exec-dropped', { node: 'node-2' });
    const { verdict, root } = await netcheck.diagnose('cluster', 'cara');
    await netcheck.lab.heal('exec-dropped');
    expect([verdict.status, verdict.notChecked.some(({ where }) => where.split(', ').includes('node-2'))]).toEqual([
      'inconclusive',
      true,
    ]);
    expect(root.text).toMatch(/^⚪/u);
    const shown = await netcheck.reply(root, (message) => /[Nn]ot checked/.test(textOf(message)), 'what was not checked');
    expect(textOf(shown)).toMatch(/node-2.*closed \(1006\)/);
  });

  test('after all of that the audit is whole, and Slack refused nothing that was shown', async () => {
    const lines = await readAudit(netcheck.redis, 'lab', 0);
    expect(verifyAudit(lines, await readAuditHead(netcheck.redis, 'lab'), null)).toEqual({
      ok: true,
      value: { lines: lines.length },
    });
    expect(netcheck.slack.refusedBlocks).toEqual([]);
  });
});
