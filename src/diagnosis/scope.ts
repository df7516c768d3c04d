import { type Entity, entityKey, entityName, nodeEntity } from '../model/entity.ts';
import type { Inventory } from '../model/inventory.ts';
import type { Direction, Verdict } from '../model/verdict.ts';
import { isHalfAnswered, type Judged } from './classify.ts';
import { counted, listOf, sortNames } from './words.ts';

/**
 * Where a failure is seen: between nodes themselves, on the pod network between two nodes, between a pod and its own
 * node, or towards one target.
 */
type Plane = 'nodes' | 'pods' | 'own-node' | 'target';

type Pair = { readonly a: string; readonly b: string; readonly symptoms: readonly Judged[] };

/**
 * Who cannot reach whom, in one sentence that is true and as short as the pattern allows. `explained` are the symptoms of
 * each cause: a failure towards a single target that has a cause of its own is told beside nodes that are cut off. Pure.
 */
export function scopeOf(
  symptoms: readonly Judged[],
  all: readonly Judged[],
  inventory: Inventory,
  explained: readonly (readonly Judged[])[] = [],
): Verdict['scope'] {
  const planes = Map.groupBy(symptoms, ({ probe }) => planeOf(probe, inventory));
  const nodePairs = pairsOf(planes.get('nodes') ?? []);
  const covered = new Set(nodePairs.map(pairKey));
  const podPairs = pairsOf(planes.get('pods') ?? []).filter((pair) => !covered.has(pairKey(pair)));
  for (const pair of podPairs) covered.add(pairKey(pair));
  const names = probedNodes(all);
  const parts: Part[] = [];
  if (nodePairs.length > 0) parts.push(describePairs(nodePairs, names, all, 'nodes', inventory));
  if (podPairs.length > 0) parts.push(describePairs(podPairs, names, all, 'pods', inventory));
  for (const own of groupByTarget(planes.get('own-node') ?? [])) parts.push(describeOwn(own));
  const ofPairs = new Set([...nodePairs, ...podPairs].flatMap((pair) => pair.symptoms));
  const isApart = (symptom: Judged): boolean => {
    // One query passes where two at once do not: no node that is cut off does that.
    if (isHalfAnswered(symptom.result)) return true;
    const own = explained.filter((of) => of.includes(symptom));
    return own.length > 0 && !own.flat().some((other) => ofPairs.has(other));
  };
  const towards = (planes.get('target') ?? []).filter((symptom) => isApart(symptom) || !isImplied(symptom.probe, covered));
  if (towards.length > 0) parts.push(describeTargets(towards, all));
  if (parts.length === 0) return { subjects: [], targets: [], direction: 'undetermined', sentence: '' };
  return {
    subjects: uniqueEntities(parts.flatMap((part) => part.subjects)),
    targets: uniqueEntities(parts.flatMap((part) => part.targets)),
    direction: agreed(parts.map((part) => part.direction)),
    sentence: parts.map((part) => part.sentence).join('; '),
  };
}

type Part = Verdict['scope'];

function planeOf({ from, to, subject, target }: Judged['probe'], inventory: Inventory): Plane {
  if (subject.kind === 'Address') return 'target';
  const isMesh = target.kind === 'Node' || (target.kind === 'Pod' && target.namespace === inventory.agentNamespace);
  if (!isMesh || to.node === null) return 'target';
  if (to.node === from.node) return 'own-node';
  const node = inventory.nodes.find(({ name }) => name === to.node);
  return from.pod === null && target.kind === 'Node' && node?.ip === to.ip ? 'nodes' : 'pods';
}

function pairsOf(symptoms: readonly Judged[]): readonly Pair[] {
  const pairs = Map.groupBy(symptoms, ({ probe }) => [probe.from.node, probe.to.node ?? ''].sort().join(' '));
  return [...pairs].map(([key, members]) => {
    const [a = '', b = ''] = key.split(' ', 2);
    return { a, b, symptoms: members };
  });
}

function pairKey({ a, b }: { readonly a: string; readonly b: string }): string {
  return [a, b].sort().join(' ');
}

function probedNodes(all: readonly Judged[]): readonly string[] {
  return sortNames(all.flatMap(({ probe }) => (probe.to.node === null ? [probe.from.node] : [probe.from.node, probe.to.node])));
}

/** A failure towards a target on a node, where the nodes themselves or their pods are cut off, needs no words. */
function isImplied({ from, to }: Judged['probe'], covered: ReadonlySet<string>): boolean {
  if (covered.size === 0) return false;
  const concerns = (name: string): boolean => [...covered].some((key) => key.split(' ').includes(name));
  if (to.node === null || to.node === from.node) return concerns(from.node);
  return covered.has(pairKey({ a: from.node, b: to.node }));
}

