import type { View } from '../dataplane/view.ts';
import type { Hop, HopPattern, Point } from '../model/hop.ts';
import type { Layer } from '../model/layer.ts';
import type { Direction } from '../model/verdict.ts';
import { isHalfAnswered, isRefusal, type Judged } from './classify.ts';
import { cheapestCovers } from './cover.ts';
import { isAt } from './explain.ts';
import { classesAt, hopKey, type PacketClass, type Suspect, suspectKey, suspectSteps, suspectsOf, type Trace } from './trace.ts';

/**
 * A stretch of network that accounts for failures which nothing else explains. `hops` cannot be told apart by what was
 * measured; `symptoms` are the failures that it accounts for; `lossPercent` is 100 where nothing passes.
 */
export type Segment = {
  readonly hops: readonly Hop[];
  readonly packetClass: PacketClass;
  readonly direction: Direction;
  readonly layer: Layer;
  readonly lossPercent: number;
  readonly symptoms: readonly Judged[];
  /** Other segments that account for the same symptoms just as well. */
  readonly or: readonly (readonly Hop[])[];
};

export type Tracer = (probe: Judged['probe']) => Trace;

/** How unlikely a measurement has to be, were the suspect guilty, for it to be acquitted. */
const ACQUIT_BELOW = 1e-4;

/**
 * Locates failures as network tomography does: a failure casts suspicion on every hop of both its ways, a success acquits
 * every hop of both its ways for that class of packets, and the fewest suspects that account for all failures are the
 * answer. Pure.
 */
export function locate({ failing, lossy, all, acquitted, view, trace }: Case): readonly Segment[] {
  const passing = all.filter(({ meaning }) => meaning === 'pass' || meaning === 'error' || meaning === 'lossy');
  const halves = lossy.filter(({ result }) => isHalfAnswered(result));
  const losing = lossy.filter((symptom) => !halves.includes(symptom));
  return [
    ...locateSome(failing, passing, acquitted, view, trace, acquitByPass),
    ...locateSome(losing, all.filter(isCounted), acquitted, view, trace, acquitByRate(losing)),
    // What tells the second query of a socket from the first lets all others through.
    ...locateSome(
      halves,
      passing.filter(isPair),
      acquitted,
      view,
      all.some(isWhole) ? sureOf(trace) : trace,
      acquitByRate(halves),
    ),
  ];
}

/**
 * What is to be located: failures and partial failures that nothing explains, all results as witnesses, and the hops
 * that were read and found right.
 */
export type Case = {
  readonly failing: readonly Judged[];
  readonly lossy: readonly Judged[];
  readonly all: readonly Judged[];
  readonly acquitted: readonly HopPattern[];
  readonly view: View;
  readonly trace: Tracer;
};

type Acquit = (suspect: { readonly covers: ReadonlySet<number> }, witness: Judged) => boolean;

function acquitByPass(): boolean {
  return true;
}

/** Whether the servers answer both queries of a socket: then it is no fault of theirs, whichever of them was asked. */
function isWhole({ probe, meaning }: Judged): boolean {
  return probe.method === 'dns-pair' && meaning === 'pass';
}

/** Traces without what only some alternatives pass. */
function sureOf(trace: Tracer): Tracer {
  return (probe) => ({ ...trace(probe), any: trace(probe).sure });
}

function isPair({ probe }: Judged): boolean {
  return probe.method === 'dns-pair';
}

/** Whether a result counts packets, so that a rate can be read from it. */
function isCounted({ probe, meaning }: Judged): boolean {
  const counts = (probe.method === 'ping' && probe.bytes === undefined) || probe.method === 'udp';
  return counts && (meaning === 'pass' || meaning === 'lossy');
}

/** A suspect that loses packets at the rate of the symptoms would hardly have let this many through. */
function acquitByRate(lossy: readonly Judged[]): Acquit {
  const rates = lossy.map(({ result }) => 1 - result.delivered / result.sent);
  return ({ covers }, { result }) => {
    const suspected = [...covers].map((index) => rates[index] ?? 0).sort((a, b) => a - b);
    const rate = suspected[Math.floor(suspected.length / 2)] ?? 0;
    return atMostLost(result.sent, result.sent - result.delivered, rate) < ACQUIT_BELOW;
  };
}

