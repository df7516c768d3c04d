import { z } from 'zod';
import { Citation } from '../finding.ts';
import { Action } from '../remedy.ts';

/** Worker → remedy agent, one frame: the approved action, for the cluster that the worker serves. */
export const RemedyOrder = z.strictObject({ cluster: z.string(), action: Action });
export type RemedyOrder = z.infer<typeof RemedyOrder>;

/**
 * Remedy agent → worker. `ready` comes first, `refused` means that nothing was changed; from `claimed` on, an end without `done` leaves the
 * outcome unknown. `holds` says whether the finding still holds in the state after the act, where that state shows it;
 * `restored`, of an action that undoes another, whether the state is exactly the one from before.
 */
export const RemedyReport = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('ready'), node: z.string() }),
  z.strictObject({ type: z.literal('refused'), reason: z.string(), before: z.array(Citation) }),
  z.strictObject({ type: z.literal('claimed') }),
  z.strictObject({ type: z.literal('acting'), before: z.array(Citation) }),
  z.strictObject({
    type: z.literal('done'),
    before: z.array(Citation),
    after: z.array(Citation),
    error: z.string().nullable(),
    undo: z.array(z.array(z.string())),
    holds: z.boolean().optional(),
    restored: z.boolean().optional(),
  }),
]);
export type RemedyReport = z.infer<typeof RemedyReport>;