function describePairs(
  pairs: readonly Pair[],
  names: readonly string[],
  all: readonly Judged[],
  plane: PairPlane,
  inventory: Inventory,
): Part {
  const shape = shapeOf(pairs, names);
  const symptoms = pairs.flatMap((pair) => pair.symptoms);
  const measured = directionBetween(shape.left, shape.right, pairs, all, plane, inventory);
  const loss = lossOf(symptoms);
  const isAsked = measured === 'undetermined' && loss === null && isAskedInward(shape.left, symptoms, all);
  const isInward = measured === 'inbound' || isAsked;
  // Two groups are told from the side whose packets are lost; one node against all the others from its own.
  const isSwapped = isInward && shape.kind === 'groups';
  const [from, to] = isSwapped ? [shape.right, shape.left] : [shape.left, shape.right];
  const direction = isSwapped && measured === 'inbound' ? 'outbound' : measured;
  return {
    subjects: from.map(nodeEntity),
    targets: to.map(nodeEntity),
    direction,
    sentence: pairSentence(shape, from, to, { direction, isInward }, loss, onlyText(symptoms), plane),
  };
}

type PairPlane = 'nodes' | 'pods';

/**
 * The pattern of failing pairs: `isolated` nodes against all others, two `groups` of which no member reaches one of the
 * other, or `scattered` pairs. `rest` are pairs outside the pattern.
 */
type Shape = {
  readonly kind: 'isolated' | 'groups' | 'scattered';
  readonly left: readonly string[];
  readonly right: readonly string[];
  readonly pairs: readonly Pair[];
  readonly rest: readonly Pair[];
};

function shapeOf(pairs: readonly Pair[], names: readonly string[]): Shape {
  const failing = new Set(pairs.map(pairKey));
  const partners = new Map<string, Set<string>>();
  for (const { a, b } of pairs) {
    partners.set(a, (partners.get(a) ?? new Set()).add(b));
    partners.set(b, (partners.get(b) ?? new Set()).add(a));
  }
  const isolated =
    names.length < 3
      ? []
      : sortNames([...partners].filter(([, others]) => others.size === names.length - 1).map(([name]) => name));
  if (isolated.length > 0) {
    const right = isolated.length === names.length ? names : names.filter((name) => !isolated.includes(name));
    return {
      kind: 'isolated',
      left: isolated,
      right,
      pairs,
      rest: pairs.filter(({ a, b }) => !isolated.includes(a) && !isolated.includes(b)),
    };
  }
  const [start = ''] = sortNames(partners.keys());
  const right = sortNames(partners.get(start) ?? []);
  const left = sortNames([...partners.keys()].filter((name) => !right.includes(name)));
  const isSplit =
    failing.size === left.length * right.length && left.every((a) => right.every((b) => failing.has(pairKey({ a, b }))));
  if (isSplit) return { kind: 'groups', left, right, pairs, rest: [] };
  return {
    kind: 'scattered',
    left: sortNames(pairs.map(({ a }) => a)),
    right: sortNames(pairs.map(({ b }) => b)),
    pairs,
    rest: [],
  };
}

function pairSentence(
  { kind, left, pairs, rest }: Shape,
  from: readonly string[],
  to: readonly string[],
  { direction, isInward }: { readonly direction: Direction; readonly isInward: boolean },
  loss: Loss | null,
  only: string,
  plane: PairPlane,
): string {
  const who = (names: readonly string[]): string => (plane === 'nodes' ? listOf(names) : `pods on ${listOf(names)}`);
  const isOne = plane === 'nodes' && from.length === 1;
  const over = loss?.isOver === true ? ', and none when measured again' : '';
  const lose = (one: string, many: string, past: string): string =>
    `${loss?.isOver === true ? past : isOne && kind !== 'scattered' ? one : many} ${loss?.percent} %`;
  if (kind === 'scattered') {
    const action = loss === null ? `cannot reach each other${only}` : `${lose('loses', 'lose', 'lost')} of their packets`;
    return `${plane === 'nodes' ? '' : 'pods on '}${pairList(pairs)} ${action}${over}`;
  }
  const anyOther = plane === 'nodes' ? 'any other node' : 'pods on any other node';
  const target = kind === 'isolated' ? anyOther : who(to);
  const others = `${plane === 'nodes' ? '' : 'pods on '}${pairList(rest)}`;
  const cannot = loss === null ? `; nor can ${others} reach each other` : `; packets between ${others} are lost as well`;
  const also = rest.length === 0 ? '' : cannot;
  if (isInward && kind !== 'groups') {
    const way = direction === 'inbound' ? ', in this direction only' : '';
    return loss === null
      ? `${who(left)} cannot be reached from ${target}${only}${way}${also}`
      : `${who(left)} ${lose('misses', 'miss', 'missed')} of the packets from ${target}${way}${over}${also}`;
  }
  const action = loss === null ? `cannot reach ${target}${only}` : `${lose('loses', 'lose', 'lost')} of the packets to ${target}`;
  const way = direction === 'both' ? ', in both directions' : direction === 'outbound' ? ', in this direction only' : '';
  return `${who(from)} ${action}${way}${over}${also}`;
}

