import { expect, test } from 'vitest';
import { approved, makeAction, makeApprovalKeys } from '../../test/action.ts';
import { Access } from '../access.ts';
import type { Action } from '../model/remedy.ts';
import type { ActionRecord } from '../model/wire/action.ts';
import { verifyApproval } from './approval.ts';

const NOW = 1_000_000;
const keys = makeApprovalKeys();
const second = { user: 'U3', team: 'T1' };
const requester = { user: 'U1', team: 'T1' };
const APPROVAL = approved(makeAction(), keys).approvals;

function verdictOn(action: Action, access: object = {}) {
  const record = { action, channel: 'C1', state: 'approved' } as ActionRecord;
  const read = verifyApproval(record, { cluster: 'lab', publicKey: keys.publicKey, now: NOW, access: Access.parse(access) });
  return read.ok ? 'runs' : read.error;
}

const two = makeAction({ approvalsNeeded: 2 });
const glassOn = { breakGlass: { enabled: true, people: { users: ['U0000000A'] } } };

test.each([
  ['one where one is needed', approved(makeAction(), keys), {}, 'runs'],
  ['none', makeAction(), {}, 'it carries no approval'],
  ['one of two', approved(two, keys), {}, 'it has 1 of the 2 approvals that it needs'],
  ['two of two', approved(approved(two, keys), keys, NOW, second), {}, 'runs'],
  ['the same one twice', approved(approved(two, keys), keys, NOW + 1), {}, 'it has 1 of the 2 approvals that it needs'],
  [
    'two, one of them forged',
    approved(approved(two, keys), makeApprovalKeys(), NOW, second),
    {},
    "its approval does not bear the bot's signature",
  ],
  ['two, one of them expired', approved(approved(two, keys), keys, NOW - 1, second), {}, 'its approval has expired'],
  [
    'two, one of them of the requester',
    approved(approved(two, keys), keys, NOW, requester),
    {},
    'it was approved by whoever requested it',
  ],
  ['the same where that is allowed', approved(approved(two, keys), keys, NOW, requester), { selfApproval: true }, 'runs'],
  [
    'one, where policy asks for two by now',
    approved(makeAction(), keys),
    { approvals: 2 },
    'it has 1 of the 2 approvals that it needs',
  ],
  [
    'one, where a rule asks for two for its risk',
    approved(makeAction(), keys),
    { rules: [{ risk: ['medium'], approvals: 2 }] },
    'it has 1 of the 2 approvals that it needs',
  ],
  ['one, where that rule is about others', approved(makeAction(), keys), { rules: [{ risk: ['high'], approvals: 2 }] }, 'runs'],
  ['one that broke the glass', approved(two, keys, NOW, second, 'now'), glassOn, 'runs'],
  [
    'the same where that is off',
    approved(two, keys, NOW, second, 'now'),
    {},
    'the glass was broken for it, and `access.breakGlass` is off',
  ],
  [
    'a broken glass of the requester',
    approved(two, keys, NOW, requester, 'now'),
    glassOn,
    'it was approved by whoever requested it',
  ],
  [
    'a broken glass that was not signed',
    { ...two, approvals: APPROVAL.map((one) => ({ ...one, digest: two.digest, breakGlass: 'now' })) },
    glassOn,
    "its approval does not bear the bot's signature",
  ],
  [
    'a risk that the remedy has not',
    approved(makeAction({ riskClass: 'low' }), keys),
    {},
    'it was approved as low risk, which set-ip-forward is not',
  ],
  ['another action', { ...makeAction({ id: 'a2' }), approvals: APPROVAL }, {}, 'its approval is for another action'],
  ['another cluster', approved(makeAction({ cluster: 'prod' }), keys), {}, 'it was approved for another cluster'],
  ['something else', { ...approved(makeAction(), keys), params: {} }, {}, 'it is not what was approved'],
] as const)('what a worker says of the approvals of an action: %s', (_, action, access, expected) => {
  expect(verdictOn(action, access)).toBe(expected);
});
