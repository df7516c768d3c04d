import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { type Action, type Approval, approvalBytes, digestOf, type Person } from '../model/remedy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import type { ActionRecord } from '../model/wire/action.ts';

/** Signs an approver's consent to exactly this action. `privateKey` is an Ed25519 key as PEM; `expiresAt` in ms. */
export function signApproval(action: Action, by: Person, expiresAt: number, privateKey: string): Approval {
  const consent = { action: action.id, cluster: action.cluster, digest: action.digest, by, expiresAt };
  return { ...consent, signature: sign(null, approvalBytes(consent), createPrivateKey(privateKey)).toString('base64') };
}

/**
 * Checks that an action, as it is stored now, is what somebody entitled approved: nobody who can merely write into
 * Redis gets a remedy to run. `publicKey` is PEM; `now` is milliseconds on Redis's clock. Fails with the reason.
 */
export function verifyApproval(
  record: ActionRecord,
  expected: { readonly cluster: string; readonly publicKey: string; readonly now: number; readonly selfApproval: boolean },
): Result<Approval, string> {
  const { action, approval } = record;
  if (approval === null) return fail('it carries no approval');
  if (action.cluster !== expected.cluster || approval.cluster !== expected.cluster)
    return fail('it was approved for another cluster');
  if (approval.action !== action.id) return fail('its approval is for another action');
  if (digestOf(action) !== action.digest || approval.digest !== action.digest) return fail('it is not what was approved');
  const signature = Buffer.from(approval.signature, 'base64');
  if (!verify(null, approvalBytes(approval), createPublicKey(expected.publicKey), signature)) {
    return fail("its approval does not bear the bot's signature");
  }
  if (expected.now > approval.expiresAt) return fail('its approval has expired');
  if (!expected.selfApproval && approval.by.user === action.requestedBy.user)
    return fail('it was approved by whoever requested it');
  return ok(approval);
}
