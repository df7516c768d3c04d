import { z } from 'zod';
import { addressKey, prefixSpan } from './address.ts';
import {
  type Base,
  type Chain,
  CT_STATE,
  CT_STATUS,
  type Field,
  HOOKS,
  ICMP_TYPES,
  ICMPV6_TYPES,
  PROTOCOLS,
  type Rule,
  type Selector,
  type SetMark,
  type Span,
  type Step,
  type Table,
  TCP_FLAGS,
  type Test,
  type Value,
  type Verdict,
} from './ast.ts';
import { ruleText } from './nft-text.ts';

const Named = { family: z.enum(['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev']), table: z.string(), name: z.string() };
const Flags = z.union([z.string(), z.array(z.string())]).optional();

const TableObject = z.object({ family: Named.family, name: z.string(), flags: Flags });
const ChainObject = z.object({
  ...Named,
  type: z.enum(['filter', 'nat', 'route']).optional(),
  hook: z.enum(HOOKS).optional(),
  prio: z.int().optional(),
  policy: z.enum(['accept', 'drop']).optional(),
  dev: z.union([z.string(), z.array(z.string())]).optional(),
});
const RuleObject = z.object({
  family: Named.family,
  table: z.string(),
  chain: z.string(),
  handle: z.int(),
  comment: z.string().optional(),
  expr: z.array(z.unknown()).default([]),
});
const SetObject = z.object({ ...Named, elem: z.array(z.unknown()).default([]) });
const CounterObject = z.object({ ...Named, packets: z.int() });
const Ruleset = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });

type Expression = Readonly<Record<string, unknown>>;

/** A part of a rule that this reader does not understand; the rule then holds a match that cannot be judged. */
class Unreadable extends Error {}

/**
 * Reads the output of `nft -j list ruleset`: every table, those of iptables-nft among them (see `joinTables`). Tables that
 * are dormant are left out. Throws for output that is no such JSON. Source: libnftables-json(5).
 */
export function parseNft(stdout: string): Table[] {
  const objects = Ruleset.parse(JSON.parse(stdout)).nftables;
  const pick = <T>(kind: string, schema: z.ZodType<T>): T[] =>
    objects.flatMap((object) => (object[kind] === undefined ? [] : [schema.parse(object[kind])]));
  const key = (object: { family: string; table: string; name: string }): string =>
    `${object.family}\n${object.table}\n${object.name}`;
  const sets = new Map(
    [...pick('set', SetObject), ...pick('map', SetObject), ...pick('meter', SetObject)].map((set) => [key(set), set.elem]),
  );
  const counters = new Map(pick('counter', CounterObject).map((counter) => [key(counter), counter.packets]));
  const chains = pick('chain', ChainObject);
  const rules = pick('rule', RuleObject);
  return pick('table', TableObject)
    .filter((table) => !flagsOf(table.flags).includes('dormant'))
    .map((table) => {
      const mine = (object: { family: string; table: string }): boolean =>
        object.family === table.family && object.table === table.name;
      const context: Context = {
        family: table.family,
        set: (name) => sets.get(key({ family: table.family, table: table.name, name })),
        counter: (name) => counters.get(key({ family: table.family, table: table.name, name })),
      };
      return {
        system: 'nft',
        family: table.family,
        name: table.name,
        // nft before 1.0.7 prints arbitrary text for the flags of a table: dormant, owned by a daemon, or both
        active: flagsOf(table.flags).every((flag) => flag === 'owner' || flag === 'persist') ? true : null,
        chains: chains.filter(mine).map((chain) =>
          readChain(
            chain,
            rules.filter((rule) => mine(rule) && rule.chain === chain.name),
            context,
          ),
        ),
      };
    });
}

function flagsOf(flags: z.output<typeof Flags>): readonly string[] {
  return flags === undefined ? [] : [flags].flat();
}

/** What the expressions of one table refer to by name. */
type Context = {
  readonly family: Table['family'];
  readonly set: (name: string) => readonly unknown[] | undefined;
  readonly counter: (name: string) => number | undefined;
};

