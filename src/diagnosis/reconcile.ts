import type { View } from '../dataplane/view.ts';
import { entityName } from '../model/entity.ts';
import type { Finding } from '../model/finding.ts';
import { FEW_PACKETS, isHalfAnswered, type Judged } from './classify.ts';
import { cheapestCovers } from './cover.ts';
import type { Evaluation } from './evaluate.ts';
import { createHarmsStep, type HarmsStep } from './explain.ts';
import { locate, type Segment, type Tracer } from './locate.ts';
import { targetSockets } from './trace.ts';

/** What the findings and the symptoms amount to. `alternatives` are indices into `causes`, see model/verdict.ts. */
export type Reconciled = {
  readonly symptoms: readonly Judged[];
  readonly causes: readonly { readonly finding: Finding; readonly explains: readonly Judged[] }[];
  readonly alternatives: readonly (readonly number[])[];
  readonly risks: readonly Finding[];
  readonly segments: readonly Segment[];
};

/** A suspicion is worth less than a certainty; one certain finding is preferred to any number of suspicions. */
const COST_OF_SUSPICION = 10;

/** What a probe that is not as it should be may mean. */
const SYMPTOMS: ReadonlySet<Judged['meaning']> = new Set(['fail', 'lossy', 'recovered', 'error']);

/**
 * Decides which findings are causes, which are risks, and where the failures are that no finding explains.
 *
 * A finding is a cause when it explains a symptom and no success contradicts it. What was read to be harmful for certain
 * is told even where another cause explains the same symptoms: mending only one of the two would not heal. Findings
 * that are suspect or inferred, or lose only some packets, are taken as far as they are needed, in the cheapest way. Pure.
 */
export function reconcile(
  { findings, acquitted }: Pick<Evaluation, 'findings' | 'acquitted'>,
  judged: readonly Judged[],
  view: View,
  trace: Tracer,
): Reconciled {
  const symptoms = judged.filter(({ meaning }) => SYMPTOMS.has(meaning));
  const witnesses = createWitnesses(judged, trace);
  const harmsStep = createHarmsStep();
  const candidates = findings.map((finding) => {
    const explained = explainedBy(finding, symptoms, trace, harmsStep);
    const isTenable = explained.size > 0 && !isContradicted(finding, witnesses, harmsStep);
    return { finding, covers: isTenable ? explained : new Set<number>() };
  });
  const certain = candidates.filter(
    ({ finding, covers }) => covers.size > 0 && finding.certainty === 'certain' && !finding.partial,
  );
  const certainlyCovered = new Set(certain.flatMap(({ covers }) => [...covers]));
  const others = candidates
    .filter((candidate) => !certain.includes(candidate))
    .map(({ finding, covers }) => ({
      value: finding,
      covers: new Set([...covers].filter((index) => !certainlyCovered.has(index))),
      cost: finding.certainty === 'suspect' ? COST_OF_SUSPICION : 1,
    }));
  const needed = new Set(cheapestCovers(others).flat());
  const chosen = candidates.filter((candidate) => certain.includes(candidate) || needed.has(candidate.finding));
  const covered = new Set(chosen.flatMap(({ covers }) => [...covers]));
  const open = symptoms.filter((_, index) => !covered.has(index));
  const failing = open.filter(({ meaning }) => meaning === 'fail' || meaning === 'error');
  const losing = open.filter(({ meaning }) => meaning === 'lossy' || meaning === 'recovered');
  // What follows from another failure, or from a starved node, is told, but does not compete with what is there still.
  const isBesides = chosen.length > 0 || failing.length > 0 || losing.some((symptom) => !isWeak(symptom));
  return {
    symptoms,
    causes: chosen.map(({ finding, covers }) => ({ finding, explains: [...covers].flatMap((index) => symptoms[index] ?? []) })),
    alternatives: alternativesOf(chosen),
    risks: candidates
      .filter((candidate) => !chosen.includes(candidate) && candidate.finding.certainty !== 'inferred')
      .map(({ finding }) => finding),
    segments: locate({
      failing,
      lossy: isBesides ? losing.filter((symptom) => !isWeak(symptom)) : losing,
      all: judged,
      acquitted,
      view,
      trace,
    }),
  };
}

/**
 * Whether this is a single exchange that nobody answered at first, which on a starved node may be all there is to it; or a
 * Service of which some of many queries were lost, as they are where one of its endpoints cannot be reached.
 */