function pairList(pairs: readonly Pair[]): string {
  return listOf(pairs.map(({ a, b }) => (pairs.length === 1 ? `${a} and ${b}` : `${a} ↔ ${b}`)));
}

/** Which packets alone do not arrive, where it is not all of them: with a space before it, or nothing. */
function onlyText(symptoms: readonly Judged[]): string {
  if (symptoms.every(({ probe }) => probe.bytes !== undefined)) return ' with packets of full size';
  return symptoms.every(({ probe }) => probe.method === 'tcp') ? ' over TCP' : '';
}

/** How much is lost, in percent, and whether that was so at first only. */
type Loss = { readonly percent: number; readonly isOver: boolean };

/** The loss when packets are lost but never all of them, else null. */
function lossOf(symptoms: readonly Judged[]): Loss | null {
  if (symptoms.some(({ meaning }) => meaning !== 'lossy' && meaning !== 'recovered')) return null;
  const oneWay = symptoms.filter(({ probe }) => probe.method === 'udp');
  const measured = oneWay.length > 0 ? oneWay : symptoms;
  const sent = measured.reduce((sum, { result }) => sum + result.sent, 0);
  const delivered = measured.reduce((sum, { result }) => sum + result.delivered, 0);
  return {
    percent: Math.round((100 * (sent - delivered)) / sent),
    isOver: symptoms.every(({ meaning }) => meaning === 'recovered'),
  };
}

/** Which way it fails between two groups of nodes, by one-way evidence alone. */
function directionBetween(
  left: readonly string[],
  right: readonly string[],
  pairs: readonly Pair[],
  all: readonly Judged[],
  plane: PairPlane,
  inventory: Inventory,
): Direction {
  const failing = new Set(pairs.map(pairKey));
  const oneWay = all.filter(
    ({ probe, meaning }) =>
      probe.method === 'udp' && meaning !== 'unknown' && meaning !== 'moot' && planeOf(probe, inventory) === plane,
  );
  const between = (from: readonly string[], to: readonly string[]): readonly Judged[] =>
    oneWay.filter(
      ({ probe }) =>
        from.includes(probe.from.node) &&
        to.includes(probe.to.node ?? '') &&
        failing.has(pairKey({ a: probe.from.node, b: probe.to.node ?? '' })),
    );
  return directionOf(between(left, right), between(right, left));
}

/**
 * Whether only those outside these nodes ask in vain, while what these ask in the same way is answered: which packets are
 * lost is not known then, but who reaches whom.
 */
function isAskedInward(nodes: readonly string[], symptoms: readonly Judged[], all: readonly Judged[]): boolean {
  const isIn = (node: string | null): boolean => node !== null && nodes.includes(node);
  const ways = new Set(symptoms.map(({ probe }) => `${probe.check} ${probe.method}`));
  return (
    symptoms.every(({ probe: { from, to } }) => isIn(to.node) && !isIn(from.node)) &&
    all.some(
      ({ probe: { check, method, from, to }, meaning }) =>
        meaning === 'pass' && isIn(from.node) && to.node !== null && !isIn(to.node) && ways.has(`${check} ${method}`),
    )
  );
}

function directionOf(out: readonly Judged[], back: readonly Judged[]): Direction {
  const fails = (list: readonly Judged[]): boolean => list.some(({ meaning }) => meaning !== 'pass');
  if (out.length === 0 || back.length === 0) return 'undetermined';
  if (fails(out) && fails(back)) return 'both';
  if (fails(out)) return 'outbound';
  return fails(back) ? 'inbound' : 'undetermined';
}

