import { expect, test } from 'vitest';
import { Access } from './access.ts';
import { policyFor, quietAt, quietWords } from './policy.ts';

const access = (value: unknown): Access => Access.parse(value);
const high = { id: 'restart-flannel', riskClass: 'high' as const };
const low = { id: 'flush-neighbour', riskClass: 'low' as const };

test('without rules everything is as `access` says, and says so', () => {
  expect(policyFor(access({}), { cluster: 'prod', channel: 'C1', remedy: high })).toEqual({
    diagnose: { value: 'members', from: 'access.diagnose' },
    request: { value: 'members', from: 'access.request' },
    approve: { value: { users: [], groups: [] }, from: 'access.approve' },
    approvals: { value: 1, from: 'access.approvals' },
    selfApproval: { value: false, from: 'access.selfApproval' },
    quiet: { value: [], from: 'access.quiet' },
  });
});

test('each setting is decided by the first rule that is about the question and says something about it', () => {
  const configured = access({
    approve: { users: ['U0000000A'] },
    selfApproval: true,
    rules: [
      { risk: ['high'], approvals: 2, selfApproval: false },
      { clusters: ['prod'], approve: { users: ['U0000000B', 'U0000000C'] } },
      { clusters: ['prod', 'staging'], remedies: ['flush-neighbour'], approvals: 2 },
      { channels: ['C0000000X'], request: { users: [] } },
    ],
  });
  const decided = (cluster: string, channel: string | null, remedy: typeof high | typeof low | null) =>
    Object.values(policyFor(configured, { cluster, channel, remedy }))
      .map(({ from }) => from.replace('access.', ''))
      .filter((from) => from.startsWith('rules'));
  expect([
    decided('prod', 'C1', high),
    decided('prod', 'C0000000X', low),
    decided('staging', 'C1', low),
    decided('staging', 'C0000000X', high),
    // What is not known fits no rule that asks for it.
    decided('prod', null, null),
    decided('other', 'C1', low),
  ]).toEqual([
    ['rules.1.approve', 'rules.0.approvals', 'rules.0.selfApproval'],
    ['rules.3.request', 'rules.1.approve', 'rules.2.approvals'],
    ['rules.2.approvals'],
    ['rules.3.request', 'rules.0.approvals', 'rules.0.selfApproval'],
    ['rules.1.approve'],
    [],
  ]);
});

const at = (time: string): number => Date.parse(time);
const windows = (...list: object[]) => access({ quiet: list }).quiet;

test.each([
  ['on, the same day', { from: '09:00', to: '17:00', zone: 'UTC' }, '2026-11-20T16:59:59Z', '2026-11-20T17:00:00Z'],
  ['just before', { from: '09:00', to: '17:00', zone: 'UTC' }, '2026-11-20T08:59:59Z', null],
  ['just over', { from: '09:00', to: '17:00', zone: 'UTC' }, '2026-11-20T17:00:00Z', null],
  [
    'in the evening of one over night',
    { from: '22:00', to: '06:00', zone: 'Europe/Berlin' },
    '2026-11-20T21:00:00Z',
    '2026-11-21T05:00:00Z',
  ],
  ['in its morning', { from: '22:00', to: '06:00', zone: 'Europe/Berlin' }, '2026-11-21T04:59:00Z', '2026-11-21T05:00:00Z'],
  [
    'the morning after a day on which none begins',
    { days: ['fri'], from: '22:00', to: '06:00', zone: 'UTC' },
    '2026-11-20T05:00:00Z',
    null,
  ],
  [
    'the morning after the day on which it begins',
    { days: ['fri'], from: '22:00', to: '06:00', zone: 'UTC' },
    '2026-11-21T05:00:00Z',
    '2026-11-21T06:00:00Z',
  ],
  ['whole days', { days: ['sat', 'sun'], zone: 'UTC' }, '2026-11-21T12:00:00Z', '2026-11-23T00:00:00Z'],
  [
    'another day on the clocks of its zone',
    { days: ['sat'], zone: 'Asia/Tokyo' },
    '2026-11-20T15:00:00Z',
    '2026-11-21T15:00:00Z',
  ],
  [
    'when clocks go forward',
    { from: '22:00', to: '06:00', zone: 'Europe/Berlin' },
    '2026-03-28T22:00:00Z',
    '2026-03-29T04:00:00Z',
  ],
  ['when clocks go back', { from: '22:00', to: '06:00', zone: 'Europe/Berlin' }, '2026-10-24T22:00:00Z', '2026-10-25T05:00:00Z'],
] as const)('quiet hours: %s', (_, window, now, until) => {
  const list = windows(window);
  expect(quietAt(list, at(now))).toEqual(until === null ? null : { window: list[0], until: at(until) });
});

test('quiet hours that follow one another end with the last one; those without an end say so within days', () => {
  const night = { days: ['fri'], from: '18:00', zone: 'UTC' };
  const list = windows(night, { days: ['sat', 'sun'], zone: 'UTC' });
  expect(quietAt(list, at('2026-11-20T19:00:00Z'))).toEqual({ window: list[0], until: at('2026-11-23T00:00:00Z') });
  const always = quietAt(windows({ zone: 'UTC' }), at('2026-11-20T19:00:00Z'));
  expect((always?.until ?? 0) - at('2026-11-20T19:00:00Z')).toBeGreaterThan(7 * 86_400_000);
  expect(list.map(quietWords)).toEqual(['fri 18:00–24:00 UTC', 'sat, sun 00:00–24:00 UTC']);
});
