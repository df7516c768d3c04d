import { z } from 'zod';
import { NodeEvidence } from './evidence.ts';
import { Inventory } from './inventory.ts';
import { Probe } from './probe.ts';
import { NotChecked, RunRequest } from './verdict.ts';

/** What a run set out to do: every probe of every round, the nodes it concerns, and what was left out and why. */
export const Plan = z.strictObject({
  nodes: z.array(z.string()),
  checks: z.array(z.string()),
  probes: z.array(Probe),
  omitted: z.array(NotChecked),
});
export type Plan = z.infer<typeof Plan>;

/** Everything that a run collected. The verdict is a pure function of it. */
export const Bundle = z.strictObject({
  schema: z.literal('netcheck.bundle/v1'),
  version: z.string(),
  run: z.strictObject({
    id: z.string(),
    request: RunRequest,
    cluster: z.string(),
    startedAt: z.string(),
    durationMs: z.int(),
  }),
  inventory: Inventory,
  plan: Plan,
  evidence: z.array(NodeEvidence),
});
export type Bundle = z.infer<typeof Bundle>;