function readChain(chain: z.output<typeof ChainObject>, rules: readonly z.output<typeof RuleObject>[], context: Context): Chain {
  const base: Base | null =
    chain.hook === undefined
      ? null
      : {
          hook: chain.hook,
          type: chain.type ?? 'filter',
          priority: chain.prio ?? 0,
          policy: chain.policy ?? 'accept',
          devices: chain.dev === undefined ? null : [chain.dev].flat(),
        };
  return { name: chain.name, base, rules: rules.map((rule, index) => readRule(rule, index + 1, context)) };
}

function readRule(rule: z.output<typeof RuleObject>, number: number, context: Context): Rule {
  const packets = rule.expr.map((statement) => packetsOf(statement, context)).findLast((count) => count !== undefined);
  return {
    text: ruleText(rule.expr, rule.comment),
    number,
    handle: rule.handle,
    ...(packets === undefined ? {} : { packets }),
    steps: rule.expr.flatMap((statement) => stepsOf(statement, context)),
  };
}

function packetsOf(statement: unknown, context: Context): number | undefined {
  if (!isObject(statement)) return undefined;
  const counter = statement['counter'];
  if (typeof counter === 'string') return context.counter(counter);
  return isObject(counter) && typeof counter['packets'] === 'number' ? counter['packets'] : undefined;
}

function isObject(value: unknown): value is Expression {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The steps of one statement; what cannot be read is a match, or a verdict, that cannot be judged. */
function stepsOf(statement: unknown, context: Context): Step[] {
  try {
    return readStatement(statement, context);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    const why = ruleText([statement]);
    return [
      isObject(statement) && 'vmap' in statement ? { do: 'verdict', verdict: { kind: 'unknown', why } } : { do: 'unknown', why },
    ];
  }
}

const NO_EFFECT = new Set([
  'counter',
  'log',
  'last',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'secmark',
  'flow',
  'dup',
  'comment',
]);

function readStatement(statement: unknown, context: Context): Step[] {
  if (!isObject(statement)) throw new Unreadable();
  const [kind = '', body] = Object.entries(statement)[0] ?? [];
  if (NO_EFFECT.has(kind)) return [];
  switch (kind) {
    case 'match':
      return readMatch(body, context);
    case 'vmap':
      return readVerdictMap(body, context);
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
    case 'jump':
    case 'goto':
      return [{ do: 'verdict', verdict: readVerdict(statement) }];
    case 'reject':
      return readReject(body, context);
    case 'mangle':
      return readMangle(body);
    case 'limit':
      return [{ do: 'some', why: ruleText([statement]) }];
    case 'set':
    case 'map':
    case 'meter':
      // a limit that is kept for each element lets only some packets through
      return isObject(body) && JSON.stringify(body['stmt'] ?? '').includes('"limit"')
        ? [{ do: 'some', why: ruleText([statement]) }]
        : [];
    case 'notrack':
      return [{ do: 'notrack' }];
    case 'dnat':
    case 'redirect':
      return [{ do: 'translate', what: 'destination' }];
    case 'snat':
    case 'masquerade':
      return [{ do: 'translate', what: 'source' }];
    case 'queue':
    case 'fwd':
    case 'synproxy':
    case 'tproxy':
      return [{ do: 'verdict', verdict: { kind: 'unknown', why: ruleText([statement]) } }];
    case 'xt':
      return readXt(body);
    default:
      throw new Unreadable();
  }
}

/** An iptables extension inside a table that only nft can print: its name is known, what it compares is not. */
function readXt(body: unknown): Step[] {
  if (!isObject(body)) throw new Unreadable();
  const { type, name } = body;
  if (name === 'comment' || type === 'watcher') return [];
  if (type === 'target') return [{ do: 'verdict', verdict: { kind: 'unknown', why: `xt target ${name}` } }];
  throw new Unreadable();
}

function readVerdict(statement: Expression): Verdict {
  const [kind = '', body] = Object.entries(statement)[0] ?? [];
  switch (kind) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
      return { kind };
    case 'jump':
    case 'goto':
      if (!isObject(body) || typeof body['target'] !== 'string') throw new Unreadable();
      return { kind, chain: body['target'] };
    default:
      return { kind: 'unknown', why: kind };
  }
}

