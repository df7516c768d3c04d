import { addressKey } from './address.ts';
import type { Chain, Family, Rule, RuleRef, SetMark, Step, Table, Verdict } from './ast.ts';
import { judge, judgeAny, judgeRow, type Truth, type View } from './match.ts';
import {
  type Bits,
  type Changes,
  CONNTRACK_PRIORITY,
  createSight,
  type FilterPacket,
  type HookAt,
  type Sight,
  UNKNOWN_BITS,
  unchanged,
} from './packet.ts';
import { reachOf } from './reach.ts';

/**
 * What becomes of a packet at a hook.
 *
 * `drop` and `reject` are certain for at least some of the packets (`partial`: not for all of them, by a limit or by
 * chance). `unknown` means that a match or target which cannot be judged decides. `rule` is the rule (or policy) that eats
 * the packet; for `unknown`, the rule that cannot be judged, while `mayEat` is the one that would eat the packet. `path`
 * lists the chains from the base chain to the rule that eats, or would eat, the packet. `after` is the packet's state for
 * the next hook, null when nothing goes on.
 */
export type Outcome = {
  readonly verdict: 'accept' | 'drop' | 'reject' | 'unknown';
  readonly rule: RuleRef | null;
  readonly mayEat: RuleRef | null;
  readonly partial: boolean;
  readonly path: readonly string[];
  readonly after: Changes | null;
};

export type Walk = (hook: HookAt, packet: FilterPacket, before?: Changes) => Outcome;

/** An accept that changed nothing but what `after` says. */
function accepted(after: Changes | null): Outcome {
  return { verdict: 'accept', rule: null, mayEat: null, partial: false, path: [], after };
}

/**
 * Prepares tables of all three systems for walking. The function that it returns says what becomes of a packet at a hook:
 * all base chains there, by priority; an accept ends only its own chain, a drop everything. A match that it cannot judge
 * never becomes an accept or a drop by itself. Source: nf_tables and x_tables of Linux.
 */
export function createWalk(tables: readonly Table[]): Walk {
  const bases = tables.flatMap((table) => basesOf(table)).toSorted((a, b) => a.priority - b.priority);
  const at = new Map<string, readonly BaseChain[]>();
  const keys = new Map<string, string>();
  const keyOf = (ip: string): string => {
    const key = keys.get(ip) ?? addressKey(ip);
    keys.set(ip, key);
    return key;
  };
  return (hook, packet, before = unchanged(packet)) => {
    const sight = createSight(packet, hook, keyOf);
    const place = `${hook} ${sight.version}`;
    const here = at.get(place) ?? basesAt(bases, hook, sight.version);
    at.set(place, here);
    return here.length === 0 ? accepted(before) : walkHook(here, hook, packet, sight, before);
  };
}

function basesAt(bases: readonly BaseChain[], hook: HookAt, version: Sight['version']): readonly BaseChain[] {
  const families = familiesAt(hook, version);
  const name = hook.replace('bridge-', '');
  return bases.filter(({ chain, table }) => chain.base?.hook === name && families.includes(table.family));
}

/** A base chain with what is needed on the way through it. */
type BaseChain = {
  readonly table: Table;
  readonly chain: Chain;
  readonly chains: ReadonlyMap<string, PreparedChain>;
  readonly priority: number;
};

/** The base chains of a table that can do anything to a packet. */
function basesOf(table: Table): BaseChain[] {
  const chains = new Map(table.chains.map((chain) => [chain.name, prepare(chain)]));
  const reach = reachOf(table);
  return table.chains.flatMap((chain) =>
    chain.base === null || reach.effect(chain) === 'none' ? [] : [{ table, chain, chains, priority: chain.base.priority }],
  );
}

/** A chain; a long one has its rules by the single destination address that they ask for, as kube-proxy's have. */
type PreparedChain = { readonly chain: Chain; readonly candidates: (destination: string | undefined) => readonly Rule[] };