/** The probability that of `sent` packets at most `lost` are lost at a given rate (binomial distribution). */
export function atMostLost(sent: number, lost: number, rate: number): number {
  if (lost >= sent) return 1;
  if (rate >= 1) return 0;
  let term = (1 - rate) ** sent;
  let sum = term;
  for (let k = 1; k <= lost; k += 1) {
    term *= ((sent - k + 1) / k) * (rate / (1 - rate));
    sum += term;
  }
  return sum;
}

type Suspected = { readonly suspect: Suspect; readonly covers: Set<number> };

function locateSome(
  symptoms: readonly Judged[],
  witnesses: readonly Judged[],
  acquitted: readonly HopPattern[],
  view: View,
  trace: Tracer,
  acquits: Acquit,
): readonly Segment[] {
  if (symptoms.length === 0) return [];
  const suspected = new Map<string, Suspected>();
  symptoms.forEach((judged, index) => {
    // Something answered, if only another query: what is wrong concerns this very port.
    const isNarrow = judged.meaning === 'error' || isRefusal(judged.result.how) || isHalfAnswered(judged.result);
    for (const suspect of suspectsOf(suspectSteps(judged, trace(judged.probe)), isNarrow)) {
      const entry = suspected.get(suspect.key) ?? { suspect, covers: new Set<number>() };
      entry.covers.add(index);
      suspected.set(suspect.key, entry);
    }
  });
  dismiss(suspected, witnesses, view, trace, acquits);
  dismissRead(suspected, acquitted);
  const groups = [...Map.groupBy(suspected.values(), ({ covers }) => [...covers].join(' ')).values()];
  const candidates = groups.map((group) => ({ value: group, covers: group[0]?.covers ?? new Set<number>(), cost: 1 }));
  const [chosen = [], ...others] = cheapestCovers(candidates);
  const covered = new Set(chosen.flatMap((group) => [...(group[0]?.covers ?? [])]));
  const nowhere = symptoms.filter((_, index) => !covered.has(index));
  return [
    ...chosen.map((group) => {
      const rivals = others.flatMap((set) => set.filter((other) => !chosen.includes(other) && overlaps(other, group)));
      return segmentOf(group, symptoms, [...new Set(rivals)]);
    }),
    ...(nowhere.length === 0 ? [] : [unplaced(nowhere)]),
  ];
}

function overlaps(a: readonly Suspected[], b: readonly Suspected[]): boolean {
  return [...(a[0]?.covers ?? [])].some((index) => b[0]?.covers.has(index));
}

/** Removes every suspect that a witness acquits. */
function dismiss(
  suspected: Map<string, Suspected>,
  witnesses: readonly Judged[],
  view: View,
  trace: Tracer,
  acquits: Acquit,
): void {
  const open = createOpenCount(view);
  const places = new Set<string>();
  for (const { suspect } of suspected.values()) {
    open.add(suspect, 1);
    places.add(hopKey(suspect.hop));
  }
  for (const witness of interleaved(witnesses)) {
    // Most probes of a large cluster share no suspect with the failures; their paths need not be found.
    if (!open.mayTouch(witness)) continue;
    for (const { hop, packet } of trace(witness.probe).sure) {
      const place = hopKey(hop);
      if (!places.has(place)) continue;
      for (const packetClass of classesAt(hop.point, packet)) {
        const key = suspectKey(place, packetClass);
        const entry = suspected.get(key);
        if (entry === undefined || !acquits(entry, witness)) continue;
        suspected.delete(key);
        open.add(entry.suspect, -1);
      }
    }
  }
}

/** One witness of each kind from each node, then the next of each: so that the first few acquit nearly everything. */
function interleaved(witnesses: readonly Judged[]): readonly Judged[] {
  const kinds = Map.groupBy(
    witnesses,
    ({ probe }) => `${probe.from.node} ${probe.check} ${probe.method} ${probe.from.pod === null}`,
  );
  const ranked = [...kinds.values()].flatMap((group) => group.map((witness, rank) => ({ witness, rank })));
  return ranked.sort((a, b) => a.rank - b.rank).map(({ witness }) => witness);
}

