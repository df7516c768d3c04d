import { z } from 'zod';
import { defineKind } from './kind.ts';

/** A message as Slack takes it: `text` is what notifications and screen readers get. */
export const SlackMessage = z.strictObject({ text: z.string(), blocks: z.array(z.unknown()) });
export type SlackMessage = z.infer<typeof SlackMessage>;

/**
 * One step of a run's messages. Steps of a run are sent in the order in which they were put in, each exactly once.
 *
 * `root` posts the run's one message in the channel, `reply` posts under it, `picture` draws the run's picture and posts that under it, `update` changes the message that the step
 * `of` posted; after a `final` one no progress is shown there any more. `again` repeats an update whose predecessor may
 * have been applied late; `tidy` deletes what a step may have posted twice since `since`, keeping `ts`. A step waits until
 * `notBefore`. Times are milliseconds on Redis's clock.
 */
export const OutboxEntry = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('root'), step: z.string(), message: SlackMessage }),
  z.strictObject({ op: z.literal('reply'), step: z.string(), message: SlackMessage }),
  z.strictObject({ op: z.literal('picture'), step: z.string() }),
  z.strictObject({ op: z.literal('update'), step: z.string(), of: z.string(), final: z.boolean(), message: SlackMessage }),
  z.strictObject({
    op: z.literal('again'),
    step: z.string(),
    of: z.string(),
    ts: z.string(),
    message: SlackMessage,
    notBefore: z.int(),
  }),
  z.strictObject({
    op: z.literal('tidy'),
    step: z.string(),
    of: z.string(),
    ts: z.string(),
    thread: z.string().nullable(),
    since: z.int(),
    notBefore: z.int(),
  }),
]);
export type OutboxEntry = z.infer<typeof OutboxEntry>;
export const OutboxEntryKind = defineKind({ name: 'outbox entry', version: 1, schema: OutboxEntry });
