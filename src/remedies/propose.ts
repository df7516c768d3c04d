import type { Bundle } from '../model/bundle.ts';
import type { Citation, RemedyOffer } from '../model/finding.ts';
import { canonicalJson, type ProbeReading, type RemedyPlan } from '../model/remedy.ts';
import type { Verdict, VerdictFinding } from '../model/verdict.ts';
import { REMEDIES } from './index.ts';
import type { AnyRemedy } from './remedy.ts';

/** Probes that are run again after a remedy: all that the finding explains, or this many of them, evenly picked. */
const MAX_VERIFICATION = 120;

/** How long what goes from node to node may take, in milliseconds; as long as `WAIT` waits for each. */
const SLOW_MS = { start: 60_000, perNode: 100_000 };

/**
 * What could be done about a verdict: a plan for each remedy that exists, of those that causes offer, then of those that
 * risks do. What is told for information only (a rule that keeps out pings) is left as it is. What several findings offer
 * alike is there once, for the first of them, and verified by what all of them explain. Pure.
 */
export function propose(verdict: Verdict, bundle: Bundle): readonly RemedyPlan[] {
  const risks = verdict.risks.filter(({ severity }) => severity !== 'info');
  const offers = [...verdict.causes, ...risks].flatMap((finding) =>
    [finding.remedy, ...(finding.moreRemedies ?? [])].flatMap((offer) => (offer === undefined ? [] : [{ finding, offer }])),
  );
  const byAct = Map.groupBy(offers, ({ offer }) => canonicalJson(offer));
  return [...byAct.values()].flatMap((same) => {
    const [first] = same;
    const explains = [...new Set(same.flatMap(({ finding }) => finding.explains))];
    return first === undefined ? [] : planOf({ ...first.finding, explains }, first.offer, verdict, bundle);
  });
}

function planOf(
  { code, summary, evidence, explains }: VerdictFinding,
  offer: RemedyOffer,
  verdict: Verdict,
  bundle: Bundle,
): readonly RemedyPlan[] {
  const remedy = REMEDIES[offer.id];
  if (remedy === undefined) return [];
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
      ...(remedy.diff === undefined ? {} : { diff: remedy.diff(params.data) }),
      ...(remedy.onFailure === undefined ? {} : { onFailure: remedy.onFailure(params.data).map((argv) => [...argv]) }),
      risk: riskOf(remedy, evidence),
      riskClass: remedy.riskClass,
      ...(remedy.irreversible === undefined ? {} : { irreversible: remedy.irreversible }),
      undo: remedy.undo,
      ...(remedy.isSlow === true ? { timeoutMs: SLOW_MS.start + SLOW_MS.perNode * bundle.inventory.nodes.length } : {}),
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
