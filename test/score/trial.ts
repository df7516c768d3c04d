import { entityName } from '../../src/model/entity.ts';
import type { Direction, Verdict } from '../../src/model/verdict.ts';
import { mismatches } from '../e2e/diagnose.ts';
import type { At, Expectation } from '../lab/faults/fault.ts';

/** What was put into a fresh lab: nothing, something unusual that is no fault, one fault, or two. */
export type Kind = 'healthy' | 'single' | 'pair';

export type Placed = { readonly name: string; readonly at: At };

/**
 * One trial as it is recorded: what was there, what had to be said and what was said. Causes are `CODE on ENTITY`, the
 * accused entity `?` where the fault does not say which. `wrongDirections` are symptoms told with a direction that is not
 * the fault's; `wrong` is every difference in words, nothing in a right verdict.
 */
export type Trial = {
  readonly kind: Kind;
  readonly placed: readonly Placed[];
  readonly expected: {
    readonly status: Verdict['status'];
    readonly layer: Verdict['layer'];
    readonly causes: readonly string[];
    readonly located: boolean;
  };
  readonly said: {
    readonly status: Verdict['status'];
    readonly layer: Verdict['layer'];
    readonly causes: readonly string[];
    readonly risks: readonly string[];
    readonly located: number;
    readonly directions: number;
    readonly headline: string;
  };
  readonly missedNodes: readonly string[];
  readonly wrongDirections: readonly string[];
  readonly wrong: readonly string[];
  readonly seconds: number;
};

/** Compares a verdict with what was put in. `nodeOf` gives the node that an entity's name belongs to, or null. Pure. */
export function judgeTrial(
  kind: Kind,
  placed: readonly Placed[],
  expectation: Expectation,
  lost: readonly (Placed & { readonly lost: NonNullable<Expectation['lost']> })[],
  verdict: Verdict,
  nodeOf: (entity: string) => string | null,
): Trial {
  const scope = `${verdict.scope.sentence} ${[...verdict.scope.subjects, ...verdict.scope.targets].map(entityName).join(' ')}`;
  const stated = verdict.symptoms.filter(({ direction }) => direction !== 'undetermined');
  return {
    kind,
    placed,
    expected: {
      status: expectation.status,
      layer: expectation.layer,
      causes: expectation.codes.map(({ code, node }) => `${code} on ${node ?? '?'}`),
      located: expectation.located !== undefined,
    },
    said: {
      status: verdict.status,
      layer: verdict.layer,
      causes: verdict.causes.map(({ code, entity }) => `${code} on ${entityName(entity)}`),
      risks: verdict.risks.map(({ code, entity }) => `${code} on ${entityName(entity)}`),
      located: verdict.located.length,
      directions: stated.length,
      headline: verdict.headline,
    },
    missedNodes: expectation.nodes.filter((node) => !scope.includes(node)),
    wrongDirections: stated.flatMap((symptom) => {
      const [from, to] = [nodeOf(entityName(symptom.subject)), nodeOf(entityName(symptom.target))];
      return lost.flatMap(({ at, lost: way }) => {
        const truth = directionOf(at, way, from, to);
        return truth === null || truth === symptom.direction ? [] : [`${symptom.id}: ${symptom.direction}, should be ${truth}`];
      });
    }),
    wrong: mismatches(verdict, expectation),
    seconds: verdict.run.durationMs / 1000,
  };
}

/** The direction in which a fault at `at` harms what goes from one node to another, or null where it does not. */
function directionOf(
  { node, peer }: At,
  lost: NonNullable<Expectation['lost']>,
  from: string | null,
  to: string | null,
): Direction | null {
  const between = lost.endsWith('peer');
  const touches = (a: string | null, b: string | null): boolean => a === node && (between ? b === peer : b !== node);
  const isFrom = touches(from, to);
  if (!isFrom && !touches(to, from)) return null;
  if (lost === 'both' || lost === 'both-peer') return 'both';
  return isFrom === lost.startsWith('from') ? 'outbound' : 'inbound';
}

/** Whether a cause that was said is one that had to be said. */
export function isSame(expected: string, said: string): boolean {
  const [code, node] = expected.split(' on ');
  const [saidCode, entity] = said.split(' on ');
  return code === saidCode && (node === '?' || node === entity);
}