const LONG_CHAIN = 32;

function prepare(chain: Chain): PreparedChain {
  if (chain.rules.length < LONG_CHAIN) return { chain, candidates: () => chain.rules };
  const byDestination = new Map<string, Rule[]>();
  const others: Rule[] = [];
  for (const rule of chain.rules) {
    const destination = onlyDestination(rule);
    if (destination === null) others.push(rule);
    else byDestination.set(destination, [...(byDestination.get(destination) ?? []), rule]);
  }
  const merged = new Map<string, readonly Rule[]>();
  return {
    chain,
    candidates(destination) {
      if (destination === undefined) return chain.rules;
      const own = byDestination.get(destination);
      if (own === undefined) return others;
      const known = merged.get(destination) ?? [...own, ...others].toSorted((a, b) => a.number - b.number);
      merged.set(destination, known);
      return known;
    },
  };
}

function onlyDestination(rule: Rule): string | null {
  for (const step of rule.steps) {
    if (step.do !== 'match' || step.test.negated || step.test.fields.length !== 1 || step.test.rows.length !== 1) continue;
    const [span] = step.test.rows[0] ?? [];
    if (step.test.fields[0]?.field === 'dst' && span !== undefined && span[0] === span[1]) return String(span[0]);
  }
  return null;
}

function familiesAt(hook: HookAt, version: Sight['version']): readonly Family[] {
  if (hook.startsWith('bridge-')) return ['bridge'];
  if (version === 'arp') return hook === 'ingress' || hook === 'egress' ? ['netdev', 'inet'] : ['arp'];
  if (hook === 'ingress' || hook === 'egress') return ['netdev', 'inet'];
  return [version === 4 ? 'ip' : 'ip6', 'inet'];
}

/**
 * Where a packet may be while it is walked: what rules changed, the first rule that could not be judged on a way that
 * ended otherwise, and whether only a part of such packets gets here.
 */
type Branch = { readonly changes: Changes; readonly doubt: RuleRef | null; readonly partial: boolean };

/** One way in which the packet may end. */
type End = Branch & {
  readonly kind: 'accept' | 'drop' | 'reject';
  readonly rule: RuleRef | null;
  readonly path: readonly string[];
};

function walkHook(bases: readonly BaseChain[], hook: HookAt, packet: FilterPacket, sight: Sight, before: Changes): Outcome {
  const ends: End[] = [];
  let live: Branch | null = { changes: before, doubt: null, partial: false };
  for (const base of bases) {
    if (live === null) break;
    // only the first packet of a connection goes through nat chains
    if (base.chain.base?.type === 'nat' && (packet.state !== 'new' || live.changes.untracked === true)) continue;
    const applies = onDevice(base, hook === 'egress' ? packet.oif : packet.iif);
    if (applies === false) continue;
    live = walkBase(base, live, applies, sight, ends);
  }
  return outcomeOf(ends, live);
}

/** Whether a chain of a netdev hook hangs on the device; the output of older nft does not say. */
function onDevice({ chain, table }: BaseChain, device: string | undefined): Truth {
  if (table.active === null) return null;
  if (chain.base?.hook !== 'ingress' && chain.base?.hook !== 'egress') return true;
  if (chain.base.devices === null || device === undefined) return null;
  return chain.base.devices.includes(device);
}

