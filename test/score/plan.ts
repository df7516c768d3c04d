import { createRandom } from '../chaos/random.ts';
import type { Expectation, Fault } from '../lab/faults/fault.ts';
import type { Placed } from './trial.ts';

/** Nodes of the lab that each trial gets. */
export const NODES = 4;

/** A fault with the layer of its verdict, which does not depend on where it is put. */
export type Layered = Pick<Fault, 'name' | 'placement'> & { readonly layer: Expectation['layer'] };

/** Where a fault is put in each of its trials: every node is as likely, no placement comes twice before all came once. Pure. */
export function placements(fault: Layered, count: number, seed: number): readonly Placed[] {
  const places = shuffled(everyPlace(fault), createRandom(seed));
  return Array.from({ length: count }, (_, index) => ({
    name: fault.name,
    at: places[index % places.length] ?? { node: '', peer: '' },
  }));
}

/** Pairs of faults of different layers, on nodes of their own. Faults of the whole cluster get no node. Pure. */
export function pairsOf(faults: readonly Layered[], count: number, seed: number): readonly (readonly [Placed, Placed])[] {
  const random = createRandom(seed);
  const pairs = faults.flatMap((first, index) =>
    faults
      .slice(index + 1)
      .filter((second) => first.layer !== null && second.layer !== null && first.layer !== second.layer)
      .filter((second) => first.placement !== 'cluster' || second.placement !== 'cluster')
      .map((second) => [first, second] as const),
  );
  return shuffled(pairs, random)
    .slice(0, count)
    .map(([first, second]) => {
      const [a = '', b = '', c = '', d = ''] = shuffled(names(), random);
      return [
        { name: first.name, at: placeOf(first, a, b) },
        { name: second.name, at: placeOf(second, c, d) },
      ];
    });
}

function placeOf({ placement }: Layered, node: string, peer: string): Placed['at'] {
  return placement === 'cluster' ? { node: '', peer: '' } : { node, peer: placement === 'pair' ? peer : '' };
}

function everyPlace(fault: Layered): readonly Placed['at'][] {
  if (fault.placement === 'cluster') return [{ node: '', peer: '' }];
  if (fault.placement === 'node') return names().map((node) => ({ node, peer: '' }));
  return names().flatMap((node) => names().flatMap((peer) => (peer === node ? [] : [{ node, peer }])));
}

function names(): readonly string[] {
  return Array.from({ length: NODES }, (_, index) => `node-${index + 1}`);
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], random: () => number): readonly T[] {
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [mixed[last], mixed[other]];
    if (a === undefined || b === undefined) continue;
    mixed[last] = b;
    mixed[other] = a;
  }
  return mixed;
}
