import { z } from 'zod';
import { type Expression, isObject, ruleText } from '../../../model/nft-text.ts';
import { type Base, type Chain, HOOKS, type Rule, type SetMark, type Step, type Table, type Verdict } from './ast.ts';
import { PASSING_TARGETS } from './iptables-save.ts';
import { ALL_BITS, type Context, matches, readComparison, readLeft, readRow, UNREADABLE } from './nft-compare.ts';

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

/** The steps of one statement; what cannot be read is a match, or a verdict, that cannot be judged. */
function stepsOf(statement: unknown, context: Context): Step[] {
  try {
    return readStatement(statement, context);
  } catch (error) {
    if (error !== UNREADABLE) throw error;
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
  if (!isObject(statement)) throw UNREADABLE;
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
      return [limited(body, statement)];
    case 'set':
    case 'map':
    case 'meter':
      // what is kept for each element ends the rule as it would by itself
      return (isObject(body) ? [body['stmt'] ?? []].flat() : []).flatMap((kept) =>
        isObject(kept) && 'limit' in kept ? [limited(kept['limit'], statement)] : readStatement(kept, context),
      );
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
      throw UNREADABLE;
  }
}

/** Up to a rate holds for some packets by design; over it holds for none as long as there are few. */
function limited(limit: unknown, statement: unknown): Step {
  const why = ruleText([statement]);
  return isObject(limit) && limit['inv'] === true ? { do: 'unknown', why } : { do: 'some', why };
}

/** An iptables extension inside a table that only nft can print: its name is known, its parameters are not. */
function readXt(body: unknown): Step[] {
  if (!isObject(body)) throw UNREADABLE;
  const { type, name } = body;
  if (name === 'comment' || type === 'watcher') return [];
  if (type !== 'target' || typeof name !== 'string') throw UNREADABLE;
  switch (name) {
    case 'REJECT':
      return [{ do: 'verdict', verdict: { kind: 'reject', with: 'unknown' } }];
    case 'MARK':
      return [{ do: 'set-mark', field: 'mark', from: null, and: 0, xor: 0 }];
    case 'DNAT':
    case 'REDIRECT':
      return [{ do: 'translate', what: 'destination' }];
    case 'SNAT':
    case 'MASQUERADE':
      return [{ do: 'translate', what: 'source' }];
    default:
      return PASSING_TARGETS.has(name) ? [] : [{ do: 'verdict', verdict: { kind: 'unknown', why: `xt target ${name}` } }];
  }
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
      if (!isObject(body) || typeof body['target'] !== 'string') throw UNREADABLE;
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
        with: typeof type !== 'string' ? 'port-unreachable' : typeof expr === 'string' ? `${type} ${expr}` : type,
      },
    },
  ];
}

function readMatch(body: unknown, context: Context): Step[] {
  if (!isObject(body)) throw UNREADABLE;
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

function readVerdictMap(body: unknown, context: Context): Step[] {
  if (!isObject(body)) throw UNREADABLE;
  const { key, data } = body;
  const elements =
    typeof data === 'string'
      ? context.set(data.replace(/^@/, ''))
      : isObject(data) && Array.isArray(data['set'])
        ? data['set']
        : undefined;
  if (elements === undefined) throw UNREADABLE;
  const random = isRandom(key);
  const { fields, implied } = random ? { fields: [], implied: [] } : readLeft(key, context);
  const entries = elements.map((element) => {
    if (!Array.isArray(element) || !isObject(element[1])) throw UNREADABLE;
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
  if (!isObject(body)) throw UNREADABLE;
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