/** Which way a symptom's probe fails, by the one-way probes of the same kind between the same two places. */
export function createSymptomDirection(all: readonly Judged[]): (symptom: Judged) => Direction {
  const keyOf = (check: string, from: string, to: string | null): string => `${check} ${from} ${to}`;
  const oneWay = Map.groupBy(
    all.filter(({ probe, meaning }) => probe.method === 'udp' && meaning !== 'unknown' && meaning !== 'moot'),
    ({ probe }) => keyOf(probe.check, probe.from.node, probe.to.node),
  );
  return ({ probe: { method, check, from, to } }) => {
    if (method === 'udp') return 'outbound';
    if (to.node === null) return 'undetermined';
    const way = (a: string, b: string): readonly Judged[] => oneWay.get(keyOf(check, a, b)) ?? [];
    return directionOf(way(from.node, to.node), way(to.node, from.node));
  };
}

function describeOwn(symptoms: readonly Judged[]): Part {
  const [first] = symptoms;
  const node = first?.probe.from.node ?? '';
  const subject = first?.probe.subject ?? nodeEntity(node);
  return {
    subjects: [subject],
    targets: [nodeEntity(node)],
    direction: 'undetermined',
    sentence: `pods on ${node} ${verbOf(symptoms, false)} their own node`,
  };
}

function groupByTarget(symptoms: readonly Judged[]): readonly (readonly Judged[])[] {
  return [...Map.groupBy(symptoms, ({ probe }) => entityKey(probe.target)).values()];
}

/** Failures towards single targets: who, of those that were asked, cannot reach each. */
function describeTargets(symptoms: readonly Judged[], all: readonly Judged[]): Part {
  const asked = new Map<string, number>();
  for (const [key, members] of Map.groupBy(all, ({ probe }) => entityKey(probe.target)))
    asked.set(key, new Set(members.map(({ probe }) => entityKey(probe.subject))).size);
  const groups = groupByTarget(symptoms);
  const sentences = groups.map((group) => {
    const [first] = group;
    if (first === undefined) return '';
    const subjects = sortNames(group.map(({ probe }) => entityName(probe.subject)));
    const everyone = subjects.length === asked.get(entityKey(first.probe.target)) && subjects.length > 1;
    const who = everyone
      ? 'nothing'
      : subjects.length > 3
        ? `${counted(subjects.length, 'source')} of ${asked.get(entityKey(first.probe.target))}`
        : listOf(subjects);
    return `${who} ${everyone ? verbOf(group, true) : verbOf(group, false)} ${describeTarget(first.probe.target)}${howPhrase(group)}`;
  });
  return {
    subjects: uniqueEntities(symptoms.map(({ probe }) => probe.subject)),
    targets: uniqueEntities(symptoms.map(({ probe }) => probe.target)),
    direction: 'undetermined',
    sentence: sentences.join('; '),
  };
}

function verbOf(symptoms: readonly Judged[], negated: boolean): string {
  const all = (...meanings: readonly Judged['meaning'][]): boolean => symptoms.every(({ meaning }) => meanings.includes(meaning));
  if (all('error')) return negated ? 'got a good answer from' : 'got no good answer from';
  if (all('recovered')) return negated ? 'at first always reached' : 'at first did not always reach';
  if (all('lossy', 'recovered')) return negated ? 'always reached' : 'did not always reach';
  return negated ? 'reaches' : 'cannot reach';
}

function describeTarget(target: Entity): string {
  const name = entityName(target);
  if (target.kind === 'Service') return `the Service ${name}`;
  return target.kind === 'Pod' ? `the pod ${name}` : name;
}

/** What the failures were, and on which port: `(DNS: SERVFAIL)`, `(TCP 9153: refused)`. */
function howPhrase(symptoms: readonly Judged[]): string {
  const hows = symptoms.map(({ probe, result }) => {
    const protocol =
      probe.method === 'ping'
        ? 'ICMP'
        : `${probe.packet.proto.toUpperCase()}${probe.to.port === undefined ? '' : ` ${probe.to.port}`}`;
    return `${protocol}: ${result.how ?? 'unknown'}`;
  });
  return ` (${listOf(sortNames(hows))})`;
}

function uniqueEntities(entities: readonly Entity[]): Entity[] {
  const unique = new Map(entities.map((entity) => [entityKey(entity), entity]));
  return [...unique.values()].sort((a, b) => entityName(a).localeCompare(entityName(b), 'en', { numeric: true }));
}

function agreed(directions: readonly Direction[]): Direction {
  const [first = 'undetermined'] = directions;
  return directions.every((direction) => direction === first) ? first : 'undetermined';
}