function readReject(body: unknown, context: Context): Step[] {
  const { type, expr } = isObject(body) ? body : {};
  const family = type === 'icmp' ? 4 : type === 'icmpv6' ? 6 : null;
  return [
    ...(family === null || context.family === 'ip' || context.family === 'ip6' ? [] : [matches('nfproto', family)]),
    {
      do: 'verdict',
      verdict: {
        kind: 'reject',
        with: typeof type !== 'string' ? 'port-unreachable' : type === 'tcp reset' ? type : `${type} ${expr}`,
      },
    },
  ];
}

function matches(field: Field, value: Value): Step {
  return { do: 'match', test: { fields: [{ field }], rows: [[[value, value]]], negated: false } };
}

/** What the left side of a comparison reads, and what nft leaves unsaid: the protocol that has such a field. */
type Left = { readonly fields: readonly Selector[]; readonly implied: readonly Step[] };

function readMatch(body: unknown, context: Context): Step[] {
  if (!isObject(body)) throw new Unreadable();
  const { op, left, right } = body;
  if (isRandom(left)) return [{ do: 'some', why: ruleText([{ match: body }]) }];
  const { fields, implied } = readLeft(left, context);
  const test = readComparison(fields, op, right, context);
  if (!isLimitedToInterface(left)) return [...implied, { do: 'match', test }];
  // of one interface, "local" is an address of that interface: only "not of this type at all" can be told
  const limited: Step = { do: 'unknown', why: ruleText([{ match: body }]) };
  return [...implied, ...(test.negated ? [] : [{ do: 'match', test } as const]), limited];
}

function isLimitedToInterface(left: unknown): boolean {
  const text = JSON.stringify(left);
  return text.includes('"fib"') && (text.includes('"iif"') || text.includes('"oif"'));
}

function isRandom(expression: unknown): boolean {
  return isObject(expression) && ['numgen', 'jhash', 'symhash'].some((kind) => kind in expression);
}

const TRANSPORT: Readonly<Record<string, number>> = { tcp: 6, udp: 17, udplite: 136, sctp: 132, dccp: 33 };

function readLeft(expression: unknown, context: Context): Left {
  if (!isObject(expression)) throw new Unreadable();
  const [kind = '', body] = Object.entries(expression)[0] ?? [];
  switch (kind) {
    case 'concat': {
      if (!Array.isArray(body)) throw new Unreadable();
      const parts = body.map((part) => readLeft(part, context));
      const fields = parts.flatMap((part) => part.fields);
      // beside the protocol itself, nft prints `th dport` as the port of whatever protocol an earlier rule named
      const namesProtocol = fields.some(({ field }) => field === 'proto');
      return {
        fields,
        implied: namesProtocol
          ? parts.flatMap((part) => part.implied).filter(isNoProtocol)
          : parts.flatMap((part) => part.implied),
      };
    }
    case '&': {
      if (!Array.isArray(body)) throw new Unreadable();
      const { fields, implied } = readLeft(body[0], context);
      const [selector] = fields;
      if (selector === undefined || fields.length > 1 || !BIT_FIELDS.has(selector.field)) throw new Unreadable();
      return {
        fields: [{ field: selector.field, mask: readBits(selector.field, body[1]) & (selector.mask ?? ALL_BITS) }],
        implied,
      };
    }
    case 'meta':
      return { fields: [metaSelector(stringOf(body, 'key'))], implied: [] };
    case 'ct':
      return { fields: [ctSelector(stringOf(body, 'key'), isObject(body) && body['dir'] !== undefined)], implied: [] };
    case 'fib':
      return { fields: [fibSelector(body)], implied: [] };
    case 'payload':
      return readPayload(stringOf(body, 'protocol'), stringOf(body, 'field'), context);
    default:
      throw new Unreadable();
  }
}

function isNoProtocol(step: Step): boolean {
  return !(step.do === 'match' && step.test.fields[0]?.field === 'proto');
}

function stringOf(body: unknown, name: string): string {
  const value = isObject(body) ? body[name] : undefined;
  if (typeof value !== 'string') throw new Unreadable();
  return value;
}

