import { generateKeyPairSync } from 'node:crypto';
import { signApproval } from '../src/jobs/approval.ts';
import { type Action, digestOf, type Person, type RemedyPlan } from '../src/model/remedy.ts';

/** Both halves, PEM, of a key that approvals are signed with. */
export type ApprovalKeys = { readonly privateKey: string; readonly publicKey: string };

/** Makes a key. */
export function makeApprovalKeys(): ApprovalKeys {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/** A plan as `propose` makes one for a node whose forwarding is off. */
export const PLAN: RemedyPlan = {
  remedy: 'set-ip-forward',
  title: 'Enable IP forwarding on node-2',
  target: { node: 'node-2', uid: 'uid-node-2' },
  params: { device: 'all' },
  commands: [['sysctl', '-w', 'net/ipv4/ip_forward=1']],
  risk: 'Every device forwards.',
  riskClass: 'medium',
  undo: 'Every device gets back the value that it had.',
  finding: { code: 'ip-forward-off', summary: 'net.ipv4.ip_forward is 0 on node-2', evidence: [] },
  verification: [{ probe: 'node-to-pod ping node-1 > default/web-2', before: { how: 'timeout', sent: 20, delivered: 0 } }],
};

/** A requested action, with the digest of what it is. */
export function makeAction(change: Partial<Omit<Action, 'digest' | 'approvals'>> = {}): Action {
  const content = {
    ...PLAN,
    schema: 'netcheck.action/v1' as const,
    id: 'a1234567890',
    run: 'r1234567890',
    cluster: 'lab',
    requestedBy: { user: 'U1', team: 'T1' },
    requestedAt: 1_000,
    approvalsNeeded: 1,
    ...change,
  };
  return { ...content, approvals: [], digest: digestOf(content) };
}

/**
 * The action with one more approval of somebody, signed as the bot signs it. `expiresAt` is milliseconds since the epoch.
 */
export function approved(
  action: Action,
  { privateKey }: Pick<ApprovalKeys, 'privateKey'>,
  expiresAt = Number.MAX_SAFE_INTEGER,
  by: Person = { user: 'U2', team: 'T1' },
  breakGlass: string | null = null,
): Action {
  return { ...action, approvals: [...action.approvals, signApproval(action, by, expiresAt, privateKey, breakGlass)] };
}
