import type { PolicyRule } from './policy-rules.ts';
import type { Route } from './routes.ts';

/** What a route is looked up for. `src` is null while the node has chosen no source; `iif` null for what it sends itself. */
export type Flow = { readonly dst: string; readonly src: string | null; readonly iif: string | null };

/** What decides where a packet goes: a rule, and the route that its table gives; `route` is null where the rule itself refuses. */
export type Decision = { readonly rule: PolicyRule; readonly route: Route | null; readonly prefix: number };

/**
 * The kernel's lookup of IPv4 routes: rules in the order of their priority, in each table the longest prefix, of equal
 * ones the lowest metric. Packets have no mark and no type of service. The function returns null where there is no route.
 * Source: net/core/fib_rules.c, net/ipv4/fib_rules.c, net/ipv4/fib_trie.c.
 */
export function createLookup(routes: readonly Route[], rules: readonly PolicyRule[]): (flow: Flow) => Decision | null {
  const tables = new Map<string, Table>();
  for (const route of routes) {
    const { network, prefix } = prefixOf(route.dst);
    const table = tables.get(route.table) ?? new Map<number, Map<number, Route[]>>();
    tables.set(route.table, table);
    const lengths = table.get(prefix) ?? new Map<number, Route[]>();
    table.set(prefix, lengths);
    lengths.set(network, [...(lengths.get(network) ?? []), route]);
  }
  const ordered = rules.toSorted((a, b) => a.priority - b.priority);
  return (flow) => {
    const dst = numberOf(flow.dst);
    const src = flow.src === null ? null : numberOf(flow.src);
    let from = 0;
    for (const rule of ordered) {
      if (rule.priority < from || !selects(rule, dst, src, flow.iif)) continue;
      if (rule.goto !== null) from = rule.goto;
      else if (rule.action !== null) return { rule, route: null, prefix: -1 };
      else if (rule.table !== null) {
        const found = longest(tables.get(rule.table), dst);
        if (found !== null && found.route.type !== 'throw' && found.prefix > rule.suppressPrefix) return { rule, ...found };
      }
    }
    return null;
  };
}

/** Routes by the length of their prefix, and by its network. */
type Table = Map<number, Map<number, Route[]>>;

function longest(table: Table | undefined, address: number): { readonly route: Route; readonly prefix: number } | null {
  if (table === undefined) return null;
  for (let prefix = 32; prefix >= 0; prefix -= 1) {
    const [route] = (table.get(prefix)?.get(networkOf(address, prefix)) ?? [])
      .filter(({ flags }) => !flags.includes('dead'))
      .toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
    if (route !== undefined) return { route, prefix };
  }
  return null;
}

function selects(rule: PolicyRule, dst: number, src: number | null, iif: string | null): boolean {
  if (rule.isParticular) return false;
  const isSelected =
    (rule.from === null || (src !== null && contains(rule.from, src))) &&
    (rule.to === null || contains(rule.to, dst)) &&
    (rule.iif === null || rule.iif === (iif ?? 'lo')) &&
    (rule.mark === null || (rule.mark.value & rule.mark.mask) === 0);
  return isSelected !== rule.isInverted;
}

function contains(block: string, address: number): boolean {
  const { network, prefix } = prefixOf(block);
  return networkOf(address, prefix) === network;
}

/** The length of the prefix of a route's destination: 32 for a plain address, 0 for `default`. */
export function prefixLength(dst: string): number {
  return prefixOf(dst).prefix;
}

/** Whether the whole of an IPv4 block is inside another; a plain address is a block of one. */
export function isInside(inner: string, outer: string): boolean {
  const [a, b] = [prefixOf(inner), prefixOf(outer)];
  return a.prefix >= b.prefix && networkOf(a.network, b.prefix) === b.network;
}

/** An IPv4 block without some addresses, as blocks. */
export function without(block: string, addresses: readonly string[]): readonly string[] {
  const { network, prefix } = prefixOf(block);
  if (!addresses.some((address) => isInside(address, block))) return [block];
  if (prefix === 32) return [];
  return [network, network + 2 ** (31 - prefix)].flatMap((half) => without(`${textOf(half)}/${prefix + 1}`, addresses));
}

function textOf(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

function prefixOf(dst: string): { readonly network: number; readonly prefix: number } {
  if (dst === 'default') return { network: 0, prefix: 0 };
  const [address = '', length = '32'] = dst.split('/', 2);
  return { network: networkOf(numberOf(address), Number(length)), prefix: Number(length) };
}

function networkOf(address: number, prefix: number): number {
  const size = 2 ** (32 - prefix);
  return Math.floor(address / size) * size;
}

function numberOf(address: string): number {
  const octets = address.split('.').map(Number);
  if (octets.length !== 4 || !octets.every((octet) => octet >= 0 && octet <= 255))
    throw new TypeError(`${address} is no IPv4 address`);
  return octets.reduce((value, octet) => value * 256 + octet, 0);
}
