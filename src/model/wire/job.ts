import { z } from 'zod';
import { defineKind } from './kind.ts';

/** The queues of a cluster. A worker may serve one of them, so that only some have the rights that remedies need. */
export const QUEUE_NAMES = ['diagnose', 'remediate'] as const;
export type QueueName = (typeof QUEUE_NAMES)[number];

/** What the diagnose queue carries: nothing but the run's id. All else is in the run's record. */
export const DiagnoseJob = z.strictObject({ run: z.string() });
export type DiagnoseJob = z.infer<typeof DiagnoseJob>;
export const DiagnoseJobKind = defineKind({ name: 'diagnose job', version: 1, schema: DiagnoseJob });

/** What the remediation queue carries: nothing but the action's id. */
export const RemediateJob = z.strictObject({ action: z.string() });
export type RemediateJob = z.infer<typeof RemediateJob>;
export const RemediateJobKind = defineKind({ name: 'remediation job', version: 1, schema: RemediateJob });
