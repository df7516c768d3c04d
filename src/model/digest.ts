import { z } from 'zod';
import { Layer } from './layer.ts';
import { ActionState, Person } from './remedy.ts';
import { Schedule } from './schedule.ts';
import { Status } from './verdict.ts';

/** The ground that a picture is drawn on: as light as Slack's own, or as dark. */
export const Theme = z.enum(['light', 'dark']);
export type Theme = z.infer<typeof Theme>;

/** What a digest is to be: when, where, whether it speaks only when something changed, and the theme of its pictures. */
export const DigestDraft = z.strictObject({
  id: z.string(),
  channel: z.string(),
  schedule: Schedule,
  onlyChanges: z.boolean(),
  theme: Theme,
  by: Person,
});
export type DigestDraft = z.infer<typeof DigestDraft>;

/**
 * A digest that somebody saved. Its id is `d` and its number, which is never given again in its cluster; `by` saved it.
 * `auditSeq` is the number of the audit's last line at that time: remedies that ran before are none of its business.
 * `savedAt` is milliseconds since the epoch on Redis's clock.
 */
export const Digest = DigestDraft.extend({ number: z.int(), savedAt: z.int(), auditSeq: z.int() });
export type Digest = z.infer<typeof Digest>;

/**
 * Something that a digest tells of, told apart from others by `key`: a fault with its cause, one without, a risk, or
 * something that could not be checked. `places` are the nodes where it would be seen again. `since` is when the first
 * digest with it began (ms); `unseen` is true while later ones could not look there.
 */
export const DigestIssue = z.strictObject({
  key: z.string(),
  kind: z.enum(['cause', 'located', 'risk', 'gap']),
  layer: Layer.nullable(),
  summary: z.string(),
  places: z.array(z.string()),
  since: z.int(),
  unseen: z.boolean(),
});
export type DigestIssue = z.infer<typeof DigestIssue>;

/** What the next digest is compared with. `cut` says that there was more than is kept. */
export const DigestFacts = z.strictObject({
  at: z.int(),
  run: z.string(),
  status: Status.nullable(),
  reason: z.string().nullable(),
  issues: z.array(DigestIssue),
  cut: z.boolean(),
  auditSeq: z.int(),
  p95Ms: z.number().nullable(),
});
export type DigestFacts = z.infer<typeof DigestFacts>;

/** What is different from the last digest. `open` were there before and still are; of `unseen` nothing is known now. */
export const DigestChanges = z.strictObject({
  fresh: z.array(DigestIssue),
  resolved: z.array(DigestIssue),
  open: z.array(DigestIssue),
  unseen: z.array(DigestIssue),
});
export type DigestChanges = z.infer<typeof DigestChanges>;

/** A remedy that ran since the last digest, or may have. */
export const DigestRemedy = z.strictObject({
  title: z.string(),
  state: ActionState,
  outcome: z.string().nullable(),
  requestedBy: z.string(),
  approvedBy: z.string().nullable(),
});
export type DigestRemedy = z.infer<typeof DigestRemedy>;

/**
 * A digest as it was made, all that its message is made of except the verdict. `slot` is when it was due, `at` when it
 * began, both in ms; `missed` slots before that one have no digest of their own. `askedBy` is who wanted one out of turn.
 * `status` is null without a verdict; `reason` says why. `previousAt` is when the one that it is compared with began.
 */
export const DigestRecord = z.strictObject({
  digest: z.string(),
  number: z.int(),
  run: z.string(),
  channel: z.string(),
  schedule: Schedule,
  onlyChanges: z.boolean(),
  theme: Theme,
  slot: z.int(),
  at: z.int(),
  missed: z.int(),
  askedBy: z.string().nullable(),
  status: Status.nullable(),
  reason: z.string().nullable(),
  previousAt: z.int().nullable(),
  changes: DigestChanges,
  remedies: z.array(DigestRemedy),
  changed: z.boolean(),
  picture: z.boolean(),
  posted: z.boolean(),
});
export type DigestRecord = z.infer<typeof DigestRecord>;

/** One digest in a row of many. `status` and the numbers are null where there was no verdict, or nothing was measured. */
export const TrendPoint = z.strictObject({
  at: z.int(),
  status: Status.nullable(),
  failed: z.int().nullable(),
  medianMs: z.number().nullable(),
  p95Ms: z.number().nullable(),
});
export type TrendPoint = z.infer<typeof TrendPoint>;
