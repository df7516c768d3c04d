import { addressKey, prefixSpan } from './address.ts';
import {
  type Base,
  type Chain,
  CT_STATE,
  CT_STATUS,
  type Field,
  type Hook,
  ICMP_TYPES,
  PROTOCOLS,
  type Rule,
  type Selector,
  type Span,
  type Step,
  type System,
  type Table,
  TCP_FLAGS,
  type Test,
  type Verdict,
} from './ast.ts';

/** Tables of one iptables system; `incompatible` names those that iptables-nft-save refuses to print. */
export type IptablesSave = { readonly tables: readonly Table[]; readonly incompatible: readonly string[] };

/** Where the built-in chains of each table hang. Source: include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities. */
const BUILT_IN: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  raw: { PREROUTING: -300, OUTPUT: -300 },
  mangle: { PREROUTING: -150, INPUT: -150, FORWARD: -150, OUTPUT: -150, POSTROUTING: -150 },
  nat: { PREROUTING: -100, INPUT: 100, OUTPUT: -100, POSTROUTING: 100 },
  filter: { INPUT: 0, FORWARD: 0, OUTPUT: 0 },
  security: { INPUT: 50, FORWARD: 50, OUTPUT: 50 },
};

const ALL_BITS = 0xffffffff;
const NOT_ZERO: readonly (readonly Span[])[] = [[[1, ALL_BITS]]];

/**
 * Reads the output of `iptables-legacy-save -c` or `iptables-nft-save -c` (IPv4; the counters may be missing). Throws
 * for output that is cut off or no iptables-save output.
 */
export function parseIptablesSave(stdout: string, system: 'legacy' | 'iptables-nft'): IptablesSave {
  const tables: Table[] = [];
  const incompatible: string[] = [];
  let open: OpenTable | null = null;
  for (const [index, line] of stdout.split('\n').entries()) {
    const refused = /^# Table `(.+)' is incompatible/.exec(line);
    if (refused?.[1] !== undefined) incompatible.push(refused[1]);
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('*')) {
      if (open !== null) throw new Error(`table ${open.name} has no COMMIT`);
      open = { name: line.slice(1), chains: new Map() };
    } else if (open === null) {
      throw new Error(`line ${index + 1} is outside every table`);
    } else if (line === 'COMMIT') {
      tables.push(closeTable(open, system));
      open = null;
    } else if (line.startsWith(':')) {
      addChain(open, line);
    } else {
      addRule(open, line, index + 1);
    }
  }
  if (open !== null) throw new Error(`table ${open.name} has no COMMIT`);
  return { tables, incompatible };
}

type OpenTable = { readonly name: string; readonly chains: Map<string, { base: Base | null; rules: Rule[] }> };

function closeTable(table: OpenTable, system: System): Table {
  const chains: Chain[] = [...table.chains].map(([name, chain]) => ({ name, ...chain }));
  return { system, family: 'ip', name: table.name, active: true, chains };
}

function addChain(table: OpenTable, line: string): void {
  const [, name, policy, packets] = /^:(\S+) (\S+)(?: \[(\d+):\d+\])?/.exec(line) ?? [];
  if (name === undefined || policy === undefined) throw new Error(`not a chain: ${line}`);
  const priority = policy === '-' ? undefined : BUILT_IN[table.name]?.[name];
  const base: Base | null =
    priority === undefined
      ? null
      : {
          hook: name.toLowerCase() as Hook,
          type: table.name === 'nat' ? 'nat' : 'filter',
          priority,
          policy: policy === 'DROP' ? 'drop' : 'accept',
          ...(packets === undefined ? {} : { policyPackets: Number(packets) }),
          devices: null,
        };
  table.chains.set(name, { base, rules: [] });
}

