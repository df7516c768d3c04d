import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { type Access, riskClassOf } from '../access.ts';
import { type Action, type Approval, approvalBytes, digestOf, neededOf, type Person } from '../model/remedy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import type { ActionRecord } from '../model/wire/action.ts';
import { policyFor } from '../policy.ts';

/**
 * Signs an approver's consent to exactly this action. `privateKey` is an Ed25519 key as PEM; `expiresAt` in ms;
 * `breakGlass` the reason of whoever breaks the glass.
 */
export function signApproval(
  action: Action,
  by: Person,
  expiresAt: number,
  privateKey: string,
  breakGlass: string | null = null,
): Approval {
  const consent = {
    action: action.id,
    cluster: action.cluster,
    digest: action.digest,
    by,
    expiresAt,
    ...(breakGlass === null ? {} : { breakGlass }),
  };
  return { ...consent, signature: sign(null, approvalBytes(consent), createPrivateKey(privateKey)).toString('base64') };
}

/**
 * Checks that an action, as it is stored now, is what enough people approved, by what it says itself and by what policy
 * says now: nobody who can merely write into Redis gets a remedy to run. `publicKey` is PEM; `now` is milliseconds on
 * Redis's clock. Fails with the reason.
 */
export function verifyApproval(
  record: ActionRecord,
  expected: { readonly cluster: string; readonly publicKey: string; readonly now: number; readonly access: Access },
): Result<readonly Approval[], string> {
  const { action, channel } = record;
  const { access, cluster, now } = expected;
  if (action.approvals.length === 0) return fail('it carries no approval');
  if (action.cluster !== cluster) return fail('it was approved for another cluster');
  if (digestOf(action) !== action.digest) return fail('it is not what was approved');
  if ((riskClassOf(action.remedy) ?? action.riskClass) !== action.riskClass)
    return fail(`it was approved as ${action.riskClass} risk, which ${action.remedy} is not`);
  const policy = policyFor(access, { cluster, channel, remedy: { id: action.remedy, riskClass: action.riskClass } });
  const key = createPublicKey(expected.publicKey);
  for (const approval of action.approvals) {
    const wrong = wrongWith(approval, action, key, now);
    if (wrong !== null) return fail(wrong);
    if (!policy.selfApproval.value && approval.by.user === action.requestedBy.user)
      return fail('it was approved by whoever requested it');
    if (approval.breakGlass !== undefined && !access.breakGlass.enabled)
      return fail('the glass was broken for it, and `access.breakGlass` is off');
  }
  const people = new Set(action.approvals.map(({ by }) => by.user)).size;
  const needed = neededOf({ approvalsNeeded: Math.max(action.approvalsNeeded, policy.approvals.value) }, action.approvals);
  return people >= needed ? ok(action.approvals) : fail(`it has ${people} of the ${needed} approvals that it needs`);
}

/** What is wrong with an approval of an action, or null. */
function wrongWith(approval: Approval, action: Action, key: KeyObject, now: number): string | null {
  if (approval.cluster !== action.cluster) return 'it was approved for another cluster';
  if (approval.action !== action.id) return 'its approval is for another action';
  if (approval.digest !== action.digest) return 'it is not what was approved';
  if (!verify(null, approvalBytes(approval), key, Buffer.from(approval.signature, 'base64')))
    return "its approval does not bear the bot's signature";
  return now > approval.expiresAt ? 'its approval has expired' : null;
}