const ALL_BITS = 0xffffffff;
const BIT_FIELDS: ReadonlySet<Field> = new Set(['mark', 'ct-mark', 'ct-state', 'ct-status', 'tcp-flags', 'fragment'] as const);
// the two states that only iptables knows are not part of what nft compares
const CT_STATE_BITS = CT_STATE.invalid | CT_STATE.established | CT_STATE.related | CT_STATE.new | CT_STATE.untracked;

function metaSelector(key: string): Selector {
  switch (key) {
    case 'iif':
    case 'iifname':
      return { field: 'iif' };
    case 'oif':
    case 'oifname':
      return { field: 'oif' };
    case 'l4proto':
      return { field: 'proto' };
    case 'nfproto':
    case 'protocol':
      return { field: 'nfproto' };
    case 'mark':
      return { field: 'mark', mask: ALL_BITS };
    case 'length':
      return { field: 'size' };
    case 'pkttype':
      return { field: 'packet-type' };
    default:
      throw new Unreadable();
  }
}

function ctSelector(key: string, ofOneDirection: boolean): Selector {
  if (ofOneDirection) throw new Unreadable();
  switch (key) {
    case 'state':
      return { field: 'ct-state', mask: CT_STATE_BITS };
    case 'status':
      return { field: 'ct-status', mask: ALL_BITS };
    case 'mark':
      return { field: 'ct-mark', mask: ALL_BITS };
    case 'direction':
      return { field: 'ct-direction' };
    default:
      throw new Unreadable();
  }
}

function fibSelector(body: unknown): Selector {
  const flags = isObject(body) && Array.isArray(body['flags']) ? body['flags'] : isObject(body) ? [body['flags']] : [];
  if (!isObject(body) || body['result'] !== 'type') throw new Unreadable();
  if (flags.includes('saddr')) return { field: 'src-type' };
  if (flags.includes('daddr')) return { field: 'dst-type' };
  throw new Unreadable();
}

function readPayload(protocol: string, field: string, context: Context): Left {
  const version = (number: 4 | 6): Step[] =>
    context.family === 'ip' || context.family === 'ip6' ? [] : [matches('nfproto', number)];
  const left = (selector: Field | Selector, implied: Step[]): Left => ({
    fields: [typeof selector === 'string' ? { field: selector } : selector],
    implied,
  });
  switch (`${protocol} ${field}`) {
    case 'ip saddr':
      return left('src', version(4));
    case 'ip daddr':
      return left('dst', version(4));
    case 'ip protocol':
      return left('proto', version(4));
    case 'ip length':
      return left('size', version(4));
    case 'ip frag-off':
      return left({ field: 'fragment', mask: 0xffff }, version(4));
    case 'ip6 saddr':
      return left('src', version(6));
    case 'ip6 daddr':
      return left('dst', version(6));
    case 'ip6 nexthdr':
      return left('proto', version(6));
    case 'icmp type':
      return left('icmp-type', [...version(4), matches('proto', 1)]);
    case 'icmp code':
      return left('icmp-code', [...version(4), matches('proto', 1)]);
    // the place of a destination port, printed so after an earlier rule on ICMP
    case 'icmp checksum':
    case 'icmpv6 checksum':
      return left('dport', []);
    case 'icmpv6 type':
      return left('icmp-type', [...version(6), matches('proto', 58)]);
    case 'icmpv6 code':
      return left('icmp-code', [...version(6), matches('proto', 58)]);
    case 'tcp flags':
      return left({ field: 'tcp-flags', mask: 0xff }, [matches('proto', 6)]);
    case 'ether type':
      return left('nfproto', []);
    default:
      break;
  }
  const number = TRANSPORT[protocol];
  if ((number !== undefined || protocol === 'th') && (field === 'sport' || field === 'dport')) {
    return left(field, number === undefined ? [] : [matches('proto', number)]);
  }
  throw new Unreadable();
}

