import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readAudit, readAuditHead, verifyAudit } from '../../src/store/audit.ts';
import { buttonsOf, textOf } from '../slack.ts';
import { until } from '../until.ts';
import { createInstallation, type Effects, type Installation, watchEffects } from './installation.ts';

/*
 * `netcheck all` where policy asks for two approvals: the store, the worker and the node each count them, and the node's
 * commands tell what really ran.
 */

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('netcheck all where two have to approve', () => {
  let netcheck: Installation;
  let effects: Effects;

  beforeAll(async () => {
    netcheck = await createInstallation({
      nodes: 3,
      access: ({ user }) => ({
        rules: [{ clusters: ['lab'], risk: ['medium', 'high'], approvals: 2 }],
        breakGlass: { enabled: true, people: { users: [user('bob')] } },
      }),
    });
    effects = watchEffects(netcheck.lab);
  });

  afterAll(() => netcheck?.close());

  test('the first approval runs nothing, nobody counts twice, and the second one heals', async () => {
    await netcheck.lab.fault('ip-forward-off', { node: 'node-2' });
    const { root } = await netcheck.diagnose('cluster', 'ann');
    const { id, approve, text } = await netcheck.request(root, 'ann');
    expect(text).toContain('*Approvals:* 0 of 2, by different people.');
    expect(await netcheck.click(approve, 'ann')).toBe('You requested this remedy: somebody else has to approve it.');
    expect(await netcheck.click(approve, 'cara')).toMatch(/^You may not approve or deny a remedy/);
    expect(await netcheck.click(approve, 'bob')).toBe('Approved. It runs as soon as somebody else approves it, too.');
    expect(await netcheck.click(approve, 'bob')).toMatch(/^You have approved it already \(1 of 2\)/);
    await netcheck.reply(root, (message) => textOf(message).includes('*Approvals:* 1 of 2'), 'the card with one approval');
    expect([effects.seen(), await netcheck.audit(id)]).toEqual([[], ['requested', 'approval']]);

    expect(await netcheck.click(approve, 'dan')).toBe('Approved. It runs now; the thread says what became of it.');
    const { state, outcome, action } = await netcheck.closed(id);
    expect([state, outcome?.outcome, action.approvalsNeeded, new Set(action.approvals.map(({ by }) => by.user)).size]).toEqual([
      'done',
      'healed',
      2,
      2,
    ]);
    expect([effects.seen(), await netcheck.audit(id)]).toEqual([
      ['node-2 sysctl -w net/ipv4/ip_forward=1'],
      ['requested', 'approval', 'approved', 'started', 'done'],
    ]);
    await netcheck.lab.heal('ip-forward-off');
  });

  test('one who breaks the glass is enough, for worker and node as well, and the channel is told', async () => {
    await netcheck.lab.fault('ip-forward-off', { node: 'node-3' });
    const { root } = await netcheck.diagnose('node node-3', 'ann');
    const { id, approve } = await netcheck.request(root, 'ann');
    const card = await netcheck.reply(
      root,
      (message) => buttonsOf(message).some(({ value }) => value === approve.value),
      'the card',
    );
    const glass = buttonsOf(card).find(({ action_id }) => action_id === 'break-glass');
    if (glass === undefined) throw new Error('the card has no button to break the glass');
    expect(await netcheck.click(glass, 'dan')).toBe(
      'You may not break the glass: you are not listed in `access.breakGlass.people` of netcheck.yaml.',
    );
    await netcheck.submit(glass, 'the shop is down, nobody else is awake', 'bob');
    const { state, outcome } = await netcheck.closed(id);
    expect([state, outcome?.outcome, effects.seen().slice(1)]).toEqual([
      'done',
      'healed',
      ['node-3 sysctl -w net/ipv4/ip_forward=1'],
    ]);
    const told = await until(
      async () => (await netcheck.slack.messages('incidents')).find(({ text }) => text.startsWith('Break-glass')),
      'the message in the channel',
    );
    expect(textOf(told)).toContain('*Reason:* the shop is down, nobody else is awake');
    const lines = await readAudit(netcheck.redis, 'lab', 0);
    expect(
      lines.map((line) => JSON.parse(line)).find(({ action, event }) => action === id && event === 'approved').detail,
    ).toEqual({
      approvals: '1 of 2',
      breakGlass: 'yes',
      overrides: 'further approvals',
      reason: 'the shop is down, nobody else is awake',
    });
    expect(verifyAudit(lines, await readAuditHead(netcheck.redis, 'lab'), null)).toEqual({
      ok: true,
      value: { lines: lines.length },
    });
    expect(netcheck.slack.refusedBlocks).toEqual([]);
    await netcheck.lab.heal('ip-forward-off');
  });
});