function isWeak({ probe, meaning }: Judged): boolean {
  return probe.every === true || (meaning === 'recovered' && probe.method !== 'ping' && probe.method !== 'udp');
}

/** The symptoms, by index, on whose way a finding lies with the packets that it harms. */
function explainedBy(finding: Finding, symptoms: readonly Judged[], trace: Tracer, harmsStep: HarmsStep): Set<number> {
  const explained = new Set<number>();
  if (finding.harms.length === 0) return explained;
  symptoms.forEach((symptom, index) => {
    if (symptom.meaning === 'error') {
      if (isOfProcess(finding) && targetSockets(trace(symptom.probe)).some((step) => harmsStep(finding, step)))
        explained.add(index);
      return;
    }
    if (finding.partial === true && symptom.meaning === 'fail' && symptom.result.sent > FEW_PACKETS) return;
    // Where packets are lost at random, pings lose them too.
    if (finding.partial === true && symptom.probe.every === true) return;
    // What stops every query is no explanation for losing one of two from the same socket; a suspicion may stop just that one.
    const isSingled = finding.partial === 'flows' || finding.certainty === 'suspect';
    if (isHalfAnswered(symptom.result) && !isSingled) return;
    // What stops every packet is no explanation for losing some of them, unless it stops those to one of several endpoints.
    const isChoice = trace(symptom.probe).paths.request.length > 1;
    if (!finding.partial && !isChoice && (symptom.meaning === 'lossy' || symptom.meaning === 'recovered')) return;
    if (trace(symptom.probe).any.some((step) => harmsStep(finding, step))) explained.add(index);
  });
  return explained;
}

/** An error that the target itself answered with is explained only by what is wrong with the process that answered. */
function isOfProcess({ at }: Finding): boolean {
  return at.every(({ point }) => point === 'socket');
}

/** Successes, by the places that they pass. */
type Witnesses = { readonly of: (places: readonly string[]) => readonly Judged[]; readonly trace: Tracer };

function createWitnesses(judged: readonly Judged[], trace: Tracer): Witnesses {
  const byNode = new Map<string, Judged[]>();
  const anywhere: Judged[] = [];
  for (const witness of judged) {
    const { meaning, probe } = witness;
    if (meaning !== 'pass' && meaning !== 'error') continue;
    if (probe.to.node === null) anywhere.push(witness);
    for (const node of new Set([probe.from.node, probe.to.node ?? ''])) {
      const known = byNode.get(node);
      if (known === undefined) byNode.set(node, [witness]);
      else known.push(witness);
    }
  }
  return {
    of: (places) => [
      ...anywhere,
      ...places.flatMap((place) => {
        const [kind, name = ''] = place.split('/', 2);
        return kind === 'node' ? (byNode.get(name) ?? []) : [...byNode.values()].flat();
      }),
    ],
    trace,
  };
}

/**
 * A success of the same class of packets over the same hop contradicts what stops all of them; nothing, what stops some. One
 * that had several ways to go contradicts what would have stopped it on each.
 */
function isContradicted(finding: Finding, witnesses: Witnesses, harmsStep: HarmsStep): boolean {
  if (finding.partial) return false;
  const places = [...new Set(finding.at.map(({ place }) => place))];
  // An error shows that packets pass, not that the process which answered with it is in order.
  const isOfService = isOfProcess(finding);
  return witnesses.of(places).some(({ probe, meaning }) => {
    if (isOfService && meaning === 'error') return false;
    const { ways } = witnesses.trace(probe);
    return ways.length > 0 && ways.every((steps) => steps.some((step) => harmsStep(finding, step)));
  });
}

/** The smallest sets among the causes, where there is more than one; else nothing. */
function alternativesOf(
  chosen: readonly { readonly finding: Finding; readonly covers: ReadonlySet<number> }[],
): readonly (readonly number[])[] {
  const sets = cheapestCovers(chosen.map(({ covers }, index) => ({ value: index, covers, cost: 1 })));
  return sets.length > 1 ? sets.map((set) => [...set].sort((a, b) => a - b)) : [];
}

/** How a finding is referred to by the symptoms that it explains. */
export function findingKey({ code, entity }: Pick<Finding, 'code' | 'entity'>): string {
  return `${code} ${entityName(entity)}`;
}
