import { addressKey } from './address.ts';
import type { Chain, Field, Rule, Span, Step, Table, Test, Value } from './ast.ts';

/**
 * What rules cannot tell apart: two addresses, or two ports, of the same class meet the same fate, so that one stands
 * for all of them. Classes are numbers that mean nothing by themselves.
 */
export type Classes = { readonly address: (ip: string) => number; readonly port: (port: number) => number };

/**
 * Finds the classes of addresses and ports that the rules of a node make. Of nat chains only rules that drop count: they
 * name every endpoint of every service, and a packet to an endpoint itself is not translated.
 */
export function createClasses(tables: readonly Table[]): Classes {
  const spans = tables.flatMap((table) =>
    table.chains.flatMap((chain) => chain.rules.filter((rule) => decides(table, chain, rule)).flatMap(spansOf)),
  );
  const addresses = partition(spans.filter(({ field }) => field === 'src' || field === 'dst').map(({ span }) => span));
  const ports = partition(spans.filter(({ field }) => field === 'sport' || field === 'dport').map(({ span }) => span));
  const known = new Map<string, number>();
  return {
    address(ip) {
      const found = known.get(ip) ?? addresses(addressKey(ip));
      known.set(ip, found);
      return found;
    },
    port: ports,
  };
}

function decides(table: Table, chain: Chain, rule: Rule): boolean {
  const isNat = table.system === 'nft' ? chain.base?.type === 'nat' : table.name === 'nat';
  return !isNat || rule.steps.some(isDrop);
}

function isDrop(step: Step): boolean {
  return step.do === 'verdict' && ['drop', 'reject', 'unknown'].includes(step.verdict.kind);
}

type FieldSpan = { readonly field: Field; readonly span: Span };

function spansOf(rule: Rule): FieldSpan[] {
  return rule.steps.flatMap((step) => {
    if (step.do === 'match') return spansOfTest(step.test);
    if (step.do === 'any') return step.tests.flatMap(spansOfTest);
    if (step.do === 'map' && step.key !== null)
      return spansOfTest({ fields: step.key, rows: step.entries.map(({ row }) => row), negated: false });
    return [];
  });
}

function spansOfTest({ fields, rows }: Test): FieldSpan[] {
  return fields.flatMap(({ field }, index) => {
    if (!['src', 'dst', 'sport', 'dport'].includes(field)) return [];
    return rows.flatMap((row) => (row[index] === undefined ? [] : [{ field, span: row[index] }]));
  });
}

/**
 * Numbers the sets of values that are inside the same spans. The values are cut where a span begins or ends; pieces
 * inside the same spans get the same number, found by going through the cuts once with the spans that are open there.
 */
function partition(all: readonly Span[]): (value: Value) => number {
  const spans = [...new Map(all.map((span) => [span.join(), span])).values()];
  const cuts = spans
    .flatMap(([from, to], index) => [
      { at: from, after: false, index },
      { at: to, after: true, index },
    ])
    .toSorted((a, b) => (a.at === b.at ? Number(a.after) - Number(b.after) : a.at < b.at ? -1 : 1));
  const open = new Set<number>();
  const numbers = new Map<string, number>([['', 0]]);
  const pieces: { readonly at: Value; readonly after: boolean; readonly number: number }[] = [];
  for (const { at, after, index } of cuts) {
    if (after) open.delete(index);
    else open.add(index);
    const key = [...open].toSorted((a, b) => a - b).join();
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    pieces.push({ at, after, number });
  }
  return (value) => {
    let low = 0;
    let high = pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const piece = pieces[middle];
      if (piece !== undefined && (piece.at < value || (piece.at === value && !piece.after))) low = middle + 1;
      else high = middle;
    }
    return pieces[low - 1]?.number ?? 0;
  };
}
