import type { HopPattern } from '../../../model/hop.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { type Flow, type FlowContext, type FlowStep, flowsOf } from '../flows.ts';
import { spanPrefix } from './address.ts';
import { type Chain, type Rule, type RuleRef, ruleKey, type Table } from './ast.ts';
import { createClasses } from './classes.ts';
import { unchanged } from './packet.ts';
import { createWalk, type Outcome, type Walk } from './walk.ts';

/** One packet of a must-work flow at the hook where a rule eats it. */
export type EatenPacket = { readonly flow: Flow; readonly step: FlowStep };

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

/** Sends every must-work flow of a node through its rules; see `flowsOf` for what those are. */
export function eatersOf(tables: readonly Table[], context: FlowContext): Eater[] {
  const walk = createWalk(tables);
  const deaths: Death[] = [];
  const passed: EatenPacket[] = [];
  for (const flow of flowsOf(context, createClasses(tables))) follow(flow, walk, deaths, passed);
  return [...Map.groupBy(deaths, ({ rule }) => ruleKey(rule)).values()].flatMap((group) =>
    eaterOf(group, deaths, passed, tables),
  );
}

/** Walks the hooks that a flow passes on this node until a rule eats it. */
function follow(flow: Flow, walk: Walk, deaths: Death[], passed: EatenPacket[]): void {
  const [first] = flow.steps;
  if (first === undefined) return;
  let changes = unchanged(first.packet);
  for (const step of flow.steps) {
    const outcome = walk(step.hook, step.packet, changes);
    const eater = outcome.verdict === 'unknown' ? outcome.mayEat : outcome.rule;
    if (eater !== null) deaths.push({ flow, step, outcome, rule: eater });
    else passed.push({ flow, step });
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
  const isHere = ({ step }: EatenPacket): boolean => step.hop.point === first.step.hop.point && step.hook === first.step.hook;
  // what may pass is not to be accused either
  const here = [...passed, ...deaths.filter((death) => !isCertain(death) && !eaten.includes(death))].filter(isHere);
  const others = deaths.filter((death) => isCertain(death) && ruleKey(death.rule) !== ruleKey(rule));
  const at = placesOf(eaten, here);
  const alive = here.filter(({ step }) => at.some((pattern) => isAt(pattern, step)));
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
      at,
      harms: separate(eaten, alive, findRule(tables, rule)),
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

/** Where it acts: all of the node's hops of that point, unless the devices tell what passes from what does not. */
function placesOf(eaten: readonly EatenPacket[], passed: readonly EatenPacket[]): HopPattern[] {
  const hops = new Map(eaten.map(({ step }) => [JSON.stringify(step.hop), step.hop]));
  const elsewhere = passed.some(({ step }) => !hops.has(JSON.stringify(step.hop)));
  const [any] = hops.values();
  return elsewhere || any === undefined ? [...hops.values()] : [{ place: any.place, point: any.point }];
}

function isAt(pattern: HopPattern, { hop }: FlowStep): boolean {
  return (
    (pattern.iif === undefined || pattern.iif === hop.iif) &&
    (pattern.oif === undefined || pattern.oif === hop.oif) &&
    (pattern.dev === undefined || pattern.dev === hop.dev) &&
    (pattern.dir === undefined || pattern.dir === hop.dir)
  );
}

/** The fields that tell packets apart, those that say most to a person first. */
const FIELDS = ['state', 'proto', 'dport', 'sport', 'dnat', 'dst', 'src'] as const;
type FieldName = (typeof FIELDS)[number];

/** Sets of fields, the smallest first. */
const CHOICES: readonly (readonly FieldName[])[] = Array.from({ length: 2 ** FIELDS.length }, (_, bits) =>
  FIELDS.filter((_field, index) => (bits >> index) & 1),
).toSorted((a, b) => a.length - b.length || rank(a) - rank(b));

function rank(fields: readonly FieldName[]): number {
  return fields.reduce((sum, field) => sum + 2 ** FIELDS.indexOf(field), 0);
}

/**
 * The widest matches that cover every eaten packet and none that passes at the same hop, but never wider than the rule
 * itself. A packet that nothing tells from one that passes is covered all the same.
 */
function separate(eaten: readonly EatenPacket[], alive: readonly EatenPacket[], rule: Rule | null): PacketMatch[] {
  const own = rule === null ? [] : fieldsOf(rule);
  const chosen: { readonly fields: readonly FieldName[]; readonly packet: EatenPacket }[] = [];
  for (const packet of eaten) {
    if (chosen.some((choice) => isSame(choice.fields, choice.packet, packet))) continue;
    const fields = CHOICES.find(
      (choice) => own.every((field) => choice.includes(field)) && !alive.some((other) => isSame(choice, packet, other)),
    ) ?? [...FIELDS];
    chosen.push({ fields: fields.filter((field) => valueOf(field, packet) !== undefined), packet });
  }
  const covers = ({ fields, packet }: (typeof chosen)[number], other: EatenPacket): boolean => isSame(fields, packet, other);
  const needed = chosen.filter((choice, index) => {
    const rest = chosen.filter((_other, place) => place > index);
    return !eaten.every((packet) => !covers(choice, packet) || rest.some((other) => covers(other, packet)));
  });
  const matches = needed.flatMap(({ fields, packet }) => matchesOf(fields, packet, rule));
  return widest([...new Map(matches.map((match) => [JSON.stringify(match), match])).values()]);
}

/** The fields that a rule itself compares with something that a packet match can say. */
function fieldsOf(rule: Rule): FieldName[] {
  const tested = new Set(
    rule.steps.flatMap((step) => (step.do === 'match' && !step.test.negated ? step.test.fields.map(({ field }) => field) : [])),
  );
  return FIELDS.filter((field) => field !== 'state' && field !== 'dnat' && tested.has(field));
}

/** What a packet has in a field, fit for comparing: flows of the same parties share their lists of addresses. */
function valueOf(field: FieldName, { flow, step: { packet } }: EatenPacket): unknown {
  switch (field) {
    case 'src':
      return flow.sources;
    case 'dst':
      return flow.targets;
    case 'dport':
      return flow.answer ? undefined : portsOf(flow);
    case 'sport':
      return flow.answer ? portsOf(flow) : undefined;
    default:
      return packet[field];
  }
}

function portsOf(flow: Flow): string | undefined {
  return flow.ports.length === 0 ? undefined : flow.ports.join();
}

function isSame(fields: readonly FieldName[], a: EatenPacket, b: EatenPacket): boolean {
  return fields.every((field) => valueOf(field, a) === valueOf(field, b));
}

function matchesOf(fields: readonly FieldName[], { flow, step }: EatenPacket, rule: Rule | null): PacketMatch[] {
  const { packet } = step;
  let matches: PacketMatch[] = [{}];
  for (const field of fields) {
    const values: readonly PacketMatch[] = (() => {
      switch (field) {
        case 'src':
          return addressesOf(rule, 'src', flow.sources).map((src) => ({ src }));
        case 'dst':
          return addressesOf(rule, 'dst', flow.targets).map((dst) => ({ dst }));
        case 'dport':
          return flow.ports.map((dport) => ({ dport }));
        case 'sport':
          return flow.ports.map((sport) => ({ sport }));
        case 'proto':
          return [{ proto: packet.proto }];
        case 'state':
          return [{ state: packet.state }];
        default:
          return [{ dnat: packet.dnat ?? false }];
      }
    })();
    matches = matches.flatMap((match) => values.map((value) => ({ ...match, ...value })));
  }
  return matches;
}

/** The rule's own prefix, where it has one; else the addresses of the packets. */
function addressesOf(rule: Rule | null, field: 'src' | 'dst', members: readonly string[]): readonly string[] {
  for (const step of rule?.steps ?? []) {
    if (step.do !== 'match' || step.test.negated || step.test.fields.length !== 1 || step.test.fields[0]?.field !== field)
      continue;
    const prefixes = step.test.rows.map(([span]) => (span === undefined ? null : spanPrefix(span)));
    if (prefixes.length === 1 && prefixes[0] != null) return [prefixes[0]];
  }
  return members;
}

/** Leaves out what another match already covers. */
function widest(matches: readonly PacketMatch[]): PacketMatch[] {
  return matches.filter(
    (match) =>
      !matches.some(
        (other) =>
          other !== match && Object.entries(other).every(([field, value]) => match[field as keyof PacketMatch] === value),
      ),
  );
}
