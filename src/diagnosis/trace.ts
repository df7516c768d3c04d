import type { Paths } from '../dataplane/paths.ts';
import { type Hop, nodePlace, type Point, type Step } from '../model/hop.ts';
import type { Packet } from '../model/packet.ts';
import type { Probe } from '../model/probe.ts';
import { isHalfAnswered, isRefusal, type Judged } from './classify.ts';

/**
 * A class of packets, from everything on a link down to one port: `link` is everything, ARP too; `ip` every IP packet;
 * then a protocol, a protocol and port, or packets of full size.
 */
export type PacketClass = string;

/** A suspect: one hop, for one class of packets. Suspects with the same key are the same. */
export type Suspect = { readonly key: string; readonly hop: Hop; readonly packetClass: PacketClass };

/**
 * Every step of a probe's paths; `ways` are its alternatives, there and back; `sure` are the steps at hops that every one of
 * them takes, hence what a success acquits, but for what tells their packets apart: the addresses.
 */
export type Trace = {
  readonly any: readonly Step[];
  readonly ways: readonly (readonly Step[])[];
  readonly sure: readonly Step[];
  readonly paths: Paths;
};

/** Points that can tell packets apart by protocol and port; for a route, policy rules do. */
const FILTERS: ReadonlySet<Point> = new Set([
  'route',
  'output',
  'input',
  'forward',
  'prerouting',
  'postrouting',
  'nat',
  'port',
  'wire',
  'opaque',
  'socket',
]);

/** Points that can tell packets apart by size. */
const SIZED: ReadonlySet<Point> = new Set(['dev', 'tunnel', 'port', 'wire', 'opaque', 'bridge']);

/** From this size on, in bytes, a packet counts as one of full size. */
const FULL_SIZE = 1000;

/** Finds and remembers the trace of each probe. */
export function createTracer(pathsOf: (probe: Probe) => Paths): (probe: Probe) => Trace {
  const known = new Map<string, Trace>();
  return (probe) => {
    const found = known.get(probe.id);
    if (found !== undefined) return found;
    const paths = pathsOf(probe);
    const any = [...paths.request.flat(), ...paths.reply.flat()];
    const sure = [...paths.request, ...paths.reply].length > 2 ? common(paths) : any;
    const ways = paths.request.map((steps, index) => [...steps, ...(paths.reply[index] ?? [])]);
    const trace = { any, ways, sure, paths };
    known.set(probe.id, trace);
    return trace;
  };
}

/** The steps that all alternatives of a direction share. */
function common({ request, reply }: Paths): readonly Step[] {
  return [request, reply].flatMap((alternatives) => {
    const [first = [], ...others] = alternatives;
    const keys = others.map((steps) => new Set(steps.map((step) => hopKey(step.hop))));
    return first.filter((step) => keys.every((present) => present.has(hopKey(step.hop))));
  });
}

/** What tells two hops apart. */
export function hopKey({ place, point, dev, dir, iif, oif, via }: Hop): string {
  return `${place}|${point}|${dev ?? ''}|${dir ?? ''}|${iif ?? ''}|${oif ?? ''}|${via ?? ''}`;
}

/** The classes that a packet belongs to at a point, the widest first. */
export function classesAt(point: Point, packet: Packet): readonly PacketClass[] {
  if (packet.proto === 'arp') return ['link'];
  const classes: PacketClass[] = ['link', 'ip'];
  if (FILTERS.has(point)) {
    classes.push(packet.proto);
    if (packet.dport !== undefined) classes.push(`${packet.proto} port ${packet.dport}`);
    if (packet.sport !== undefined) classes.push(`${packet.proto} source port ${packet.sport}`);
  }
  if (SIZED.has(point) && packet.size !== undefined && packet.size >= FULL_SIZE) classes.push('full size');
  return classes;
}

/** What tells two suspects apart: where, as `hopKey` has it, and which packets. */
export function suspectKey(place: string, packetClass: PacketClass): string {
  return `${place}|${packetClass}`;
}

/** Everything that steps cast suspicion on, or acquit; of each step only the narrowest class, where that is asked. */
export function suspectsOf(steps: readonly Step[], isNarrow = false): readonly Suspect[] {
  const suspects = new Map<string, Suspect>();
  for (const { hop, packet } of steps) {
    const place = hopKey(hop);
    const classes = classesAt(hop.point, packet);
    for (const packetClass of isNarrow ? classes.slice(-1) : classes) {
      const key = suspectKey(place, packetClass);
      if (!suspects.has(key)) suspects.set(key, { key, hop, packetClass });
    }
  }
  return [...suspects.values()];
}

/** What a failed probe casts suspicion on: a refusal was decided by something that looks into packets. */
export function suspectSteps({ probe, result, meaning }: Judged, trace: Trace): readonly Step[] {
  if (meaning === 'error') return targetSockets(trace);
  if (result.how === 'refused-locally') return ownStack(probe, trace);
  if (isHalfAnswered(result)) return trace.any.filter((step) => isSeen(probe, step));
  return isRefusal(result.how) ? trace.any.filter(({ hop }) => FILTERS.has(hop.point)) : trace.any;
}

/** Whether something may look into a probe's packets at a step: not where they go inside of others. */
function isSeen({ packet: { dport } }: Probe, { hop, packet }: Step): boolean {
  return FILTERS.has(hop.point) && (packet.dport === dport || packet.sport === dport);
}

/** Points at which the sender's own stack decides whether a packet leaves at all. */
const OWN_STACK: ReadonlySet<Point> = new Set(['output', 'route', 'nat', 'postrouting']);

/** The steps of the request in the network namespace that it starts in. */
function ownStack({ from }: Probe, { paths }: Trace): readonly Step[] {
  const place = from.pod === null ? nodePlace(from.node) : `pod/${from.pod}`;
  return paths.request.flat().filter(({ hop }) => hop.place === place && OWN_STACK.has(hop.point));
}

/** The last step of the request, in each of its alternatives: the process, or the absence of one, on the target. */
export function targetSockets({ paths }: Trace): readonly Step[] {
  return paths.request.flatMap((steps) => steps.slice(-1));
}
