import type { HopPattern, Point } from '../../../model/hop.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import type { Addresses } from '../flow-parties.ts';
import type { Flow, FlowStep } from '../flows.ts';
import { spanPrefix } from './address.ts';
import type { Rule } from './ast.ts';

/** One packet of a must-work flow at the hook where a rule meets it. */
export type EatenPacket = { readonly flow: Flow; readonly step: FlowStep };

/**
 * Where a rule acts and on which packets. Where only long lists of addresses tell what passes from what does not, and all of
 * that is at some of the hops, those hops are left out: the rest says more.
 */
export function placeAndMatch(
  eaten: readonly EatenPacket[],
  here: readonly EatenPacket[],
  rule: Rule | null,
): { readonly at: readonly HopPattern[]; readonly harms: readonly PacketMatch[] } {
  const at = placesOf(eaten, here);
  const alive = here.filter(({ step }) => at.some((pattern) => isAt(pattern, step)));
  const choices = chooseFields(eaten, alive, rule);
  const own = rule === null ? [] : fieldsOf(rule);
  const needsAddresses = choices.some(({ fields }) =>
    fields.some((field) => (field === 'src' || field === 'dst') && !own.includes(field)),
  );
  const clear = eaten.filter(({ step }) => !here.some((other) => isAt(step.hop, other.step)));
  if (!needsAddresses || clear.length === 0 || clear.length === eaten.length) return { at, harms: matchesFor(choices, rule) };
  return { at: placesOf(clear, here), harms: matchesFor(chooseFields(clear, [], rule), rule) };
}

/** Points that are one hook of the node, whatever the devices. */
const HOOK_POINTS: ReadonlySet<Point> = new Set(['prerouting', 'input', 'forward', 'output', 'postrouting'] as const);

/** Where it acts: all of the node's hops of a hook, unless the devices tell what passes from what does not. */
function placesOf(eaten: readonly EatenPacket[], passed: readonly EatenPacket[]): HopPattern[] {
  const hops = new Map(eaten.map(({ step }) => [JSON.stringify(step.hop), step.hop]));
  const elsewhere = passed.some(({ step }) => !hops.has(JSON.stringify(step.hop)));
  const [any] = hops.values();
  return elsewhere || any === undefined || !HOOK_POINTS.has(any.point)
    ? [...hops.values()]
    : [{ place: any.place, point: any.point }];
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

/** An eaten packet, and the fields by which a match for it is made. */
type Choice = { readonly fields: readonly FieldName[]; readonly packet: EatenPacket };

/**
 * The fields of the widest matches that cover every eaten packet and none that passes at the same hop, but never wider than the rule
 * itself. A packet that nothing tells from one that passes is covered all the same.
 */
function chooseFields(eaten: readonly EatenPacket[], alive: readonly EatenPacket[], rule: Rule | null): Choice[] {
  const own = rule === null ? [] : fieldsOf(rule);
  const chosen: Choice[] = [];
  for (const packet of eaten) {
    if (chosen.some((choice) => covers(choice, packet))) continue;
    const fits = (fields: readonly FieldName[]): boolean =>
      own.every((field) => fields.includes(field)) &&
      !alive.some((other) => fields.every((field) => canEqual(field, packet, other)));
    const fields = CHOICES.find(fits) ?? FIELDS;
    chosen.push({ fields: fields.filter((field) => valueOf(field, packet) !== undefined), packet });
  }
  // a later, wider match may have made an earlier one superfluous
  return chosen.filter((choice, index) => {
    const later = chosen.slice(index + 1);
    return eaten.some((packet) => covers(choice, packet) && !later.some((other) => covers(other, packet)));
  });
}

function matchesFor(choices: readonly Choice[], rule: Rule | null): PacketMatch[] {
  const matches = choices.flatMap(({ fields, packet }) => matchesOf(fields, packet, rule));
  return widest([...new Map(matches.map((match) => [JSON.stringify(match), match])).values()]);
}

/** The fields that a rule itself compares with something that a packet match can say. */
function fieldsOf(rule: Rule): FieldName[] {
  const tested = new Set(
    rule.steps.flatMap((step) => (step.do === 'match' && !step.test.negated ? step.test.fields.map(({ field }) => field) : [])),
  );
  return FIELDS.filter((field) => field !== 'state' && field !== 'dnat' && tested.has(field));
}

/** What packets have in a field: one value, or all the addresses or ports of their class. */
function valueOf(field: FieldName, { flow, step: { packet } }: EatenPacket): unknown {
  switch (field) {
    case 'src':
      return flow.sources;
    case 'dst':
      return flow.targets;
    case 'dport':
      return flow.answer || flow.ports.length === 0 ? undefined : flow.ports;
    case 'sport':
      return flow.answer && flow.ports.length > 0 ? flow.ports : undefined;
    default:
      return packet[field];
  }
}

/** Whether two packets can have the same value in a field. Flows with the same addresses share them. */
function canEqual(field: FieldName, a: EatenPacket, b: EatenPacket): boolean {
  const [left, right] = [valueOf(field, a), valueOf(field, b)];
  if (left === right || field === 'src' || field === 'dst') return left === right;
  return Array.isArray(left) && Array.isArray(right) && left.some((port) => right.includes(port));
}

/** Whether the match that is made of a choice holds for all packets that another one stands for. */
function covers({ fields, packet }: Choice, other: EatenPacket): boolean {
  return fields.every((field) => {
    const [left, right] = [valueOf(field, packet), valueOf(field, other)];
    if (left === right || field === 'src' || field === 'dst') return left === right;
    return Array.isArray(left) && Array.isArray(right) && right.every((port) => left.includes(port));
  });
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
function addressesOf(rule: Rule | null, field: 'src' | 'dst', members: Addresses): readonly string[] {
  for (const step of rule?.steps ?? []) {
    if (step.do !== 'match' || step.test.negated || step.test.fields.length !== 1 || step.test.fields[0]?.field !== field)
      continue;
    const prefixes = step.test.rows.map(([span]) => (span === undefined ? null : spanPrefix(span)));
    if (prefixes.length === 1 && prefixes[0] != null) return [prefixes[0]];
  }
  return members.list();
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
