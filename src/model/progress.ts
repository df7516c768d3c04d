import { z } from 'zod';
import { LAYERS } from './layer.ts';
import { LayerState } from './verdict.ts';

/** What a run is doing. */
export const Phase = z.enum(['inventory', 'starting', 'sweep', 'focus', 'judging']);
export type Phase = z.infer<typeof Phase>;

/** How far a run is: only ever the latest matters. A layer that is absent has not been looked at yet. */
export const Progress = z.strictObject({
  phase: Phase,
  nodesReady: z.int(),
  nodesTotal: z.int(),
  layers: z.partialRecord(z.enum(LAYERS), z.enum(['checking', ...LayerState.options])),
});
export type Progress = z.infer<typeof Progress>;