function addRule(table: OpenTable, line: string, lineNumber: number): void {
  const [, packets, text] = /^(?:\[(\d+):\d+\] )?(-A .*)$/.exec(line) ?? [];
  if (text === undefined) throw new Error(`line ${lineNumber} is no rule: ${line}`);
  const tokens = tokenise(text);
  const chain = table.chains.get(tokens[1]?.text ?? '');
  if (chain === undefined) throw new Error(`line ${lineNumber} is a rule of a chain that does not exist`);
  chain.rules.push({
    text,
    number: chain.rules.length + 1,
    ...(packets === undefined ? {} : { packets: Number(packets) }),
    steps: stepsOf(optionsOf(tokens.slice(2)), table.chains),
  });
}

type Token = { readonly text: string; readonly quoted: boolean };

function tokenise(text: string): Token[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? { text: plain ?? '', quoted: false } : { text: quoted.replace(/\\(.)/g, '$1'), quoted: true },
  );
}

/** One option of a rule: which match or target it belongs to (`''` for the general ones), and its arguments. */
type Option = { readonly of: string; readonly name: string; readonly negated: boolean; readonly args: readonly string[] };

/** Options with one argument, which may look like an option itself because iptables-save does not quote `-`. */
const FREE_TEXT = new Set(['--comment', '--log-prefix', '--nflog-prefix', '--ulog-prefix', '--string', '--hex-string']);

function optionsOf(tokens: readonly Token[]): Option[] {
  const options: Option[] = [];
  let of = '';
  let negated = false;
  for (let at = 0; at < tokens.length; ) {
    const name = tokens[at]?.text ?? '';
    at += 1;
    if (name === '!') {
      negated = true;
      continue;
    }
    const args: string[] = [];
    for (let next = tokens[at]; next !== undefined; next = tokens[at]) {
      const free = FREE_TEXT.has(name) && args.length === 0;
      if (!free && !next.quoted && (next.text === '!' || next.text.startsWith('-'))) break;
      args.push(next.text);
      at += 1;
      if (FREE_TEXT.has(name)) break;
    }
    if (name === '-m' || name === '-j' || name === '-g') of = args[0] ?? '';
    options.push({ of: name.length === 2 && !'mjg'.includes(name[1] ?? '') ? '' : of, name, negated, args });
    negated = false;
  }
  return options;
}

function stepsOf(options: readonly Option[], chains: ReadonlyMap<string, unknown>): Step[] {
  const steps: Step[] = [];
  const target = options.findIndex((option) => option.name === '-j' || option.name === '-g');
  const matches = target < 0 ? options : options.slice(0, target);
  for (const option of matches) steps.push(...matchSteps(option, matches));
  if (target >= 0) steps.push(...targetSteps(options[target], options.slice(target + 1), chains));
  return steps;
}