/** Removes suspects that were read and found right, as long as some other suspect is left for the same symptoms. */
function dismissRead(suspected: Map<string, Suspected>, acquitted: readonly HopPattern[]): void {
  const byPlace = Map.groupBy(acquitted, ({ place }) => place);
  const isRead = ({ hop }: Suspect): boolean => (byPlace.get(hop.place) ?? []).some((pattern) => isAt(pattern, hop));
  for (const group of Map.groupBy(suspected.values(), ({ covers }) => [...covers].join(' ')).values()) {
    const read = group.filter(({ suspect }) => isRead(suspect));
    if (read.length === group.length) continue;
    for (const { suspect } of read) suspected.delete(suspect.key);
  }
}

/** Points that only traffic of pods passes. */
const PODS_ONLY: ReadonlySet<Point> = new Set(['forward', 'forwarding', 'bridge']);

/**
 * Counts open suspects by what a witness has to have to touch them: the node, or the pair of nodes where a hop is bound
 * to a peer; whether only traffic of pods passes there; and the class of packets.
 */
function createOpenCount(view: View): {
  readonly add: (suspect: Suspect, by: number) => void;
  readonly mayTouch: (witness: Judged) => boolean;
} {
  const counts = new Map<string, number>();
  const podNodes = new Map(view.inventory.pods.map(({ namespace, name, node }) => [`pod/${namespace}/${name}`, node]));
  const overlayPorts = [...new Set([...view.networks.values()].flatMap(({ overlay }) => overlay?.vxlan?.port ?? []))];
  const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);
  const hostOf = (place: string): string => podNodes.get(place) ?? place.slice(place.indexOf('/') + 1);
  const hostsOf = ({ place, via }: Hop): string => {
    if (place === 'net') {
      const [from = '', to = ''] = (via ?? '').split('>', 2);
      return pairOf(hostOf(from), hostOf(to));
    }
    const host = hostOf(place);
    if (via === undefined) return host;
    const peer = view.nodeByAddress(via) ?? view.nodeOfPodAddress(via);
    return peer === undefined || peer.name === host ? host : pairOf(host, peer.name);
  };
  const isOpen = (hosts: string, isPod: boolean, packetClass: PacketClass): boolean =>
    (counts.get(`${hosts}|${isPod}|${packetClass}`) ?? 0) > 0;
  return {
    add({ hop, packetClass }, by) {
      const key = `${hostsOf(hop)}|${PODS_ONLY.has(hop.point) || hop.place.startsWith('pod/')}|${packetClass}`;
      counts.set(key, (counts.get(key) ?? 0) + by);
    },
    mayTouch({ probe }) {
      const { from, to, packet, target } = probe;
      // A probe of a Service may end on any node, and on another port.
      if (to.node === null) return true;
      const classes = ['link', 'ip', 'udp', packet.proto, ...overlayPorts.map((port) => `udp port ${port}`)];
      if (packet.dport !== undefined)
        classes.push(`${packet.proto} port ${packet.dport}`, `${packet.proto} source port ${packet.dport}`);
      if (probe.bytes !== undefined) classes.push('full size');
      const pair = pairOf(from.node, to.node);
      const [fromPod, toPod] = [from.pod !== null, target.kind === 'Pod'];
      return classes.some(
        (name) =>
          isOpen(from.node, false, name) ||
          isOpen(to.node ?? '', false, name) ||
          isOpen(pair, false, name) ||
          (fromPod && (isOpen(from.node, true, name) || isOpen(pair, true, name))) ||
          (toPod && (isOpen(to.node ?? '', true, name) || isOpen(pair, true, name))),
      );
    },
  };
}

/** How wide a class is: the widest that is not acquitted is the one to name. */
function width(packetClass: PacketClass): number {
  if (packetClass === 'link') return 4;
  if (packetClass === 'ip') return 3;
  return packetClass.includes(' ') ? 1 : 2;
}

