import type { HopPattern } from '../../../model/hop.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import type { Flow } from '../flows.ts';
import { type Chain, type Rule, type RuleRef, ruleKey, type Table } from './ast.ts';
import { type Classes, createClasses } from './classes.ts';
import { type EatenPacket, placeAndMatch } from './harms.ts';
import { unchanged } from './packet.ts';
import { createWalk, type Outcome, type Walk } from './walk.ts';

/**
 * A rule (or policy) that eats must-work packets. `at` and `harms` are as in a finding: every eaten packet is among them and
 * no packet that passes. `doubt` is a rule on the way that cannot be judged, so that it may not come to this. `path` lists
 * the chains that lead to the rule. `everything`: nothing that has to pass this hook passes, `onlyNew`: but for established
 * connections.
 */
export type Eater = {
  readonly rule: RuleRef;
  readonly verdict: 'drop' | 'reject';
  readonly partial: boolean;
  readonly doubt: RuleRef | null;
  readonly path: readonly string[];
  readonly eaten: readonly EatenPacket[];
  readonly everything: boolean;
  readonly onlyNew: boolean;
  readonly at: readonly HopPattern[];
  readonly harms: readonly PacketMatch[];
};

type Death = EatenPacket & { readonly outcome: Outcome; readonly rule: RuleRef };

/** Sends must-work flows of a node (see `createFlows`) through its rules; `flowsFor` gives those that the classes make. */
export function eatersOf(tables: readonly Table[], flowsFor: (classes: Classes) => readonly Flow[]): Eater[] {
  const walk = createWalk(tables);
  const flows = flowsFor(createClasses(tables));
  const deaths: Death[] = [];
  for (const flow of flows) follow(flow, walk, deaths, null);
  if (deaths.length === 0) return [];
  const passed: EatenPacket[] = [];
  for (const flow of flows) follow(flow, walk, null, passed);
  return [...Map.groupBy(deaths, ({ rule }) => ruleKey(rule)).values()].flatMap((group) =>
    eaterOf(group, deaths, passed, tables),
  );
}

/** Walks the hooks that a flow passes on this node until a rule eats it; notes where it died, or where it passed. */
function follow(flow: Flow, walk: Walk, deaths: Death[] | null, passed: EatenPacket[] | null): void {
  const [first] = flow.steps;
  if (first === undefined) return;
  let changes = unchanged(first.packet);
  for (const step of flow.steps) {
    const outcome = walk(step.hook, step.packet, changes);
    const eater = outcome.verdict === 'unknown' ? outcome.mayEat : outcome.rule;
    if (eater === null) passed?.push({ flow, step });
    else deaths?.push({ flow, step, outcome, rule: eater });
    if (outcome.after === null) return;
    changes = outcome.after;
  }
}

function eaterOf(
  own: readonly Death[],
  deaths: readonly Death[],
  passed: readonly EatenPacket[],
  tables: readonly Table[],
): Eater[] {
  // what is certain is told without what is not
  const certain = own.filter(isCertain);
  const told = certain.length > 0 ? certain : own;
  const whole = told.filter(({ outcome }) => !outcome.partial);
  const eaten = whole.length > 0 ? whole : told;
  const [first] = eaten;
  if (first === undefined) return [];
  const { rule, outcome } = first;
  const isHere = ({ step }: EatenPacket): boolean => step.hop.point === first.step.hop.point;
  // what may pass is not to be accused either; a packet that is eaten here may have passed the same hop just before
  const doubtful = deaths.filter((death) => !isCertain(death));
  const dead = new Set(eaten.map(({ flow }) => flow));
  const here = [...passed, ...doubtful].filter((packet) => isHere(packet) && !dead.has(packet.flow));
  const others = deaths.filter((death) => isCertain(death) && ruleKey(death.rule) !== ruleKey(rule));
  return [
    {
      rule,
      verdict: outcome.verdict === 'reject' ? 'reject' : 'drop',
      partial: outcome.partial,
      doubt: outcome.verdict === 'unknown' ? outcome.rule : null,
      path: outcome.path,
      eaten,
      everything: here.length === 0 && !others.some(isHere),
      onlyNew:
        eaten.every(({ step }) => step.packet.state === 'new') && here.every(({ step }) => step.packet.state === 'established'),
      ...placeAndMatch(eaten, here, findRule(tables, rule)),
    },
  ];
}

function isCertain({ outcome }: Death): boolean {
  return outcome.verdict !== 'unknown';
}

function findRule(tables: readonly Table[], ref: RuleRef): Rule | null {
  const table = tables.find(({ system, family, name }) => system === ref.system && family === ref.family && name === ref.table);
  const chain: Chain | undefined = table?.chains.find(({ name }) => name === ref.chain);
  return chain?.rules.find(({ number }) => number === ref.number) ?? null;
}
