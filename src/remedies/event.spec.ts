import { expect, test } from 'vitest';
import { approved, makeAction, makeApprovalKeys } from '../../test/action.ts';
import type { RemedyOutcome } from '../model/remedy.ts';
import { eventOf } from './event.ts';

const action = approved(makeAction(), makeApprovalKeys());
const outcome = (kind: RemedyOutcome['outcome'], reason: string | null): RemedyOutcome => ({
  outcome: kind,
  reason,
  before: [],
  after: [],
  verified: [],
  undo: [],
});

test('an Event says on the node which remedy ended how, who wanted it, and which line of the audit it is', () => {
  expect(eventOf(action, outcome('healed', null))).toEqual({
    name: 'netcheck.a1234567890',
    node: { name: 'node-2', uid: 'uid-node-2' },
    isGood: true,
    reason: 'RemedyHealed',
    message: `netcheck set-ip-forward (action a1234567890 of run r1234567890), requested by U1, approved by U2, digest ${action.digest.slice(0, 12)}: it ran, and what was found is mended`,
  });
});

test.each([
  ['not-healed', 'RemedyNotHealed', false],
  ['undone', 'RemedyUndone', true],
  ['not-undone', 'RemedyNotUndone', false],
  ['refused', 'RemedyRefused', false],
  ['outcome-unknown', 'RemedyOutcomeUnknown', false],
] as const)('%s is %s', (kind, reason, isGood) => {
  expect(eventOf(action, outcome(kind, 'because'))).toMatchObject({
    reason,
    isGood,
    message: expect.stringMatching(/: because$/),
  });
});

test('what a node said is one line of at most a thousand characters; an action for the whole cluster is about no node', () => {
  const event = eventOf(
    { ...action, target: { node: null, uid: '' } },
    outcome('refused', `two\nlines\u001b[2J${'x'.repeat(2_000)}`),
  );
  expect([event.node, event.message.length <= 1_000, event.message.includes('two lines[2Jxxx')]).toEqual([null, true, true]);
});