/** Goes through one base chain; drops are added to `ends`, what is accepted comes back. */
function walkBase(base: BaseChain, from: Branch, applies: Truth, sight: Sight, ends: End[]): Branch | null {
  const walker: Walker = { base, sight, ends: [] };
  const policy = base.chain.base?.policy ?? 'accept';
  const start = applies === null ? { ...from, doubt: from.doubt ?? policyRef(base.table, base.chain) } : from;
  const prepared = base.chains.get(base.chain.name);
  const fell = prepared === undefined ? start : walkChain(prepared, start, [], walker);
  if (fell !== null) {
    walker.ends.push({
      ...fell,
      kind: policy,
      rule: policy === 'drop' ? policyRef(base.table, base.chain) : null,
      path: [base.chain.name],
    });
  }
  const drops = walker.ends.filter((end) => end.kind !== 'accept');
  const through = [
    ...walker.ends.filter((end) => end.kind === 'accept'),
    ...(applies === null ? [start] : []),
  ].reduce<Branch | null>((joined, end) => join(joined, end), null);
  if (through === null) {
    // whatever was in doubt, every way through this chain ends in a drop
    const eater = drops.find((end) => end.doubt === from.doubt && end.partial === from.partial) ?? drops.at(-1);
    if (eater !== undefined) ends.push({ ...eater, doubt: from.doubt, partial: from.partial });
    return null;
  }
  ends.push(...drops);
  return drops.length === 0 ? { ...through, doubt: from.doubt, partial: from.partial } : through;
}

function policyRef(table: Table, chain: Chain): RuleRef {
  return {
    system: table.system,
    family: table.family,
    table: table.name,
    chain: chain.name,
    text: table.system === 'nft' ? `policy ${chain.base?.policy}` : `-P ${chain.name} ${chain.base?.policy.toUpperCase()}`,
    policy: true,
    ...(chain.base?.policyPackets === undefined ? {} : { packets: chain.base.policyPackets }),
  };
}

function refOf(table: Table, chain: Chain, rule: Rule): RuleRef {
  return {
    system: table.system,
    family: table.family,
    table: table.name,
    chain: chain.name,
    text: rule.text,
    policy: false,
    number: rule.number,
    ...(rule.handle === undefined ? {} : { handle: rule.handle }),
    ...(rule.packets === undefined ? {} : { packets: rule.packets }),
  };
}

type Walker = { readonly base: BaseChain; readonly sight: Sight; readonly ends: End[] };

/** The kernels' own limit on nested jumps; a loop cannot be loaded. */
const DEEPEST = 64;

/** Goes through one chain. What falls off its end, or returns, comes back joined; null when nothing does. */
function walkChain({ chain, candidates }: PreparedChain, from: Branch, path: readonly string[], walker: Walker): Branch | null {
  if (path.length > DEEPEST) throw new Error(`chains call each other: ${path.slice(-3).join(' → ')}`);
  const here = [...path, chain.name];
  const endsBefore = walker.ends.length;
  let live: Branch | null = from;
  let returned: Branch | null = null;
  const destination = walker.sight.field('dst', from.changes, walker.base.priority);
  for (const rule of candidates(typeof destination === 'string' ? destination : undefined)) {
    if (isPassedBy(rule, live, walker)) continue;
    const result: RuleResult = walkRule(rule, chain, live, here, walker);
    returned = join(returned, result.returned);
    live = result.live;
    if (live === null) break;
  }
  return settle(join(returned, live), from, endsBefore, walker);
}

/** Whether the first thing that a rule asks is not so; most rules end there. */
function isPassedBy({ steps }: Rule, live: Branch, walker: Walker): boolean {
  const [first] = steps;
  return first?.do === 'match' && judge(first.test, viewOf(live, walker)) === false;
}

/** What goes on behind a rule in its chain, and what went back to the chain above. */
type RuleResult = { readonly live: Branch | null; readonly returned: Branch | null };

