import type { Field, Rule, Span, Table, Test, Value } from './ast.ts';
import type { HookAt } from './packet.ts';
import { canEat, type Reach, reachOf } from './reach.ts';

/**
 * What rules cannot tell apart: two addresses, or two ports, of the same class meet the same fate, so that one stands
 * for all of them. Addresses are given as `addressKey`; classes are numbers that mean nothing by themselves. `hooks` are
 * those where rules decide anything; `key` is the same for rules that make the same classes.
 */
export type Classes = {
  readonly key: string;
  readonly address: (key: string) => number;
  readonly port: (port: number) => number;
  readonly hooks: ReadonlySet<HookAt>;
};

/**
 * Finds the classes of addresses and ports that the rules of a node make. Of chains that only nat chains come to, only
 * rules that drop count: they name every endpoint of every service, and a packet to an endpoint itself is not translated.
 */
export function createClasses(tables: readonly Table[]): Classes {
  const reaches = tables.map((table) => ({ table, reach: reachOf(table) }));
  const spans = reaches.flatMap(({ table, reach }) => decidingRules(table, reach).flatMap(spansOf));
  const addresses = distinct(spans.filter(({ field }) => field === 'src' || field === 'dst'));
  const ports = distinct(spans.filter(({ field }) => field === 'sport' || field === 'dport'));
  return {
    key: `${addresses.join(' ')}|${ports.join(' ')}`,
    address: partition(addresses),
    port: partition(ports),
    hooks: decidingHooks(reaches),
  };
}

function distinct(spans: readonly FieldSpan[]): Span[] {
  const known = new Map(spans.map(({ span }) => [span.join(), span]));
  return [...known].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, span]) => span);
}

type TableReach = { readonly table: Table; readonly reach: Reach };

function decidingRules(table: Table, reach: Reach): Rule[] {
  const decide = new Set(
    table.chains.flatMap((chain) => (chain.base === null || chain.base.type === 'nat' ? [] : [...reach.from(chain)])),
  );
  return table.chains.flatMap((chain) =>
    decide.has(chain) ? chain.rules : chain.rules.filter(({ steps }) => steps.some(canEat)),
  );
}

/** The order in which a packet can come to hooks; those beside each other are never on one way. */
const ORDER: readonly (readonly HookAt[])[] = [
  ['ingress'],
  ['bridge-prerouting'],
  ['prerouting'],
  ['bridge-input', 'bridge-forward', 'input', 'forward', 'output'],
  ['bridge-output'],
  ['postrouting'],
  ['bridge-postrouting'],
  ['egress'],
];

/** The hooks where rules can eat a packet, or change it before it comes to one where they can. */
function decidingHooks(reaches: readonly TableReach[]): ReadonlySet<HookAt> {
  const effects = new Map<HookAt, 'eat' | 'change'>();
  for (const { table, reach } of reaches) {
    for (const chain of table.chains) {
      const effect = chain.base === null ? 'none' : reach.effect(chain);
      if (chain.base === null || effect === 'none') continue;
      const { hook } = chain.base;
      const at: HookAt = table.family === 'bridge' && hook !== 'ingress' && hook !== 'egress' ? `bridge-${hook}` : hook;
      if (effects.get(at) !== 'eat') effects.set(at, effect);
    }
  }
  const last = ORDER.findLastIndex((hooks) => hooks.some((hook) => effects.get(hook) === 'eat'));
  const before = new Set(ORDER.slice(0, last).flat());
  return new Set([...effects].flatMap(([hook, effect]) => (effect === 'eat' || before.has(hook) ? [hook] : [])));
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
function partition(spans: readonly Span[]): (value: Value) => number {
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
