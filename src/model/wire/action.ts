import { z } from 'zod';
import { Action, ActionState, Approval, Person, RemedyOutcome } from '../remedy.ts';
import { defineKind } from './kind.ts';

/**
 * Version 1 knew neither risk classes nor how many have to approve. What was approved then was something else: it does not
 * run any more, as its digest says.
 */
export const ActionKind = defineKind({
  name: 'action',
  version: 2,
  schema: Action,
  previous: {
    schema: Action.omit({ riskClass: true, approvalsNeeded: true }),
    upgrade: (action) => ({ ...action, riskClass: 'high' as const, approvalsNeeded: 1 }),
  },
});
/** Version 1 was a single approval. */
export const ApprovalsKind = defineKind({
  name: 'approvals',
  version: 2,
  schema: z.array(Approval),
  previous: { schema: Approval, upgrade: (approval) => [approval] },
});
export const OutcomeKind = defineKind({ name: 'remedy outcome', version: 1, schema: RemedyOutcome });

/**
 * An action as the store returns it. Times are milliseconds since the epoch on Redis's clock; `revision` grows with
 * every change of state; `closedBy` is who denied it.
 */
export type ActionRecord = {
  readonly action: Action;
  readonly channel: string;
  readonly state: ActionState;
  readonly revision: number;
  readonly approveBy: number;
  readonly startBy: number | null;
  readonly startedAt: number | null;
  readonly closedAt: number | null;
  readonly closedBy: string | null;
  readonly reason: string | null;
  readonly outcome: RemedyOutcome | null;
};

/** States that an action never leaves. */
export function isClosed(state: ActionState): boolean {
  return state !== 'requested' && state !== 'approved' && state !== 'started';
}

/** What a line of the audit is about: a change of state, or an approval after which more are needed. */
export const AuditEvent = z.enum([...ActionState.options, 'approval']);
export type AuditEvent = z.infer<typeof AuditEvent>;

/**
 * One line of the audit. `hash` is the SHA-256 over the canonical JSON of all other fields; `previous` the hash of the
 * line before ('' for the first); `seq` counts from 1. `at` is milliseconds since the epoch on Redis's clock.
 */
export const AuditEntry = z.strictObject({
  schema: z.literal('netcheck.audit/v1'),
  seq: z.int(),
  at: z.int(),
  cluster: z.string(),
  event: AuditEvent,
  action: z.string(),
  digest: z.string(),
  run: z.string(),
  actor: Person.nullable(),
  detail: z.record(z.string(), z.string()),
  previous: z.string(),
  hash: z.string(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;
