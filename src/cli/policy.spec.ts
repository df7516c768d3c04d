import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runNetcheck } from '../../test/netcheck.ts';
import { FileConfig } from '../config.ts';
import { explain } from './policy.ts';

const setIpForward = { id: 'set-ip-forward', riskClass: 'medium' as const };
const NOW = Date.parse('2026-11-21T12:00:00Z');
const MEMBER =
  'whether U0000000A is a full member: guests, bots, deactivated users and people of other workspaces and organisations are refused, whatever any list says';
const CHANNEL =
  'in which channel: netcheck has to be in it, and it must not be shared with other organisations unless it is listed under slack.externallySharedChannels';

function said(access: object, action: 'diagnose' | 'request' | 'approve' | 'break-glass', more: object = {}) {
  const file = FileConfig.parse({
    clusters: { prod: { channels: ['C0000000A'] } },
    remedies: { enabled: true },
    access,
    ...more,
  });
  const asked = {
    user: 'U0000000A',
    action,
    cluster: 'prod',
    channel: null,
    remedy: action === 'diagnose' ? null : setIpForward,
  };
  const { answer, why, also, unknown } = explain({ ...file, slack: null }, asked, NOW);
  return { answer, why, also, unknown: unknown.filter((sentence) => sentence !== MEMBER && sentence !== CHANNEL) };
}

const ONE = ['it runs after 1 approval (access.approvals)', 'whoever requested it may not approve it (access.selfApproval)'];
const A = { users: ['U0000000A'] };
const everyDay = { zone: 'UTC' };
const hours = 'quiet hours, every day 00:00–24:00 UTC (access.quiet), until 2026-11-30T00:00:00.000Z';

test.each([
  [
    'a member diagnoses',
    {},
    'diagnose',
    { answer: 'allowed', why: ['access.diagnose is "members": every full member of the workspace'], also: [], unknown: [] },
  ],
  [
    'an empty list',
    { diagnose: {} },
    'diagnose',
    { answer: 'refused', why: ['access.diagnose is empty: nobody may'], also: [], unknown: [] },
  ],
  [
    'an approver',
    { approve: A },
    'approve',
    { answer: 'allowed', why: ['access.approve.users lists U0000000A'], also: ONE, unknown: [] },
  ],
  [
    'somebody else',
    { approve: { users: ['U0000000B'] } },
    'approve',
    { answer: 'refused', why: ['access.approve does not list U0000000A'], also: [], unknown: [] },
  ],
  [
    'a group',
    { approve: { groups: ['S0000000A', 'S0000000B'] } },
    'approve',
    {
      answer: 'depends',
      why: [],
      also: ONE,
      unknown: ['whether U0000000A is in S0000000A or S0000000B: access.approve.groups lists them'],
    },
  ],
  [
    'a rule',
    {
      approve: A,
      rules: [
        { risk: ['medium'], approvals: 2 },
        { remedies: ['set-ip-forward'], approve: { users: ['U0000000B', 'U0000000C'] } },
      ],
    },
    'approve',
    { answer: 'refused', why: ['access.rules.1.approve does not list U0000000A'], also: [], unknown: [] },
  ],
  [
    'a rule about channels, without a channel',
    { approve: A, rules: [{ channels: ['C0000000A'], approve: {} }] },
    'approve',
    {
      answer: 'allowed',
      why: ['access.approve.users lists U0000000A'],
      also: ONE,
      unknown: ['what access.rules.0 would say, being about channels: give --channel'],
    },
  ],
  [
    'what nobody could approve',
    {},
    'request',
    { answer: 'refused', why: ['nobody could approve it: access.approve is empty'], also: [], unknown: [] },
  ],
  [
    'quiet hours',
    { approve: A, quiet: [everyDay] },
    'request',
    { answer: 'refused', why: [`these are ${hours}`], also: [], unknown: [] },
  ],
  [
    'approving in quiet hours, where the glass can be broken',
    { approve: A, quiet: [everyDay], breakGlass: { enabled: true, people: A } },
    'approve',
    { answer: 'refused', why: [`these are ${hours}: only breaking the glass approves it`], also: [], unknown: [] },
  ],
  [
    'breaking the glass',
    { approve: A, quiet: [everyDay], breakGlass: { enabled: true, people: A } },
    'break-glass',
    {
      answer: 'allowed',
      why: ['access.approve.users lists U0000000A', 'access.breakGlass.people.users lists U0000000A'],
      also: [
        `these are ${hours}: only breaking the glass approves it`,
        ...ONE,
        'it takes a typed reason, is told to the whole channel, and is only for quiet hours and for what needs more approvals',
      ],
      unknown: [],
    },
  ],
  [
    'breaking the glass where that is off',
    { approve: A },
    'break-glass',
    { answer: 'refused', why: ['the glass cannot be broken: access.breakGlass.enabled is false'], also: [], unknown: [] },
  ],
] as const)('policy is explained: %s', (_, access, action, expected) => {
  expect(said(access, action)).toEqual(expected);
});