function readComparison(fields: readonly Selector[], op: unknown, right: unknown, context: Context): Test {
  const [selector] = fields;
  if (selector === undefined) throw new Unreadable();
  const bits = fields.length === 1 && BIT_FIELDS.has(selector.field);
  switch (op) {
    case '==':
    case '!=':
      return { fields, rows: readRows(fields, right, context), negated: op === '!=' };
    case 'in':
    case '!': {
      if (!bits) return { fields, rows: readRows(fields, right, context), negated: op === '!' };
      const mask = readBits(selector.field, right) & (selector.mask ?? ALL_BITS);
      return { fields: [{ field: selector.field, mask: mask >>> 0 }], rows: [[[1, ALL_BITS]]], negated: op === '!' };
    }
    case '>=':
    case '<':
      return { fields, rows: [[[readSpan(selector.field, right)[0], anything(selector.field)[1]]]], negated: op === '<' };
    case '<=':
    case '>':
      return { fields, rows: [[[anything(selector.field)[0], readSpan(selector.field, right)[0]]]], negated: op === '>' };
    default:
      throw new Unreadable();
  }
}

const TEXT_FIELDS: ReadonlySet<Field> = new Set([
  'iif',
  'oif',
  'src',
  'dst',
  'ct-direction',
  'src-type',
  'dst-type',
  'packet-type',
  'bridge-port-in',
  'bridge-port-out',
] as const);

function anything(field: Field): Span {
  return TEXT_FIELDS.has(field) ? ['', '\uffff'] : [0, ALL_BITS];
}

function readRows(fields: readonly Selector[], right: unknown, context: Context): Span[][] {
  if (typeof right === 'string' && right.startsWith('@')) {
    const elements = context.set(right.slice(1));
    if (elements === undefined) throw new Unreadable();
    return elements.map((element) => readRow(fields, element));
  }
  if (isObject(right) && Array.isArray(right['set'])) return right['set'].map((element) => readRow(fields, element));
  return [readRow(fields, right)];
}

/** One element of a set or map: plain, wrapped with its comment and timeout, or joined of several fields. */
function readRow(fields: readonly Selector[], element: unknown): Span[] {
  const wrapped = isObject(element) ? element['elem'] : undefined;
  if (isObject(wrapped)) return readRow(fields, wrapped['val']);
  if (element === '*') return fields.map(({ field }) => anything(field));
  const parts = isObject(element) && Array.isArray(element['concat']) ? element['concat'] : [element];
  if (parts.length !== fields.length) throw new Unreadable();
  return fields.map(({ field }, index) => readSpan(field, parts[index]));
}

function readSpan(field: Field, value: unknown): Span {
  if (isObject(value)) {
    const { prefix, range } = value;
    if (isObject(prefix) && (field === 'src' || field === 'dst'))
      return prefixSpan(`${prefix['addr']}/${prefix['len']}`) ?? unreadable();
    if (Array.isArray(range) && range.length === 2) return [readSpan(field, range[0])[0], readSpan(field, range[1])[1]];
  }
  if (BIT_FIELDS.has(field)) {
    const bits = readBits(field, value);
    return [bits, bits];
  }
  if (field === 'src' || field === 'dst') {
    if (typeof value !== 'string' || !/^[\da-f.:]+$/i.test(value)) throw new Unreadable();
    return [addressKey(value), addressKey(value)];
  }
  if (TEXT_FIELDS.has(field)) {
    if (typeof value !== 'string') throw new Unreadable();
    return readName(field, value);
  }
  const number = typeof value === 'number' ? value : NUMBERS[field]?.[String(value)];
  return number === undefined ? unreadable() : [number, number];
}

function unreadable(): never {
  throw new Unreadable();
}

function readName(field: Field, value: string): Span {
  if (field === 'packet-type') return value === 'host' ? ['unicast', 'unicast'] : [value, value];
  const name = value.replace(/\\\*$/, '*');
  return value.endsWith('*') && name === value ? [name.slice(0, -1), `${name.slice(0, -1)}\uffff`] : [name, name];
}

const ICMP_CODES = {
  'net-unreachable': 0,
  'host-unreachable': 1,
  'prot-unreachable': 2,
  'port-unreachable': 3,
  'frag-needed': 4,
  'net-prohibited': 9,
  'host-prohibited': 10,
  'admin-prohibited': 13,
};

/** The names that nft prints for numbers. */
const NUMBERS: Readonly<Partial<Record<Field, Readonly<Record<string, number>>>>> = {
  proto: PROTOCOLS,
  nfproto: { ipv4: 4, ip: 4, ipv6: 6, ip6: 6, arp: 0x0806, vlan: 0x8100, '8021q': 0x8100, '8021ad': 0x88a8 },
  'icmp-type': { ...ICMPV6_TYPES, ...ICMP_TYPES },
  'icmp-code': ICMP_CODES,
};

