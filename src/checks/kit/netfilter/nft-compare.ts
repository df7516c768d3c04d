import { isObject } from '../../../model/nft-text.ts';
import { addressKey, prefixSpan } from './address.ts';
import {
  CT_STATE,
  CT_STATUS,
  type Field,
  ICMP_TYPES,
  ICMPV6_TYPES,
  PROTOCOLS,
  type Selector,
  type Span,
  type Step,
  type Table,
  TCP_FLAGS,
  type Test,
  type Value,
} from './ast.ts';

/*
 * The comparisons of `nft -j`: what the left side reads from a packet, and the values on the right.
 */

/**
 * Thrown at a part of a rule that this reader does not understand; the rule then holds a match that cannot be judged. Always
 * the same error: rulesets have hundreds of such parts, and every new error would record its stack.
 */
export const UNREADABLE = new Error('not understood');

/** What the expressions of one table refer to by name. */
export type Context = {
  readonly family: Table['family'];
  readonly set: (name: string) => readonly unknown[] | undefined;
  readonly counter: (name: string) => number | undefined;
};

/** The comparison that asks for exactly one value. */
export function matches(field: Field, value: Value): Step {
  return { do: 'match', test: { fields: [{ field }], rows: [[[value, value]]], negated: false } };
}

/** What the left side of a comparison reads, and what nft leaves unsaid: the protocol that has such a field. */
type Left = { readonly fields: readonly Selector[]; readonly implied: readonly Step[] };

const TRANSPORT: Readonly<Record<string, number>> = { tcp: 6, udp: 17, udplite: 136, sctp: 132, dccp: 33 };

/** Reads the left side of a comparison or the key of a map. Throws `UNREADABLE`. */
export function readLeft(expression: unknown, context: Context): Left {
  if (!isObject(expression)) throw UNREADABLE;
  const [kind = '', body] = Object.entries(expression)[0] ?? [];
  switch (kind) {
    case 'concat': {
      if (!Array.isArray(body)) throw UNREADABLE;
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
      if (!Array.isArray(body)) throw UNREADABLE;
      const { fields, implied } = readLeft(body[0], context);
      const [selector] = fields;
      if (selector === undefined || fields.length > 1 || !BIT_FIELDS.has(selector.field)) throw UNREADABLE;
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
      throw UNREADABLE;
  }
}

function isNoProtocol(step: Step): boolean {
  return !(step.do === 'match' && step.test.fields[0]?.field === 'proto');
}

function stringOf(body: unknown, name: string): string {
  const value = isObject(body) ? body[name] : undefined;
  if (typeof value !== 'string') throw UNREADABLE;
  return value;
}

/** A mask that leaves a mark as it is. */
export const ALL_BITS = 0xffffffff;
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
      throw UNREADABLE;
  }
}

function ctSelector(key: string, ofOneDirection: boolean): Selector {
  if (ofOneDirection) throw UNREADABLE;
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
      throw UNREADABLE;
  }
}

function fibSelector(body: unknown): Selector {
  const flags = isObject(body) && Array.isArray(body['flags']) ? body['flags'] : isObject(body) ? [body['flags']] : [];
  if (!isObject(body) || body['result'] !== 'type') throw UNREADABLE;
  if (flags.includes('saddr')) return { field: 'src-type' };
  if (flags.includes('daddr')) return { field: 'dst-type' };
  throw UNREADABLE;
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
  throw UNREADABLE;
}

/** Reads the operator and the right side of a comparison. Throws `UNREADABLE`. */
export function readComparison(fields: readonly Selector[], op: unknown, right: unknown, context: Context): Test {
  const [selector] = fields;
  if (selector === undefined) throw UNREADABLE;
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
      throw UNREADABLE;
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
    if (elements === undefined) throw UNREADABLE;
    return elements.map((element) => readRow(fields, element));
  }
  if (isObject(right) && Array.isArray(right['set'])) return right['set'].map((element) => readRow(fields, element));
  return [readRow(fields, right)];
}

/** One element of a set or map: plain, wrapped with its comment and timeout, or joined of several fields. */
export function readRow(fields: readonly Selector[], element: unknown): Span[] {
  const wrapped = isObject(element) ? element['elem'] : undefined;
  if (isObject(wrapped)) return readRow(fields, wrapped['val']);
  if (element === '*') return fields.map(({ field }) => anything(field));
  const parts = isObject(element) && Array.isArray(element['concat']) ? element['concat'] : [element];
  if (parts.length !== fields.length) throw UNREADABLE;
  return fields.map(({ field }, index) => readSpan(field, parts[index]));
}

function readSpan(field: Field, value: unknown): Span {
  if (isObject(value)) {
    const { prefix, range } = value;
    if (isObject(prefix) && (field === 'src' || field === 'dst')) {
      return prefixSpan(`${stringOf(prefix, 'addr')}/${Number(prefix['len'])}`) ?? unreadable();
    }
    if (Array.isArray(range) && range.length === 2) return [readSpan(field, range[0])[0], readSpan(field, range[1])[1]];
  }
  if (BIT_FIELDS.has(field)) {
    const bits = readBits(field, value);
    return [bits, bits];
  }
  if (field === 'src' || field === 'dst') {
    if (typeof value !== 'string' || !/^[\da-f.:]+$/i.test(value)) throw UNREADABLE;
    return [addressKey(value), addressKey(value)];
  }
  if (TEXT_FIELDS.has(field)) {
    if (typeof value !== 'string') throw UNREADABLE;
    return readName(field, value);
  }
  const number = typeof value === 'number' ? value : NUMBERS[field]?.[String(value)];
  return number === undefined ? unreadable() : [number, number];
}

function unreadable(): never {
  throw UNREADABLE;
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