function segmentOf(group: readonly Suspected[], symptoms: readonly Judged[], rivals: readonly (readonly Suspected[])[]): Segment {
  const packetClass = classOf(group);
  const hops = hopsOf(group);
  const accounted = [...(group[0]?.covers ?? [])].flatMap((index) => symptoms[index] ?? []);
  return {
    hops,
    packetClass,
    direction: directionOf(hops),
    layer: layerOf(hops, packetClass, accounted),
    lossPercent: lossOf(accounted),
    symptoms: accounted,
    or: rivals.map(hopsOf),
  };
}

/** Every hop once, however many classes of packets it is suspected of. */
function hopsOf(group: readonly Suspected[]): readonly Hop[] {
  return [...new Map(group.map(({ suspect }) => [hopKey(suspect.hop), suspect.hop])).values()];
}

/**
 * The class to name: the widest that is suspected where all kinds of packets pass, on the wire first, then in a hook; a
 * device of the overlay sees nothing but the overlay, so that its "everything" would mislead.
 */
function classOf(group: readonly Suspected[]): PacketClass {
  const at = (points: readonly Point[]): readonly Suspected[] =>
    group.filter(({ suspect }) => points.includes(suspect.hop.point));
  const telling =
    [at(['wire', 'port']), at(['output', 'input', 'forward', 'prerouting', 'postrouting', 'nat', 'socket']), group].find(
      (list) => list.length > 0,
    ) ?? group;
  const widest = Math.max(...telling.map(({ suspect }) => width(suspect.packetClass)));
  return telling.find(({ suspect }) => width(suspect.packetClass) === widest)?.suspect.packetClass ?? 'ip';
}

/** One way only where the hops of the other way have been acquitted, which only one-way evidence can do. */
function directionOf(hops: readonly Hop[]): Direction {
  const wires = hops.filter((hop) => hop.point === 'wire');
  const ways = new Set(wires.map((hop) => hop.via));
  const ports = new Set(hops.filter((hop) => hop.point === 'port').map((hop) => `${hop.place} ${hop.dir}`));
  if (ports.size > 0) return ports.size === 1 && ways.size <= 1 ? 'outbound' : 'undetermined';
  return ways.size === 1 ? 'outbound' : 'undetermined';
}

function layerOf(hops: readonly Hop[], packetClass: PacketClass, symptoms: readonly Judged[]): Layer {
  if (symptoms.some(({ probe, meaning }) => probe.method === 'arp' && meaning === 'fail')) return 'L2';
  const only = hops.every((hop) => hop.point === 'socket');
  if (only && symptoms.every(({ probe }) => probe.layer === 'DNS')) return 'DNS';
  if (only && symptoms.every(({ meaning }) => meaning === 'error')) return 'L7';
  if (packetClass === 'full size') return 'L3';
  if (hops.every((hop) => hop.point === 'nat' || hop.point === 'socket')) return 'L4';
  return width(packetClass) >= 3 ? 'L3' : 'L4';
}

/** The loss of the symptoms, in percent: that of the one-way ones where there are any, else of all. */
function lossOf(symptoms: readonly Judged[]): number {
  const oneWay = symptoms.filter(({ probe }) => probe.method === 'udp');
  const counted = oneWay.length > 0 ? oneWay : symptoms;
  const sent = counted.reduce((sum, { result }) => sum + result.sent, 0);
  const delivered = counted.reduce((sum, { result, meaning }) => sum + (meaning === 'error' ? 0 : result.delivered), 0);
  return sent === 0 ? 100 : Math.round((1000 * (sent - delivered)) / sent) / 10;
}

/** Failures for which every hop works for other traffic: told as such, not left out. */
function unplaced(symptoms: readonly Judged[]): Segment {
  return {
    hops: [],
    packetClass: 'ip',
    direction: 'undetermined',
    layer: symptoms[0]?.probe.layer ?? 'L3',
    lossPercent: lossOf(symptoms),
    symptoms,
    or: [],
  };
}
