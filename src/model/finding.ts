import { z } from 'zod';
import { Entity } from './entity.ts';
import { HopPattern } from './hop.ts';
import { Layer } from './layer.ts';
import { PacketMatch } from './packet.ts';

/** A piece of evidence that a sentence rests on: where it was read, what was run or read there, and what it said. */
export const Citation = z.strictObject({ where: z.string(), source: z.string(), text: z.string() });
export type Citation = z.infer<typeof Citation>;

/**
 * A remedy that a finding can be mended by, with the parameters that name the exact thing. `node` is the one that it acts
 * on, null where it changes the cluster as a whole.
 */
export const RemedyOffer = z.strictObject({
  id: z.string(),
  node: z.string().nullable(),
  params: z.record(z.string(), z.string()),
});
export type RemedyOffer = z.infer<typeof RemedyOffer>;

export const Severity = z.enum(['critical', 'warning', 'info']);
export type Severity = z.infer<typeof Severity>;

/**
 * One thing wrong at one place. `code` is stable. `at` lists the hops where it acts and `harms` the packets that it
 * harms there (both empty for what harms no packet by itself). `partial` is true when only some of those packets are
 * lost, and `flows` when some connections are lost whole, with every packet of theirs, and others not at all. `certainty`
 * is `suspect` when the state that was read makes the harm possible but does not prove it, and `inferred` when it follows
 * from how the probes ended: it is told only where no state that was read explains them. `remedy` is the one to prefer,
 * `moreRemedies` are others.
 */
export const Finding = z.strictObject({
  code: z.string(),
  check: z.string(),
  layer: Layer,
  entity: Entity,
  severity: Severity,
  certainty: z.enum(['certain', 'suspect', 'inferred']),
  partial: z.union([z.boolean(), z.literal('flows')]),
  at: z.array(HopPattern),
  harms: z.array(PacketMatch),
  summary: z.string(),
  advice: z.string().optional(),
  evidence: z.array(Citation),
  remedy: RemedyOffer.optional(),
  moreRemedies: z.array(RemedyOffer).min(1).optional(),
});
export type Finding = z.infer<typeof Finding>;