/** Follows the parts of a rule. Where a match cannot be judged, the packet is followed both past the rule and into it. */
function walkRule(rule: Rule, chain: Chain, from: Branch, path: readonly string[], walker: Walker): RuleResult {
  const endsBefore = walker.ends.length;
  let passed: Branch | null = null;
  let taken = from;
  let result: RuleResult | null = null;
  for (const step of rule.steps) {
    switch (step.do) {
      case 'match':
      case 'any':
      case 'unknown':
      case 'some': {
        const truth = step.do === 'some' ? null : judgeStep(step, viewOf(taken, walker));
        if (truth === false) return { live: settle(join(passed, taken), from, endsBefore, walker), returned: null };
        if (truth === true) break;
        taken =
          step.do === 'some'
            ? { ...taken, partial: true }
            : { ...taken, doubt: taken.doubt ?? refOf(walker.base.table, chain, rule) };
        passed = join(passed, taken);
        break;
      }
      case 'set-mark':
        taken = { ...taken, changes: setMark(step, taken.changes) };
        break;
      case 'notrack':
        // once a packet is tracked, the kernel ignores it
        if (walker.base.priority < CONNTRACK_PRIORITY) taken = { ...taken, changes: { ...taken.changes, untracked: true } };
        break;
      case 'translate':
        result = follow(
          { kind: 'accept' },
          rule,
          chain,
          { ...taken, changes: translate(step.what, taken.changes) },
          path,
          walker,
        );
        break;
      case 'verdict':
        result = follow(step.verdict, rule, chain, taken, path, walker);
        break;
      case 'map':
        result = followMap(step, rule, chain, taken, path, walker);
        break;
      default:
        step satisfies never;
    }
    if (result !== null) break;
  }
  const { live, returned } = result ?? { live: taken, returned: null };
  const onward = join(passed, live);
  // a way that comes back to the others decided nothing, and neither did the doubt that led there
  return returned === null
    ? { live: settle(onward, from, endsBefore, walker), returned }
    : { live: onward, returned: onward === null ? settle(returned, from, endsBefore, walker) : returned };
}

/** Where all ways came together again and none ended, nothing was decided by chance or by what cannot be judged. */
function settle(branch: Branch | null, from: Branch, endsBefore: number, walker: Walker): Branch | null {
  if (branch === null || walker.ends.length > endsBefore) return branch;
  return branch.doubt === from.doubt && branch.partial === from.partial
    ? branch
    : { ...branch, doubt: from.doubt, partial: from.partial };
}

function viewOf(branch: Branch, walker: Walker): View {
  return { sight: walker.sight, changes: branch.changes, priority: walker.base.priority };
}

function judgeStep(step: Step & { do: 'match' | 'any' | 'unknown' }, view: View): Truth {
  switch (step.do) {
    case 'match':
      return judge(step.test, view);
    case 'any':
      return judgeAny(step.tests, step.negated, view);
    default:
      return null;
  }
}

function setMark({ field, from, and, xor }: SetMark, changes: Changes): Changes {
  const source = from === null ? UNKNOWN_BITS : from === 'mark' ? changes.mark : changes.ctMark;
  const known = (source.known | ~and) >>> 0;
  const bits: Bits = from === null ? UNKNOWN_BITS : { value: (((source.value & and) ^ xor) & known) >>> 0, known };
  return field === 'mark' ? { ...changes, mark: bits } : { ...changes, ctMark: bits };
}

function translate(what: 'source' | 'destination', changes: Changes): Changes {
  return what === 'source' ? { ...changes, sourceTranslated: true } : { ...changes, destinationTranslated: true };
}

function follow(verdict: Verdict, rule: Rule, chain: Chain, live: Branch, path: readonly string[], walker: Walker): RuleResult {
  const ref = (): RuleRef => refOf(walker.base.table, chain, rule);
  switch (verdict.kind) {
    case 'continue':
      return { live, returned: null };
    case 'return':
      return { live: null, returned: live };
    case 'accept':
      walker.ends.push({ ...live, kind: 'accept', rule: null, path });
      return { live: null, returned: null };
    case 'drop':
    case 'reject':
      walker.ends.push({ ...live, kind: verdict.kind, rule: ref(), path });
      return { live: null, returned: null };
    case 'jump':
    case 'goto': {
      const target = walker.base.chains.get(verdict.chain);
      const back = target === undefined ? live : walkChain(target, live, path, walker);
      return verdict.kind === 'jump' ? { live: back, returned: null } : { live: null, returned: back };
    }
    case 'unknown': {
      const doubtful = { ...live, doubt: live.doubt ?? ref() };
      walker.ends.push({ ...doubtful, kind: 'drop', rule: ref(), path }, { ...doubtful, kind: 'accept', rule: null, path });
      return { live: doubtful, returned: null };
    }
    default:
      return verdict satisfies never;
  }
}