/** What each match module compares; a module that is not here cannot be judged. */
function matchSteps(option: Option, all: readonly Option[]): Step[] {
  const { name, negated, args } = option;
  const first = args[0] ?? '';
  switch (option.of === '' ? name : `${option.of} ${name}`) {
    case '-s':
      return [addresses('src', first, negated)];
    case '-d':
      return [addresses('dst', first, negated)];
    case '-i':
      return [match('iif', [interfaceSpan(first)], negated)];
    case '-o':
      return [match('oif', [interfaceSpan(first)], negated)];
    case '-p':
      return [protocol(first, negated)];
    case '-f':
      return [match({ field: 'fragment', mask: 0x1fff }, [[1, 0x1fff]], negated)];
    case 'tcp --sport':
    case 'udp --sport':
    case 'udplite --sport':
    case 'sctp --sport':
    case 'dccp --sport':
      return [match('sport', [numberSpan(first)], negated)];
    case 'tcp --dport':
    case 'udp --dport':
    case 'udplite --dport':
    case 'sctp --dport':
    case 'dccp --dport':
      return [match('dport', [numberSpan(first)], negated)];
    case 'tcp --tcp-flags':
      return [tcpFlags(first, args[1] ?? '', negated)];
    case 'icmp --icmp-type':
      return icmpType(first, negated);
    case 'multiport --sports':
    case 'multiport --source-ports':
      return [match('sport', first.split(',').map(numberSpan), negated)];
    case 'multiport --dports':
    case 'multiport --destination-ports':
      return [match('dport', first.split(',').map(numberSpan), negated)];
    case 'multiport --ports': {
      const spans = first.split(',').map(numberSpan);
      return [{ do: 'any', tests: [testOf({ field: 'sport' }, spans), testOf({ field: 'dport' }, spans)], negated }];
    }
    case 'conntrack --ctstate':
    case 'state --state':
      return [bits('ct-state', first, CT_STATE, negated)];
    case 'conntrack --ctstatus':
      return first === 'NONE' ? [cannot(option)] : [bits('ct-status', first, CT_STATUS, negated)];
    case 'conntrack --ctdir':
      return [match('ct-direction', [[first.toLowerCase(), first.toLowerCase()]], negated)];
    case 'mark --mark':
      return [markTest('mark', first, negated)];
    case 'connmark --mark':
      return [markTest('ct-mark', first, negated)];
    case 'iprange --src-range':
      return [match('src', [addressRange(first)], negated)];
    case 'iprange --dst-range':
      return [match('dst', [addressRange(first)], negated)];
    case 'addrtype --src-type':
      return addressType('src-type', first, negated, all);
    case 'addrtype --dst-type':
      return addressType('dst-type', first, negated, all);
    case 'length --length':
      return [match('size', [numberSpan(first)], negated)];
    case 'pkttype --pkt-type':
      return [match('packet-type', [[first, first]], negated)];
    case 'physdev --physdev-is-bridged':
      return [match('bridged', [[1, 1]], negated)];
    case 'physdev --physdev-in':
      return [match('bridge-port-in', [interfaceSpan(first)], negated)];
    case 'physdev --physdev-out':
      return [match('bridge-port-out', [interfaceSpan(first)], negated)];
    case 'physdev --physdev-is-in':
      return [match('bridge-port-in', [ANY_NAME], negated)];
    case 'physdev --physdev-is-out':
      return [match('bridge-port-out', [ANY_NAME], negated)];
    case 'addrtype --limit-iface-in':
    case 'addrtype --limit-iface-out':
      return [];
    default:
      return moduleSteps(option, all);
  }
}

/** Modules that count or compare nothing, modules that let only some packets through, and all that are unknown. */
function moduleSteps(option: Option, all: readonly Option[]): Step[] {
  switch (option.of) {
    case 'comment':
    case 'nfacct':
      return [];
    case 'limit':
    case 'hashlimit':
    case 'statistic':
      if (option.name !== '-m') return [];
      // over a rate: none, as long as there are few
      return all.some(({ name }) => name === '--hashlimit-above')
        ? [{ do: 'unknown', why: '-m hashlimit --hashlimit-above' }]
        : [{ do: 'some', why: `-m ${option.of}` }];
    case 'tcp':
    case 'udp':
    case 'udplite':
    case 'sctp':
    case 'dccp':
    case 'icmp':
    case 'multiport':
    case 'conntrack':
    case 'state':
    case 'mark':
    case 'connmark':
    case 'iprange':
    case 'addrtype':
    case 'length':
    case 'pkttype':
    case 'physdev':
      return option.name === '-m' ? [] : [cannot(option)];
    default: {
      const whole = all.filter((other) => other.of === option.of && other.name !== '-m');
      return option.name === '-m' ? [{ do: 'unknown', why: `-m ${option.of} ${whole.map(optionText).join(' ')}`.trim() }] : [];
    }
  }
}

function optionText(option: Option): string {
  return [...(option.negated ? ['!'] : []), option.name, ...option.args].join(' ');
}

function cannot(option: Option): Step {
  return { do: 'unknown', why: `${option.of === '' ? '' : `-m ${option.of} `}${optionText(option)}` };
}

function testOf(selector: Selector, spans: readonly Span[], negated = false): Test {
  return { fields: [selector], rows: spans.map((span) => [span]), negated };
}

