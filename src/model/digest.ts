import { z } from 'zod';
import { Status } from './verdict.ts';

/** One digest in a row of many. `status` and the numbers are null where there was no verdict, or nothing was measured. */
export const TrendPoint = z.strictObject({
  at: z.int(),
  status: Status.nullable(),
  failed: z.int().nullable(),
  medianMs: z.number().nullable(),
  p95Ms: z.number().nullable(),
});
export type TrendPoint = z.infer<typeof TrendPoint>;
