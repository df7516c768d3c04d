import { createHash } from 'node:crypto';
import { z } from 'zod';
import { Citation } from './finding.ts';
import { How } from './probe.ts';

/** What a probe showed at one time. */
export const ProbeReading = z.strictObject({ how: How.nullable(), sent: z.int(), delivered: z.int() });
export type ProbeReading = z.infer<typeof ProbeReading>;

/** How much a remedy can break: what policy decides by. Each remedy's definition says its own. */
export const RiskClass = z.enum(['low', 'medium', 'high']);
export type RiskClass = z.infer<typeof RiskClass>;

/**
 * What a remedy would do about one finding, as its plan says it before anybody asked for it. `commands` are the exact
 * argument vectors, in order, as they will run on the target node, or the requests as they go to the Kubernetes API;
 * `onFailure` runs when one of them fails. `diff` shows what they change. `timeoutMs` is how long it may
 * take, where that is longer than usual.
 * `target.node` is null, and its uid empty, where a remedy changes the cluster as a whole. `undoes` is the action whose
 * prior state this plan brings back. `undo` says how the prior state is restored, or is
 * null where that is not possible, and then `irreversible` says why. `verification` lists the probes
 * that are sent again afterwards, with what they showed; none for a risk, of which the state that is read again tells.
 */
export const RemedyPlan = z.strictObject({
  remedy: z.string().min(1),
  title: z.string().min(1),
  target: z.strictObject({ node: z.string().min(1).nullable(), uid: z.string() }),
  params: z.record(z.string(), z.string()),
  commands: z.array(z.array(z.string()).min(1)).min(1),
  diff: z.string().optional(),
  onFailure: z.array(z.array(z.string()).min(1)).optional(),
  risk: z.string(),
  riskClass: RiskClass,
  irreversible: z.string().optional(),
  undo: z.string().nullable(),
  undoes: z.string().optional(),
  timeoutMs: z.int().optional(),
  finding: z.strictObject({ code: z.string(), summary: z.string(), evidence: z.array(Citation) }),
  verification: z.array(z.strictObject({ probe: z.string(), before: ProbeReading })),
});
export type RemedyPlan = z.infer<typeof RemedyPlan>;

/** A plan that a verdict offers. The button in Slack carries nothing but its id. */
export const RemedyProposal = RemedyPlan.extend({ id: z.string() });
export type RemedyProposal = z.infer<typeof RemedyProposal>;

/** A person in Slack. */
export const Person = z.strictObject({ user: z.string(), team: z.string() });
export type Person = z.infer<typeof Person>;

/**
 * An approver's consent, signed by the bot: Ed25519 over all its other fields. Times are milliseconds since the epoch on
 * Redis's clock; `signature` is base64. `breakGlass` is the reason of an approver who broke the glass: then theirs alone
 * is enough.
 */
export const Approval = z.strictObject({
  action: z.string(),
  cluster: z.string(),
  digest: z.string(),
  by: Person,
  expiresAt: z.int(),
  breakGlass: z.string().min(1).optional(),
  signature: z.string(),
});
export type Approval = z.infer<typeof Approval>;

/**
 * A remedy that somebody requested. `approvalsNeeded` is how many different people have to approve it, as policy said when
 * it was requested. Everything except `approvals` and `digest` is covered by the digest, which is what
 * gets approved: what was approved is what runs.
 */
export const Action = RemedyPlan.extend({
  schema: z.literal('netcheck.action/v1'),
  id: z.string(),
  run: z.string(),
  cluster: z.string(),
  requestedBy: Person,
  requestedAt: z.int(),
  approvalsNeeded: z.int().min(1),
  approvals: z.array(Approval),
  digest: z.string(),
});
export type Action = z.infer<typeof Action>;

/**
 * Where an action stands. `requested` → `approved` → `started` → `done` (it ran; the outcome says whether it healed),
 * `failed` (refused before anything was changed) or `outcome-unknown` (it may have run: verified, never repeated).
 * A request can also end as `denied`, `expired` or `superseded`; an approval that nobody started in time as `expired`.
 */
export const ActionState = z.enum([
  'requested',
  'approved',
  'started',
  'done',
  'failed',
  'outcome-unknown',
  'denied',
  'expired',
  'superseded',
]);
export type ActionState = z.infer<typeof ActionState>;

/**
 * How an action ended. `before` and `after` are the state that it was to change, as read on the node; `verified` the
 * probes that were run again. `undo` are the commands that bring the prior state back, in order; none where it cannot be
 * or nothing was changed. An action that undoes another ends as `undone`, once the state is exactly the one from before,
 * or as `not-undone`. `reason` is present unless the outcome is `healed` or `undone`. `states` is what a remedy that acts
 * through the API needs to be undone; a node keeps that itself.
 */
export const RemedyOutcome = z.strictObject({
  outcome: z.enum(['healed', 'not-healed', 'undone', 'not-undone', 'refused', 'outcome-unknown']),
  reason: z.string().nullable(),
  before: z.array(Citation),
  after: z.array(Citation),
  verified: z.array(
    z.strictObject({ probe: z.string(), sentence: z.string(), before: ProbeReading, after: ProbeReading.nullable() }),
  ),
  undo: z.array(z.array(z.string())),
  states: z.strictObject({ prior: z.json(), after: z.json() }).optional(),
});
export type RemedyOutcome = z.infer<typeof RemedyOutcome>;

/** JSON with the keys of every object in order, so that equal values have equal text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const fields = Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`);
    return `{${fields.join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/** The SHA-256, in hexadecimal, over what an approval is given for: the action without its approvals and its digest. */
export function digestOf(action: Omit<Action, 'digest' | 'approvals'>): string {
  const { ...content }: Record<string, unknown> = action;
  delete content['digest'];
  delete content['approvals'];
  return createHash('sha256').update(canonicalJson(content)).digest('hex');
}

/** The bytes that an approval's signature covers. */
export function approvalBytes(approval: Omit<Approval, 'signature'>): Uint8Array {
  const { action, cluster, digest, by, expiresAt, breakGlass } = approval;
  return new TextEncoder().encode(canonicalJson({ v: 1, action, cluster, digest, by, expiresAt, breakGlass }));
}

/** How many different people have to have approved an action with these approvals: one who breaks the glass is enough. */
export function neededOf({ approvalsNeeded }: Pick<Action, 'approvalsNeeded'>, approvals: readonly Approval[]): number {
  return approvals.some(({ breakGlass }) => breakGlass !== undefined) ? 1 : approvalsNeeded;
}