/** Looks the packet up in a verdict map; where several entries may be hit, all of them are followed. */
function followMap(
  step: Step & { do: 'map' },
  rule: Rule,
  chain: Chain,
  from: Branch,
  path: readonly string[],
  walker: Walker,
): RuleResult {
  const hits = possibleEntries(step, viewOf(from, walker));
  const [only] = hits.entries;
  if (only === undefined) return { live: from, returned: null };
  if (hits.entries.length === 1 && !hits.maybeNone) return follow(only, rule, chain, from, path, walker);
  const forked =
    step.key === null ? { ...from, partial: true } : { ...from, doubt: from.doubt ?? refOf(walker.base.table, chain, rule) };
  let result: RuleResult = { live: hits.maybeNone ? forked : null, returned: null };
  for (const verdict of hits.entries) {
    const one = follow(verdict, rule, chain, forked, path, walker);
    result = { live: join(result.live, one.live), returned: join(result.returned, one.returned) };
  }
  return result;
}

/** The verdicts that a map may give. One that is chosen by chance has an entry for every number that is drawn. */
function possibleEntries(
  step: Step & { do: 'map' },
  view: View,
): { readonly entries: readonly Verdict[]; readonly maybeNone: boolean } {
  const { key } = step;
  if (key === null) return { entries: step.entries.map((entry) => entry.verdict), maybeNone: false };
  const possible: Verdict[] = [];
  for (const entry of step.entries) {
    const truth = judgeRow(key, entry.row, view);
    if (truth !== false) possible.push(entry.verdict);
    if (truth === true) return { entries: possible, maybeNone: false };
  }
  return { entries: possible, maybeNone: true };
}

/** Two ways to the same place: what differs between them can no longer be told. */
function join(a: Branch | null, b: Branch | null): Branch | null {
  if (a === null || b === null || a === b) return a ?? b;
  return {
    changes: a.changes === b.changes ? a.changes : joinChanges(a.changes, b.changes),
    doubt: a.doubt ?? b.doubt,
    partial: a.partial || b.partial,
  };
}

function joinChanges(a: Changes, b: Changes): Changes {
  return {
    mark: joinBits(a.mark, b.mark),
    ctMark: joinBits(a.ctMark, b.ctMark),
    untracked: a.untracked === b.untracked ? a.untracked : null,
    sourceTranslated: a.sourceTranslated || b.sourceTranslated,
    destinationTranslated: a.destinationTranslated || b.destinationTranslated,
  };
}

function joinBits(a: Bits, b: Bits): Bits {
  const known = (a.known & b.known & ~(a.value ^ b.value)) >>> 0;
  return { value: (a.value & known) >>> 0, known };
}

function outcomeOf(ends: readonly End[], live: Branch | null): Outcome {
  const after = live?.changes ?? null;
  const [first] = ends;
  if (first === undefined) return accepted(after);
  const certain = ends.filter((end) => end.doubt === null);
  const eater = certain.find((end) => !end.partial) ?? certain[0] ?? (live === null ? ends.at(-1) : undefined);
  if (eater === undefined)
    return { verdict: 'unknown', rule: first.doubt, mayEat: first.rule, partial: first.partial, path: first.path, after };
  return {
    verdict: eater.kind === 'reject' ? 'reject' : 'drop',
    rule: eater.rule,
    mayEat: null,
    partial: live !== null,
    path: eater.path,
    after,
  };
}
