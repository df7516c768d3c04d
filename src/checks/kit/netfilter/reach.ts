import type { Chain, Step, Table, Verdict } from './ast.ts';

/** The most that a chain can do to a packet: eat it, change it (mark, untrack, translate), or nothing. */
export type Effect = 'eat' | 'change' | 'none';

/** Which chains of a table a packet can come to from a chain (itself among them), and what may become of it on the way. */
export type Reach = { readonly from: (chain: Chain) => ReadonlySet<Chain>; readonly effect: (chain: Chain) => Effect };

/** Looks once at every rule of a table. */
export function reachOf(table: Table): Reach {
  const byName = new Map(table.chains.map((chain) => [chain.name, chain]));
  const own = new Map(table.chains.map((chain) => [chain, ownReach(chain, byName)]));
  const known = new Map<Chain, ReadonlySet<Chain>>();
  function from(start: Chain): ReadonlySet<Chain> {
    const found = known.get(start);
    if (found !== undefined) return found;
    const reached = new Set([start]);
    // a set grows while it is gone through
    for (const chain of reached) for (const next of own.get(chain)?.calls ?? []) reached.add(next);
    known.set(start, reached);
    return reached;
  }
  return {
    from,
    effect(chain) {
      if (chain.base?.policy === 'drop') return 'eat';
      const effects = new Set([...from(chain)].map((reached) => own.get(reached)?.effect));
      return effects.has('eat') ? 'eat' : effects.has('change') ? 'change' : 'none';
    },
  };
}

type OwnReach = { readonly calls: ReadonlySet<Chain>; readonly effect: Effect };

function ownReach({ rules }: Chain, byName: ReadonlyMap<string, Chain>): OwnReach {
  const calls = new Set<Chain>();
  let effect: Effect = 'none';
  for (const { steps } of rules) {
    for (const step of steps) {
      if (canEat(step)) effect = 'eat';
      else if (effect === 'none' && isChange(step)) effect = 'change';
      for (const name of calledBy(step)) {
        const called = byName.get(name);
        if (called !== undefined) calls.add(called);
      }
    }
  }
  return { calls, effect };
}

/** Whether a packet may end at this part of a rule. */
export function canEat(step: Step): boolean {
  return verdictsOf(step).some(({ kind }) => kind === 'drop' || kind === 'reject' || kind === 'unknown');
}

/** The chains that a part of a rule jumps or goes to. */
export function calledBy(step: Step): string[] {
  return verdictsOf(step).flatMap((verdict) => ('chain' in verdict ? [verdict.chain] : []));
}

function isChange(step: Step): boolean {
  return step.do === 'set-mark' || step.do === 'notrack' || step.do === 'translate';
}

const NONE: readonly Verdict[] = [];

function verdictsOf(step: Step): readonly Verdict[] {
  if (step.do === 'verdict') return [step.verdict];
  return step.do === 'map' ? step.entries.map(({ verdict }) => verdict) : NONE;
}