function match(field: Field | Selector, spans: readonly Span[], negated: boolean): Step {
  return { do: 'match', test: testOf(typeof field === 'string' ? { field } : field, spans, negated) };
}

function addresses(field: 'src' | 'dst', prefix: string, negated: boolean): Step {
  const span = prefixSpan(prefix);
  return span === null ? { do: 'unknown', why: `${field} ${prefix}` } : match(field, [span], negated);
}

function addressRange(text: string): Span {
  const [from = '', to = from] = text.split('-', 2);
  return [addressKey(from), addressKey(to)];
}

const ANY_NAME: Span = ['\u0001', '\uffff'];

function interfaceSpan(name: string): Span {
  return name.endsWith('+') ? [name.slice(0, -1), `${name.slice(0, -1)}\uffff`] : [name, name];
}

function numberSpan(text: string): Span {
  const [from = '', to = from] = text.split(':', 2);
  const span: Span = [from === '' ? 0 : Number(from), to === '' ? 65535 : Number(to)];
  if (span.some((value) => !Number.isInteger(value))) throw new Error(`${text} is no number or range`);
  return span;
}

function protocol(name: string, negated: boolean): Step {
  const value = /^\d+$/.test(name) ? Number(name) : PROTOCOLS[name];
  return value === undefined ? { do: 'unknown', why: `-p ${name}` } : match('proto', [[value, value]], negated);
}

const NEVER: Step[] = [{ do: 'any', tests: [], negated: false }];

function icmpType(text: string, negated: boolean): Step[] {
  const [name = '', code] = text.split('/', 2);
  if (name === 'any') return negated ? NEVER : [];
  const type = /^\d+$/.test(name) ? Number(name) : ICMP_TYPES[name];
  if (type === undefined) return [{ do: 'unknown', why: `--icmp-type ${text}` }];
  if (type === 255) return negated ? NEVER : [];
  const row: readonly Span[] =
    code === undefined
      ? [[type, type]]
      : [
          [type, type],
          [Number(code), Number(code)],
        ];
  const fields: readonly Selector[] =
    code === undefined ? [{ field: 'icmp-type' }] : [{ field: 'icmp-type' }, { field: 'icmp-code' }];
  return [{ do: 'match', test: { fields, rows: [row], negated } }];
}

function flagBits(list: string, names: Readonly<Record<string, number>>): number {
  return list
    .split(',')
    .map((name) => names[name.toLowerCase()] ?? Number.NaN)
    .reduce((sum, bit) => sum + bit, 0);
}

function bits(field: 'ct-state' | 'ct-status', list: string, names: Readonly<Record<string, number>>, negated: boolean): Step {
  const mask = flagBits(list.replaceAll('SEEN_REPLY', 'seen-reply'), names);
  return Number.isNaN(mask)
    ? { do: 'unknown', why: `${field} ${list}` }
    : { do: 'match', test: { fields: [{ field, mask }], rows: NOT_ZERO, negated } };
}

function tcpFlags(maskText: string, valueText: string, negated: boolean): Step {
  const read = (list: string): number =>
    list === 'NONE' ? 0 : flagBits(list === 'ALL' ? 'fin,syn,rst,psh,ack,urg' : list, TCP_FLAGS);
  const [mask, value] = [read(maskText), read(valueText)];
  return Number.isNaN(mask + value)
    ? { do: 'unknown', why: `--tcp-flags ${maskText} ${valueText}` }
    : match({ field: 'tcp-flags', mask }, [[value, value]], negated);
}

function markTest(field: 'mark' | 'ct-mark', text: string, negated: boolean): Step {
  const [value, mask] = maskedMark(text);
  return match({ field, mask }, [[value, value]], negated);
}

function maskedMark(text: string): readonly [value: number, mask: number] {
  const [value, mask = ALL_BITS] = text.split('/', 2).map(Number);
  if (value === undefined || Number.isNaN(value + mask)) throw new Error(`${text} is no mark`);
  return [value, mask];
}

