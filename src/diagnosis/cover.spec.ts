import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Candidate, cheapestCovers } from './cover.ts';

function candidate(value: string, covers: number[], cost = 1): Candidate<string> {
  return { value, covers: new Set(covers), cost };
}

function covers(...candidates: Candidate<string>[]) {
  return cheapestCovers(candidates).map((set) => set.toSorted().join(''));
}

test('nothing to cover needs nothing', () => {
  expect(covers()).toEqual([]);
  expect(covers(candidate('a', []))).toEqual([]);
});

test('one that covers all beats several that cover parts', () => {
  expect(covers(candidate('a', [1, 2, 3]), candidate('b', [1, 2]), candidate('c', [3]))).toEqual(['a']);
});

test('what only one covers is always taken', () => {
  expect(covers(candidate('a', [1, 2]), candidate('b', [2, 3]), candidate('c', [3, 4]))).toEqual(['ac']);
});

test('equals are alternatives, not companions', () => {
  expect(covers(candidate('a', [1, 2]), candidate('b', [1, 2]))).toEqual(['a', 'b']);
});

test('a cheap set beats an expensive one of fewer members', () => {
  expect(covers(candidate('a', [1, 2], 10), candidate('b', [1]), candidate('c', [2]))).toEqual(['bc']);
});

test('is the cheapest of all sets that cover everything, by brute force', () => {
  const arbitrary = fc.array(fc.record({ covers: fc.array(fc.nat(6), { maxLength: 5 }), cost: fc.integer({ min: 1, max: 3 }) }), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(arbitrary, (specs) => {
      const candidates = specs.map((spec, index) => ({ value: index, covers: new Set(spec.covers), cost: spec.cost }));
      const universe = new Set(candidates.flatMap((item) => [...item.covers]));
      const costOf = (set: readonly number[]): number => set.reduce((sum, index) => sum + (candidates[index]?.cost ?? 0), 0);
      let best = Number.POSITIVE_INFINITY;
      for (let mask = 0; mask < 2 ** candidates.length; mask += 1) {
        const set = candidates.flatMap((_, index) => (mask & (1 << index) ? [index] : []));
        const covered = new Set(set.flatMap((index) => [...(candidates[index]?.covers ?? [])]));
        if (covered.size === universe.size) best = Math.min(best, costOf(set));
      }
      const found = cheapestCovers(candidates);
      if (universe.size === 0) return found.length === 0;
      return (
        found.length > 0 &&
        found.every(
          (set) =>
            costOf(set) === best &&
            new Set(set.flatMap((index) => [...(candidates[index]?.covers ?? [])])).size === universe.size,
        )
      );
    }),
    { numRuns: 500, seed: 7 },
  );
});
