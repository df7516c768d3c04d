import { type HopPattern, nodePlace } from '../../model/hop.ts';

/** An ordered pair of nodes, by name. */
export type OrderedPair = { readonly from: string; readonly to: string };

/** What failing pairs have in common: one node in all of them, or just two nodes; `both` whether it fails both ways. */
export type PairGroup<P extends OrderedPair = OrderedPair> =
  | {
      readonly kind: 'node';
      readonly node: string;
      readonly in: boolean;
      readonly out: boolean;
      readonly pairs: readonly P[];
    }
  | {
      readonly kind: 'pair';
      readonly a: string;
      readonly b: string;
      readonly both: boolean;
      readonly pairs: readonly P[];
    };

/**
 * Groups failing pairs by the node that all of its probed pairs fail with, at least two of them; the rest by two.
 * `probed` are all pairs that were measured, the failing ones among them.
 */
export function groupPairs<P extends OrderedPair>(
  failing: readonly P[],
  probed: readonly OrderedPair[],
): readonly PairGroup<P>[] {
  const failed = new Set(failing.map(key));
  const nodes = [...new Set(failing.flatMap(({ from, to }) => [from, to]))];
  const whole = nodes.flatMap((node) => {
    const out = probed.filter(({ from }) => from === node);
    const into = probed.filter(({ to }) => to === node);
    const allOut = out.length > 1 && out.every((pair) => failed.has(key(pair)));
    const allIn = into.length > 1 && into.every((pair) => failed.has(key(pair)));
    return allOut || allIn ? [{ node, out: allOut, in: allIn }] : [];
  });
  // Where every node fails with every other, no single one stands out.
  const blamed = whole.length === nodes.length && nodes.length > 2 ? [] : whole;
  const groups: PairGroup<P>[] = blamed.map(({ node, out, in: into }) => ({
    kind: 'node',
    node,
    out,
    in: into,
    pairs: failing.filter(({ from, to }) => (out && from === node) || (into && to === node)),
  }));
  const told = new Set(groups.flatMap(({ pairs }) => pairs.map(key)));
  const rest = failing.filter((pair) => !told.has(key(pair)));
  for (const pairs of Map.groupBy(rest, ({ from, to }) => [from, to].sort().join('>')).values()) {
    const [first] = pairs;
    if (first !== undefined) groups.push({ kind: 'pair', a: first.from, b: first.to, both: pairs.length > 1, pairs });
  }
  return groups;
}

/** The network's part of the way from one node to another. */
export function wire(from: string, to: string): HopPattern {
  return { place: 'net', point: 'wire', via: `${nodePlace(from)}>${nodePlace(to)}` };
}

function key({ from, to }: OrderedPair): string {
  return `${from}>${to}`;
}
