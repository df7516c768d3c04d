import { z } from 'zod';
import { Progress } from '../progress.ts';
import { Person, RemedyProposal } from '../remedy.ts';
import { RunRequest, Verdict } from '../verdict.ts';
import { defineKind } from './kind.ts';

/**
 * What was accepted: who asked for what, and where the answer goes. `follows` is the action whose unknown outcome the
 * run is to verify, when netcheck itself asked. `digest` is the digest that the run is for: due at `slot` (ms), with so
 * many `missed` slots before it, or `asked` for out of turn.
 */
export const RunOrder = z.strictObject({
  id: z.string(),
  cluster: z.string(),
  request: RunRequest,
  requestedBy: Person,
  channel: z.string(),
  follows: z.string().nullable(),
  digest: z.strictObject({ id: z.string(), slot: z.int(), missed: z.int(), asked: z.boolean() }).nullable(),
});
export type RunOrder = z.infer<typeof RunOrder>;
/** Version 1 knew no digests. */
export const RunOrderKind = defineKind({
  name: 'run order',
  version: 2,
  schema: RunOrder,
  previous: { schema: RunOrder.omit({ digest: true }), upgrade: (order) => ({ ...order, digest: null }) },
});

/**
 * Where a run stands. `accepting` becomes `queued` once its job and its message are stored as well, or `withdrawn` when
 * that took too long and the user was told so. `running` may be entered again by another attempt. `finished` has a
 * verdict; `failed` and `cancelled` have a reason instead.
 */
export const RunStatus = z.enum(['accepting', 'withdrawn', 'queued', 'running', 'finished', 'failed', 'cancelled']);
export type RunStatus = z.infer<typeof RunStatus>;

/** Statuses that a run never leaves. */
export function isOver(status: RunStatus): boolean {
  return status === 'finished' || status === 'failed' || status === 'cancelled' || status === 'withdrawn';
}

/** A run as the store returns it. Times are milliseconds since the epoch on Redis's clock. */
export type Run = {
  readonly order: RunOrder;
  readonly status: RunStatus;
  readonly epoch: number;
  readonly worker: string | null;
  readonly acceptedAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly reason: string | null;
  readonly cancelledBy: string | null;
  /** What became of the run's messages: why they could not be shown, or null. */
  readonly deliveryFault: string | null;
};

/** Version 1 had no mesh. */
export const VerdictKind = defineKind({
  name: 'verdict',
  version: 2,
  schema: Verdict,
  previous: { schema: Verdict.omit({ mesh: true }), upgrade: (verdict) => verdict },
});
export const ProgressKind = defineKind({ name: 'progress', version: 1, schema: Progress });
/** Version 1 had no risk classes: its offers count as what asks for the most care. */
export const ProposalsKind = defineKind({
  name: 'remedy proposals',
  version: 2,
  schema: z.array(RemedyProposal),
  previous: {
    schema: z.array(RemedyProposal.omit({ riskClass: true })),
    upgrade: (proposals) => proposals.map((proposal) => ({ ...proposal, riskClass: 'high' as const })),
  },
});
