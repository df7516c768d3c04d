import { type Entity, entityName } from '../../src/model/entity.ts';
import type { Direction, Verdict } from '../../src/model/verdict.ts';
import { mismatches } from '../e2e/diagnose.ts';
import type { At, Expectation } from '../lab/faults/fault.ts';
import type { NetworkKind } from '../lab/topology.ts';

/** What was put into a fresh lab: nothing or something unusual that is no fault, one fault, or two. */
export type Kind = 'healthy' | 'single' | 'pair';

export type Placed = { readonly name: string; readonly at: At };

/** What a trial consists of. */
export type Planned = { readonly kind: Kind; readonly network: NetworkKind; readonly placed: readonly Placed[] };

/**
 * One trial as it is recorded: of which commit, what was there, what had to be said and what was said. Causes are
 * `CODE on ENTITY`, the accused entity `?` where the fault does not say which. `directions` counts the statements of a
 * direction that could be held against the fault, `wrongDirections` are those that are not the fault's; `wrong` is every
 * other difference in words, nothing in a right verdict.
 */
export type Trial = Planned & {
  readonly commit: string;
  readonly expected: {
    readonly status: Verdict['status'];
    readonly layer: Verdict['layer'];
    readonly causes: readonly string[];
    readonly risks: readonly string[];
    readonly located: boolean;
  };
  readonly said: {
    readonly status: Verdict['status'];
    readonly layer: Verdict['layer'];
    readonly causes: readonly string[];
    readonly risks: readonly string[];
    readonly located: number;
    readonly headline: string;
  };
  readonly missedNodes: readonly string[];
  readonly directions: number;
  readonly wrongDirections: readonly string[];
  readonly wrong: readonly string[];
  readonly seconds: number;
};

/** Which packets a fault loses; see `Expectation`. */
export type Lost = { readonly at: At } & Required<Pick<Expectation, 'lost'>> & Pick<Expectation, 'lostOf'>;

/** One end of a probe: whose address it is. */
export type End = { readonly node: string; readonly kind: 'host' | 'bridge' | 'pod' };

/** What a symptom's probe goes between; `isOneWay` whether only the way there is measured. */
export type Way = { readonly from: End; readonly to: End; readonly isOneWay: boolean };

/**
 * Compares a verdict with what was put in. `nodeOf` gives the node that an entity's name belongs to, or null; `wayOf` what
 * the probe of a symptom goes between, or null where one end is none of the cluster's. Pure.
 */
export function judgeTrial(
  trial: Planned & { readonly commit: string },
  expectation: Expectation,
  lost: Lost | null,
  verdict: Verdict,
  nodeOf: (entity: string) => string | null,
  wayOf: (symptom: string) => Way | null,
): Trial {
  const scope = `${verdict.scope.sentence} ${[...verdict.scope.subjects, ...verdict.scope.targets].map(entityName).join(' ')}`;
  const stated = lost === null ? [] : statedDirections(verdict, lost, nodeOf, wayOf);
  return {
    ...trial,
    expected: {
      status: expectation.status,
      layer: expectation.layer,
      causes: expectation.codes.map(({ code, node }) => `${code} on ${node ?? '?'}`),
      risks: [...new Set(expectation.risks)],
      located: expectation.located !== undefined,
    },
    said: {
      status: verdict.status,
      layer: verdict.layer,
      causes: verdict.causes.map(({ code, entity }) => `${code} on ${entityName(entity)}`),
      risks: verdict.risks.map(({ code, entity }) => `${code} on ${entityName(entity)}`),
      located: verdict.located.length,
      headline: verdict.headline,
    },
    missedNodes: expectation.nodes.filter((node) => !scope.includes(node)),
    directions: stated.length,
    wrongDirections: stated.flatMap(({ what, said, right }) =>
      right.includes(said) ? [] : [`${what}: ${said}, should be ${right.join(' or ') || 'nothing'}`],
    ),
    wrong: mismatches(verdict, expectation),
    seconds: verdict.run.durationMs / 1000,
  };
}

type Stated = { readonly what: string; readonly said: Direction; readonly right: readonly Direction[] };

/** Every direction that a verdict states of packets that the fault concerns, with those that are right. */
function statedDirections(
  { symptoms, scope, located }: Verdict,
  lost: Lost,
  nodeOf: (entity: string) => string | null,
  wayOf: (symptom: string) => Way | null,
): readonly Stated[] {
  const truths = new Map(
    symptoms.map(({ id }) => {
      const way = wayOf(id);
      return [id, way === null ? null : directionOf(lost, way.from, way.to)];
    }),
  );
  const all = symptoms.map(({ id, direction }): Stated => {
    const truth = truths.get(id) ?? null;
    // A one-way probe says of the way there that packets are lost, whatever is on the way back.
    const right =
      truth === 'both' && wayOf(id)?.isOneWay === true ? (['both', 'outbound'] as const) : truth === null ? [] : [truth];
    return { what: id, said: direction, right };
  });
  const endsOf = (entities: readonly Entity[]): readonly End[] =>
    [...new Set(entities.map((entity) => nodeOf(entityName(entity)) ?? ''))].map((node) => ({ node, kind: 'pod' }));
  const between = endsOf(scope.subjects).flatMap((from) => endsOf(scope.targets).map((to) => directionOf(lost, from, to)));
  const [first = null] = between;
  const agreed = first !== null && between.every((each) => each === first) ? [first] : [];
  const parts = located.map(({ segment, direction, symptoms: ids }): Stated => {
    const own = new Set(ids.map((id) => truths.get(id) ?? null));
    // Seen from the segment's first hop, which may be the other end.
    const oneWay = [...own].every((truth) => truth === 'outbound' || truth === 'inbound')
      ? (['outbound', 'inbound'] as const)
      : [];
    return { what: segment, said: direction, right: own.size === 1 && own.has('both') ? ['both'] : oneWay };
  });
  return [...all, { what: scope.sentence, said: scope.direction, right: agreed }, ...parts].filter(
    ({ said, right }) => said !== 'undetermined' && right.length > 0,
  );
}

/** Which way it fails between two ends, the same kind of packets both ways, or null where the fault harms neither. */
function directionOf(lost: Lost, from: End, to: End): Direction | null {
  const out = isLost(lost, from, to);
  const back = isLost(lost, { node: to.node, kind: from.kind }, { node: from.node, kind: to.kind });
  if (out && back) return 'both';
  if (out) return 'outbound';
  return back ? 'inbound' : null;
}

/** Whether packets from one end to another are lost. */
function isLost({ at: { node, peer }, lost, lostOf }: Lost, from: End, to: End): boolean {
  if (from.node === '' || to.node === '' || from.node === to.node) return false;
  const [way, only] = lost.split('-');
  const isOther = (end: End): boolean => (only === 'peer' ? end.node === peer : end.node !== node);
  const isHarmed = ({ kind }: End): boolean =>
    lostOf === undefined || kind === 'pod' || (lostOf === 'pod-network' && kind === 'bridge');
  if (only === 'either') return (to.node === node || to.node === peer) && isHarmed(to);
  const isSent = from.node === node && isOther(to) && isHarmed(from);
  const isReceived = to.node === node && isOther(from) && isHarmed(to);
  return (way !== 'to' && isSent) || (way !== 'from' && isReceived);
}

/** Whether a cause that was said is one that had to be said. */
export function isSame(expected: string, said: string): boolean {
  const [code, node] = expected.split(' on ');
  const [saidCode, entity] = said.split(' on ');
  return code === saidCode && (node === '?' || node === entity);
}