const BIT_NAMES: Readonly<Partial<Record<Field, Readonly<Record<string, number>>>>> = {
  'ct-state': CT_STATE,
  'ct-status': CT_STATUS,
  'tcp-flags': TCP_FLAGS,
};

/** A number, a flag's name, or several of them joined. */
function readBits(field: Field, value: unknown): number {
  if (typeof value === 'number') return value;
  const several = Array.isArray(value) ? value : isObject(value) && Array.isArray(value['|']) ? value['|'] : null;
  if (several !== null) return several.reduce<number>((sum, part) => (sum | readBits(field, part)) >>> 0, 0);
  return BIT_NAMES[field]?.[String(value)] ?? unreadable();
}

function readVerdictMap(body: unknown, context: Context): Step[] {
  if (!isObject(body)) throw new Unreadable();
  const { key, data } = body;
  const elements =
    typeof data === 'string'
      ? context.set(data.replace(/^@/, ''))
      : isObject(data) && Array.isArray(data['set'])
        ? data['set']
        : undefined;
  if (elements === undefined) throw new Unreadable();
  const random = isRandom(key);
  const { fields, implied } = random ? { fields: [], implied: [] } : readLeft(key, context);
  const entries = elements.map((element) => {
    if (!Array.isArray(element) || !isObject(element[1])) throw new Unreadable();
    return { row: random ? [] : readRow(fields, element[0]), verdict: readVerdict(element[1]), rest: element[0] === '*' };
  });
  // the entry for everything else comes last, wherever nft prints it
  const ordered = [...entries.filter((entry) => !entry.rest), ...entries.filter((entry) => entry.rest)];
  return [
    ...implied,
    ...(isLimitedToInterface(key) ? [{ do: 'unknown', why: ruleText([{ vmap: body }]) } as const] : []),
    { do: 'map', key: random ? null : fields, entries: ordered.map(({ row, verdict }) => ({ row, verdict })) },
  ];
}

function readMangle(body: unknown): Step[] {
  if (!isObject(body)) throw new Unreadable();
  const { key, value } = body;
  if (isObject(key) && 'payload' in key) {
    return [{ do: 'verdict', verdict: { kind: 'unknown', why: ruleText([{ mangle: body }]) } }];
  }
  const field = markField(key);
  return field === null ? [] : [readMark(field, value)];
}

function markField(expression: unknown): 'mark' | 'ct-mark' | null {
  if (!isObject(expression)) return null;
  const meta = expression['meta'];
  const ct = expression['ct'];
  if (isObject(meta) && meta['key'] === 'mark') return 'mark';
  return isObject(ct) && ct['key'] === 'mark' ? 'ct-mark' : null;
}

/** Every operation with a constant is `(from & and) ^ xor`; anything else leaves a mark that cannot be told. */
function readMark(field: 'mark' | 'ct-mark', value: unknown): SetMark {
  if (typeof value === 'number') return { do: 'set-mark', field, from: field, and: 0, xor: value };
  const source = markField(value);
  if (source !== null) return { do: 'set-mark', field, from: source, and: ALL_BITS, xor: 0 };
  const [operator = '', operands] = isObject(value) ? (Object.entries(value)[0] ?? []) : [];
  const [inner, constant] = Array.isArray(operands) ? operands : [];
  if (typeof constant !== 'number' || !['&', '|', '^'].includes(operator))
    return { do: 'set-mark', field, from: null, and: 0, xor: 0 };
  const { from, and, xor } = readMark(field, inner);
  switch (operator) {
    case '&':
      return { do: 'set-mark', field, from, and: (and & constant) >>> 0, xor: (xor & constant) >>> 0 };
    case '|':
      return { do: 'set-mark', field, from, and: (and & ~constant) >>> 0, xor: ((xor & ~constant) | constant) >>> 0 };
    default:
      return { do: 'set-mark', field, from, and, xor: (xor ^ constant) >>> 0 };
  }
}
