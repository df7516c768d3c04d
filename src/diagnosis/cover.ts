/**
 * Something that may account for observations: the indices of those that it covers, and what choosing it costs. Of two
 * ways to account for everything the cheaper is better.
 */
export type Candidate<T> = { readonly value: T; readonly covers: ReadonlySet<number>; readonly cost: number };

/** Beyond this many candidates that cannot be decided by necessity, the search is greedy. */
const EXACT_LIMIT = 18;

/**
 * The cheapest sets of candidates that cover everything which any candidate covers; more than one when several cost the
 * same, none when there is nothing to cover. Candidates that cover the same are never in one set together: they are
 * alternatives. At most 16 sets are returned.
 */
export function cheapestCovers<T>(candidates: readonly Candidate<T>[]): readonly (readonly T[])[] {
  const useful = candidates.filter((candidate) => candidate.covers.size > 0);
  const groups = [...Map.groupBy(useful, signature).values()];
  const cheapest = groups.map((group) => {
    const cost = Math.min(...group.map((candidate) => candidate.cost));
    const members = group.filter((candidate) => candidate.cost === cost);
    return { members: members.map(({ value }) => value), covers: members[0]?.covers ?? new Set<number>(), cost };
  });
  const kept = cheapest.filter(
    (group) => !cheapest.some((other) => other !== group && other.cost <= group.cost && isWithinSet(group.covers, other.covers)),
  );
  return chooseGroups(kept)
    .flatMap((chosen) => combinations(chosen.map(({ members }) => members)))
    .slice(0, 16);
}

type Group<T> = { readonly members: readonly T[]; readonly covers: ReadonlySet<number>; readonly cost: number };

function signature<T>({ covers }: Candidate<T>): string {
  return [...covers].sort((a, b) => a - b).join(' ');
}

function isWithinSet(inner: ReadonlySet<number>, outer: ReadonlySet<number>): boolean {
  return inner.size < outer.size && [...inner].every((index) => outer.has(index));
}

function chooseGroups<T>(groups: readonly Group<T>[]): readonly (readonly Group<T>[])[] {
  const universe = new Set(groups.flatMap(({ covers }) => [...covers]));
  if (universe.size === 0) return [];
  const coverers = new Map<number, Group<T>[]>();
  for (const group of groups) {
    for (const index of group.covers) {
      const known = coverers.get(index);
      if (known === undefined) coverers.set(index, [group]);
      else known.push(group);
    }
  }
  const needed = new Set([...coverers.values()].flatMap((list) => (list.length === 1 ? list : [])));
  const covered = new Set([...needed].flatMap(({ covers }) => [...covers]));
  const open = [...universe].filter((index) => !covered.has(index));
  if (open.length === 0) return [[...needed]];
  const rest = groups.filter((group) => !needed.has(group) && open.some((index) => group.covers.has(index)));
  const completions = rest.length <= EXACT_LIMIT ? exact(rest, open) : [greedy(rest, open)];
  return completions.map((completion) => [...needed, ...completion]);
}

/** Every cheapest choice, by trying the coverers of the first open index, with the best cost so far as the bound. */
function exact<T>(groups: readonly Group<T>[], open: readonly number[]): readonly (readonly Group<T>[])[] {
  let best = Number.POSITIVE_INFINITY;
  let found = new Map<string, readonly Group<T>[]>();
  const search = (chosen: readonly Group<T>[], remaining: readonly number[], cost: number): void => {
    if (cost > best) return;
    const [next] = remaining;
    if (next === undefined) {
      if (cost < best) found = new Map();
      best = cost;
      found.set(
        [...chosen]
          .map((group) => groups.indexOf(group))
          .sort((a, b) => a - b)
          .join(' '),
        chosen,
      );
      return;
    }
    for (const group of groups) {
      if (!group.covers.has(next)) continue;
      search(
        [...chosen, group],
        remaining.filter((index) => !group.covers.has(index)),
        cost + group.cost,
      );
    }
  };
  search([], open, 0);
  return [...found.values()];
}

function greedy<T>(groups: readonly Group<T>[], open: readonly number[]): readonly Group<T>[] {
  const chosen: Group<T>[] = [];
  let remaining = new Set(open);
  while (remaining.size > 0) {
    const scored = groups.map((group) => ({
      group,
      gain: [...group.covers].filter((index) => remaining.has(index)).length / group.cost,
    }));
    const best = scored.reduce((left, right) => (right.gain > left.gain ? right : left));
    if (best.gain === 0) break;
    chosen.push(best.group);
    remaining = new Set([...remaining].filter((index) => !best.group.covers.has(index)));
  }
  return chosen;
}

function combinations<T>(lists: readonly (readonly T[])[]): readonly (readonly T[])[] {
  return lists.reduce<readonly (readonly T[])[]>(
    (sets, list) => sets.flatMap((set) => list.map((item) => [...set, item])).slice(0, 64),
    [[]],
  );
}
