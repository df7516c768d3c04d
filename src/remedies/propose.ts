import type { Bundle } from '../model/bundle.ts';
import type { Citation } from '../model/finding.ts';
import { canonicalJson, type ProbeReading, type RemedyPlan } from '../model/remedy.ts';
import type { Verdict, VerdictFinding } from '../model/verdict.ts';
import { REMEDIES } from './index.ts';
import type { AnyRemedy } from './remedy.ts';

/** Probes that are run again after a remedy: all that the finding explains, or this many of them, evenly picked. */
const MAX_VERIFICATION = 120;

/**
 * What could be done about a verdict: a plan for each cause, then for each risk, that offers a remedy which exists. What is
 * told for information only (a rule that keeps out pings) is left as it is. What several findings offer alike is there once,
 * for the first of them. Pure.
 */
export function propose(verdict: Verdict, bundle: Bundle): readonly RemedyPlan[] {
  const risks = verdict.risks.filter(({ severity }) => severity !== 'info');
  const plans = [...verdict.causes, ...risks].flatMap((finding) => planOf(finding, verdict, bundle));
  const byAct = Map.groupBy(plans, ({ remedy, target, params }) => canonicalJson([remedy, target.node, params]));
  return [...byAct.values()].flatMap(([first]) => first ?? []);
}

function planOf(
  { code, summary, evidence, explains, remedy: offer }: VerdictFinding,
  verdict: Verdict,
  bundle: Bundle,
): readonly RemedyPlan[] {
  const remedy = offer === undefined ? undefined : REMEDIES[offer.id];
  if (offer === undefined || remedy === undefined) return [];
  const node = bundle.inventory.nodes.find(({ name }) => name === offer.node);
  if (node === undefined && offer.node !== null) return [];
  const params = remedy.params.safeParse(offer.params);
  if (!params.success) return [];
  return [
    {
      remedy: remedy.id,
      title: node === undefined ? remedy.title : `${remedy.title} on ${node.name}`,
      target: { node: offer.node, uid: node?.uid ?? '' },
      params: offer.params,
      commands: remedy.commands(params.data).map((argv) => [...argv]),
      ...(remedy.onFailure === undefined ? {} : { onFailure: remedy.onFailure(params.data).map((argv) => [...argv]) }),
      risk: riskOf(remedy, evidence),
      riskClass: remedy.riskClass,
      ...(remedy.irreversible === undefined ? {} : { irreversible: remedy.irreversible }),
      undo: remedy.undo,
      finding: { code, summary, evidence },
      verification: picked(repeatable(explains, bundle)).map((probe) => ({ probe, before: readingOf(probe, verdict) })),
    },
  ];
}

/** What can go wrong, and how long it lasts: a file that the finding cites sets the old value again. */
export function riskOf({ risk, isTransient }: Pick<AnyRemedy, 'risk' | 'isTransient'>, evidence: readonly Citation[]): string {
  if (isTransient !== true) return risk;
  const [file] = evidence.flatMap(({ source }) => /^(\/\S+):(\d+)$/.exec(source)?.slice(1).join(', line ') ?? []);
  const keep = file === undefined ? "set it where the node's configuration is kept as well" : `correct ${file}, as well`;
  return `${risk} It lasts until the next boot: ${keep}.`;
}

/** The probes of the first round behind these ids, which any later run sends in the same way. */
function repeatable(ids: readonly string[], { plan }: Bundle): readonly string[] {
  const probes = new Map(plan.probes.map((probe) => [probe.id, probe]));
  const originals = ids.map((id) => probes.get(id)?.repeats ?? id);
  return [...new Set(originals)].filter((id) => probes.get(id)?.round === 1);
}

/** What a probe showed in the run; of one that was measured again, the repetition. */
function readingOf(id: string, { symptoms }: Verdict): ProbeReading {
  const result = (symptoms.find((symptom) => symptom.id === id) ?? symptoms.find((symptom) => symptom.id.startsWith(`${id} x`)))
    ?.result;
  return { how: result?.how ?? null, sent: result?.sent ?? 0, delivered: result?.delivered ?? 0 };
}

function picked(ids: readonly string[]): string[] {
  if (ids.length <= MAX_VERIFICATION) return [...ids];
  return Array.from({ length: MAX_VERIFICATION }, (_, index) => ids[Math.floor((index * ids.length) / MAX_VERIFICATION)] ?? '');
}
