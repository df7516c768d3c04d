import { createHash } from 'node:crypto';
import { createRandom } from '../chaos/random.ts';
import type { Expectation, Fault } from '../lab/faults/fault.ts';
import type { Placed, Planned } from './trial.ts';

/** Nodes of the lab that each trial gets. */
export const NODES = 4;

/** A fault with the layer of its verdict, which does not depend on where it is put, and where it can be put. */
export type Layered = Pick<Fault, 'name' | 'placement'> & {
  readonly layer: Expectation['layer'];
  /** The nodes that it can be put on; every one where this is left out. */
  readonly nodes?: readonly string[];
};

/**
 * Where a fault is put in each of its trials: every node is as likely, no placement comes twice before all came once.
 * Another fault in the catalogue changes nothing of it. Pure.
 */
export function placements(fault: Layered, count: number, seed: string): readonly Placed[] {
  const places = shuffled(everyPlace(fault), createRandom(numberOf(`${seed} ${fault.name}`)));
  return Array.from({ length: count }, (_, index) => ({
    name: fault.name,
    at: places[index % places.length] ?? { node: '', peer: '' },
  }));
}

/**
 * Pairs of faults of different layers, on nodes of their own. Faults of the whole cluster get no node. Another fault in the
 * catalogue brings pairs in between and changes nothing of the others. Pure.
 */
export function pairsOf(faults: readonly Layered[], count: number, seed: string): readonly (readonly [Placed, Placed])[] {
  return faults
    .flatMap((first, index) =>
      faults
        .slice(index + 1)
        .filter((second) => first.layer !== null && second.layer !== null && first.layer !== second.layer)
        .filter((second) => first.placement !== 'cluster' || second.placement !== 'cluster')
        .map((second) => ({ first, second, order: numberOf(`${seed} ${first.name} ${second.name}`) })),
    )
    .toSorted((one, other) => one.order - other.order)
    .slice(0, count)
    .map(({ first, second, order }) => {
      const mixed = shuffled(names(), createRandom(order));
      const a = mixed.find(
        (node) => isPossible(first, node) && mixed.some((other) => other !== node && isPossible(second, other)),
      );
      const c = mixed.find((node) => node !== a && isPossible(second, node));
      const [b, d] = mixed.filter((node) => node !== a && node !== c);
      return [placed(first, a, b), placed(second, c, d)];
    });
}

/**
 * What of a plan is left to be done when some trials have been: of each kind, network and, but for pairs, what is put in,
 * as many as are missing, those first that are not among the done. Pure.
 */
export function leftOf(planned: readonly Planned[], done: readonly Planned[]): readonly Planned[] {
  const groups = Map.groupBy(done, groupOf);
  return [...Map.groupBy(planned, groupOf)].flatMap(([group, all]) => {
    const own = groups.get(group) ?? [];
    return without(all, own).slice(0, Math.max(0, all.length - own.length));
  });
}

/** What is measured together: a fault or an unusual cluster in one kind of lab; all pairs. */
function groupOf({ kind, network, placed }: Planned): string {
  return `${kind} ${network} ${kind === 'pair' ? '' : placed.map(({ name }) => name).join()}`;
}

/** What a later trial takes the place of: all of a fault or an unusual cluster in one kind of lab; this pair alone. */
export function replacedBy(trial: Planned): string {
  return trial.kind === 'pair' ? keyOf(trial) : groupOf(trial);
}

/** Trials, without one for each of the same that has been done. */
function without(planned: readonly Planned[], done: readonly Planned[]): readonly Planned[] {
  const keys = done.map(keyOf);
  return planned.filter((trial) => {
    const index = keys.indexOf(keyOf(trial));
    if (index !== -1) keys.splice(index, 1);
    return index === -1;
  });
}

function keyOf({ kind, network, placed }: Planned): string {
  return [kind, network, ...placed.flatMap(({ name, at }) => [name, at.node, at.peer])].join(' ');
}

function placed({ name, placement }: Layered, node = '', peer = ''): Placed {
  return { name, at: placement === 'cluster' ? { node: '', peer: '' } : { node, peer: placement === 'pair' ? peer : '' } };
}

function isPossible({ placement, nodes }: Layered, node: string): boolean {
  return placement === 'cluster' || nodes === undefined || nodes.includes(node);
}

function everyPlace(fault: Layered): readonly Placed['at'][] {
  if (fault.placement === 'cluster') return [{ node: '', peer: '' }];
  const own = names().filter((node) => isPossible(fault, node));
  if (fault.placement === 'node') return own.map((node) => ({ node, peer: '' }));
  return own.flatMap((node) => names().flatMap((peer) => (peer === node ? [] : [{ node, peer }])));
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

/** A number of 32 bits that is the same for the same text. */
function numberOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE();
}
