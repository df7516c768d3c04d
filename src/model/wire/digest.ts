import { z } from 'zod';
import { Digest, DigestDraft, DigestFacts, DigestRecord, TrendPoint } from '../digest.ts';
import { RunRequest, Status } from '../verdict.ts';
import { defineKind } from './kind.ts';

/** What was saved before pictures had a theme is drawn light, as it was. */
const light = <T>(value: T) => ({ ...value, theme: 'light' as const });
const noTheme = { theme: true } as const;

export const DigestDraftKind = defineKind({
  name: 'draft of a digest',
  version: 2,
  schema: DigestDraft,
  previous: { schema: DigestDraft.omit(noTheme), upgrade: light },
});
export const DigestKind = defineKind({
  name: 'digest',
  version: 2,
  schema: Digest,
  previous: { schema: Digest.omit(noTheme), upgrade: light },
});
export const DigestFactsKind = defineKind({ name: 'facts of a digest', version: 1, schema: DigestFacts });
export const DigestRecordKind = defineKind({
  name: 'record of a digest',
  version: 2,
  schema: DigestRecord,
  previous: { schema: DigestRecord.omit(noTheme), upgrade: light },
});
export const TrendPointKind = defineKind({ name: 'point of a trend', version: 1, schema: TrendPoint });

/** What the queue of digests carries: which one is due. The slot is when the job was to run. */
export const DigestJob = z.strictObject({ cluster: z.string(), digest: z.string() });
export type DigestJob = z.infer<typeof DigestJob>;
export const DigestJobKind = defineKind({ name: 'digest job', version: 1, schema: DigestJob });

/**
 * A run as the history tells of it, for longer than its verdict is kept. `at` is when it was accepted, in ms. `digest` is
 * the number of the digest that it was made for, and `posted` false when that had nothing to say. `status` is null without
 * a verdict; the headline then says why.
 */
export const HistoryEntry = z.strictObject({
  run: z.string(),
  at: z.int(),
  channel: z.string(),
  request: RunRequest,
  by: z.string().nullable(),
  digest: z.int().nullable(),
  late: z.boolean(),
  posted: z.boolean(),
  status: Status.nullable(),
  headline: z.string(),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;
export const HistoryEntryKind = defineKind({ name: 'entry of the history', version: 1, schema: HistoryEntry });