test('remedies that are off, and a channel that does not ask about the cluster', () => {
  expect(said({ approve: A }, 'approve', { remedies: {} }).why).toEqual(['remedies are switched off: remedies.enabled is false']);
  const file = FileConfig.parse({ clusters: { prod: { channels: ['C0000000A'] } } });
  const asked = { user: 'U0000000A', action: 'diagnose' as const, cluster: 'prod', channel: 'C0000000B', remedy: null };
  expect(explain({ ...file, slack: null }, asked, NOW)).toMatchObject({
    answer: 'refused',
    why: ['C0000000B does not ask about prod: clusters.prod.channels lists C0000000A'],
  });
});

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'netcheck-policy-'));
  file = join(folder, 'netcheck.yaml');
  writeFileSync(
    file,
    `clusters: { prod: {} }
remedies: { enabled: true, publicKeyFile: a, auditFile: b }
access:
  approve: { users: [U0000000A] }
  rules:
    - { remedies: [set-ip-forward], approve: { groups: [S0000000A] }, approvals: 2 }
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

const ask = (...argv: string[]) => runNetcheck(['policy', 'explain', '--config', file, '--user', 'U0000000A', ...argv]);

test('on the command line it needs neither Slack nor secrets, and its exit status is the answer', async () => {
  expect(await ask('--action', 'approve', '--remedy', 'flush-neighbour', '--channel', 'C0000000A')).toEqual({
    status: 0,
    stderr: '',
    stdout: `ALLOWED  U0000000A approve flush-neighbour (low) on prod in C0000000A
  because    access.approve.users lists U0000000A
  and        it runs after 1 approval (access.approvals)
  and        whoever requested it may not approve it (access.selfApproval)
  not known  ${MEMBER}
  not known  whether netcheck is in C0000000A, and whether that is shared with other organisations, which has to be allowed under slack.externallySharedChannels
`,
  });
  const all = await ask('--action', 'approve');
  expect([
    all.status,
    all.stdout
      .split('\n')
      .filter((line) => /^[A-Z]/.test(line))
      .map((line) => line.slice(0, 7))
      .sort(),
  ]).toEqual([2, ['ALLOWED', 'DEPENDS']]);
  expect((await ask('--action', 'break-glass')).status).toBe(1);
});

test.each([
  [['--action', 'aprove'], 'netcheck: --action aprove: there is no such action. Did you mean approve?\n'],
  [
    ['--action', 'approve', '--remedy', 'flush'],
    'netcheck: --remedy flush: there is no such remedy. Did you mean flush-neighbour?\n',
  ],
  [[], 'netcheck: policy explain needs --user and --action, such as: --user U0123456789 --action approve\n'],
  [
    ['--action', 'approve', '--channel', '#incidents'],
    'netcheck: --channel #incidents: has to be a channel id such as "C0123456789" (not a name: open the channel\'s details)\n',
  ],
  [
    ['--action', 'approve', '--cluster', 'prd'],
    'netcheck: --cluster prd: the configuration has no such cluster. Did you mean prod?\n',
  ],
])('what was asked wrongly is said: %j', async (argv, stderr) => {
  expect(await ask(...argv)).toEqual({ status: 3, stdout: '', stderr });
});