function addressType(field: 'src-type' | 'dst-type', list: string, negated: boolean, all: readonly Option[]): Step[] {
  const types = list.split(',').map((type) => type.toLowerCase());
  const step = match(
    field,
    types.map((type): Span => [type, type]),
    negated,
  );
  // limited to one interface, LOCAL means an address of that interface: only "not local at all" can be told
  const limited = all.some((option) => option.of === 'addrtype' && option.name.startsWith('--limit-iface'));
  return limited && types.includes('local')
    ? [...(negated ? [] : [step]), { do: 'unknown', why: '-m addrtype --limit-iface' }]
    : [step];
}

/** Targets after which a packet goes on to the next rule, unchanged in all that other rules compare. */
export const PASSING_TARGETS: ReadonlySet<string> = new Set([
  'AUDIT',
  'CHECKSUM',
  'CLASSIFY',
  'CONNSECMARK',
  'DSCP',
  'ECN',
  'HL',
  'IDLETIMER',
  'LED',
  'LOG',
  'NFLOG',
  'RATEEST',
  'SECMARK',
  'SET',
  'TCPMSS',
  'TCPOPTSTRIP',
  'TEE',
  'TOS',
  'TRACE',
  'TTL',
  'ULOG',
]);

function targetSteps(option: Option | undefined, options: readonly Option[], chains: ReadonlyMap<string, unknown>): Step[] {
  const target = option?.args[0] ?? '';
  if (option?.name === '-g') return [verdict({ kind: 'goto', chain: target })];
  if (chains.has(target)) return [verdict({ kind: 'jump', chain: target })];
  const value = (name: string): string | undefined => options.find((candidate) => candidate.name === name)?.args[0];
  switch (target) {
    case 'ACCEPT':
      return [verdict({ kind: 'accept' })];
    case 'DROP':
    case 'TARPIT':
      return [verdict({ kind: 'drop' })];
    case 'REJECT':
      return [verdict({ kind: 'reject', with: value('--reject-with') ?? 'icmp-port-unreachable' })];
    case 'RETURN':
      return [verdict({ kind: 'return' })];
    case 'MARK':
      return [setMark('mark', value('--set-xmark'))];
    case 'CONNMARK':
      return [connmark(options)];
    case 'NOTRACK':
      return [{ do: 'notrack' }];
    case 'CT':
      return options.some((candidate) => candidate.name === '--notrack') ? [{ do: 'notrack' }] : [];
    case 'DNAT':
    case 'REDIRECT':
      return [{ do: 'translate', what: 'destination' }];
    case 'SNAT':
    case 'MASQUERADE':
      return [{ do: 'translate', what: 'source' }];
    case 'NETMAP':
      return [{ do: 'translate', what: 'destination' }];
    default:
      return PASSING_TARGETS.has(target) ? [] : [verdict({ kind: 'unknown', why: `-j ${target}` })];
  }
}

function verdict(of: Verdict): Step {
  return { do: 'verdict', verdict: of };
}

function setMark(field: 'mark' | 'ct-mark', text: string | undefined): Step {
  if (text === undefined) return { do: 'set-mark', field, from: null, and: 0, xor: 0 };
  const [value, mask] = maskedMark(text);
  return { do: 'set-mark', field, from: field, and: ~mask >>> 0, xor: value };
}

function connmark(options: readonly Option[]): Step {
  const has = (name: string): boolean => options.some((option) => option.name === name);
  const masks = options.filter((option) => option.name.endsWith('mask'));
  const whole = masks.every((option) => Number(option.args[0]) === ALL_BITS);
  if (has('--save-mark')) return { do: 'set-mark', field: 'ct-mark', from: whole ? 'mark' : null, and: ALL_BITS, xor: 0 };
  if (has('--restore-mark')) return { do: 'set-mark', field: 'mark', from: whole ? 'ct-mark' : null, and: ALL_BITS, xor: 0 };
  return setMark('ct-mark', options.find((option) => option.name === '--set-xmark')?.args[0]);
}
