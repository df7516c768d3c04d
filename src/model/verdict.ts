import { z } from 'zod';
import { Entity } from './entity.ts';
import { Citation, RemedyOffer, Severity } from './finding.ts';
import { LAYERS, Layer } from './layer.ts';
import { Mesh } from './mesh.ts';
import { How } from './probe.ts';

/** What a run was asked. */
export const RunRequest = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('cluster') }),
  z.strictObject({ kind: z.literal('node'), node: z.string() }),
  z.strictObject({ kind: z.literal('pod'), namespace: z.string(), pod: z.string() }),
]);
export type RunRequest = z.infer<typeof RunRequest>;

/** A request in the words that it is asked in, after `/netcheck` or `netcheck run`: `cluster`, `node NAME`, `pod NAMESPACE/NAME`. */
export function requestWords(request: RunRequest): string {
  switch (request.kind) {
    case 'cluster':
      return 'cluster';
    case 'node':
      return `node ${request.node}`;
    case 'pod':
      return `pod ${request.namespace}/${request.pod}`;
  }
}

/** `failed`: some class of packet between some pair fails completely; `degraded`: it works with loss or lost redundancy. */
export const Status = z.enum(['healthy', 'degraded', 'failed', 'inconclusive']);
export type Status = z.infer<typeof Status>;

/** Which way it fails, seen from the subject. Stated only where one-way evidence was measured. */
export const Direction = z.enum(['outbound', 'inbound', 'both', 'undetermined']);
export type Direction = z.infer<typeof Direction>;

/** A finding as the verdict shows it. `explains` lists the ids of symptoms. */
export const VerdictFinding = z.strictObject({
  code: z.string(),
  check: z.string(),
  layer: Layer,
  entity: Entity,
  severity: Severity,
  summary: z.string(),
  advice: z.string().optional(),
  evidence: z.array(Citation),
  explains: z.array(z.string()),
  remedy: RemedyOffer.optional(),
  moreRemedies: z.array(RemedyOffer).min(1).optional(),
});
export type VerdictFinding = z.infer<typeof VerdictFinding>;

/** A fault that no finding explains: the stretch of network it is in, which packets, and what to do next. */
export const Located = z.strictObject({
  segment: z.string(),
  layer: Layer,
  class: z.string(),
  direction: Direction,
  lossPercent: z.number(),
  symptoms: z.array(z.string()),
  evidence: z.array(Citation),
  next: z.string(),
});
export type Located = z.infer<typeof Located>;

/** A probe that failed, or lost packets. */
export const Symptom = z.strictObject({
  id: z.string(),
  layer: Layer,
  subject: Entity,
  target: Entity,
  direction: Direction,
  result: z.strictObject({ how: How, sent: z.int(), delivered: z.int(), detail: z.string().optional() }),
  explainedBy: z.array(z.string()),
});
export type Symptom = z.infer<typeof Symptom>;

/** Something that was planned, or asked for, and for which there is no complete evidence. */
export const NotChecked = z.strictObject({ what: z.string(), where: z.string(), reason: z.string() });
export type NotChecked = z.infer<typeof NotChecked>;

/**
 * What was found out about the cluster: `value` as a sentence says it (`flannel vxlan (VNI 1, UDP 8472)`), `source` how it
 * is known.
 */
export const Detected = z.strictObject({
  what: z.enum(['network', 'proxy', 'runtime', 'domain', 'services', 'dns', 'versions']),
  value: z.string(),
  source: z.string(),
});
export type Detected = z.infer<typeof Detected>;

export const LayerState = z.enum(['ok', 'fail', 'unknown', 'not-checked']);
export type LayerState = z.infer<typeof LayerState>;

/**
 * The verdict of one run: the object that `--output json` prints and that every formatter gets. `alternatives` is
 * empty unless several smallest sets of causes explain the symptoms equally well; then it lists them, as indices into
 * `causes`. `checked` says how much evidence there was and, in percent, the steady loss on one path that it could have
 * missed. `mesh` is there for the whole cluster where anything was measured between its nodes. Durations are
 * milliseconds; times are ISO 8601 in UTC.
 * `detected` is what was found out about the cluster, absent from verdicts of earlier versions.
 */
export const Verdict = z.strictObject({
  schema: z.literal('netcheck.verdict/v1'),
  run: z.strictObject({
    id: z.string(),
    request: RunRequest,
    cluster: z.string(),
    startedAt: z.string(),
    durationMs: z.int(),
  }),
  status: Status,
  layer: Layer.nullable(),
  headline: z.string(),
  scope: z.strictObject({
    subjects: z.array(Entity),
    targets: z.array(Entity),
    direction: Direction,
    sentence: z.string(),
  }),
  causes: z.array(VerdictFinding),
  alternatives: z.array(z.array(z.int())),
  located: z.array(Located),
  symptoms: z.array(Symptom),
  risks: z.array(VerdictFinding),
  layers: z.record(z.enum(LAYERS), LayerState),
  checked: z.strictObject({
    nodes: z.int(),
    checks: z.int(),
    probes: z.int(),
    passed: z.int(),
    expectedDenied: z.int(),
    missedLossPercent: z.number().nullable(),
  }),
  notChecked: z.array(NotChecked),
  mesh: Mesh.optional(),
  detected: z.array(Detected).optional(),
});
export type Verdict = z.infer<typeof Verdict>;

/** The exit status of the command line for a verdict: healthy 0, failed or degraded 1, inconclusive 2. */
export function exitCodeOf(status: Status): 0 | 1 | 2 {
  if (status === 'healthy') return 0;
  return status === 'inconclusive' ? 2 : 1;
}
