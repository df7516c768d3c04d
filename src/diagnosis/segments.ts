import type { View } from '../dataplane/view.ts';
import { entityName } from '../model/entity.ts';
import type { Citation } from '../model/finding.ts';
import type { Hop } from '../model/hop.ts';
import type { Direction, Verdict } from '../model/verdict.ts';
import { isHalfAnswered, type Judged } from './classify.ts';
import type { Segment } from './locate.ts';
import type { PacketClass } from './trace.ts';
import { counted, listOf, sortNames } from './words.ts';

type Located = Verdict['located'][number];

/**
 * Puts located segments into words: where, which packets, which way, what to do next. Segments between pairs of hosts
 * with the same class are told together. Pure.
 */
export function describeSegments(segments: readonly Segment[], view: View): readonly Located[] {
  const between = segments.filter((segment) => pairOf(segment.hops) !== null);
  const elsewhere = segments.filter((segment) => pairOf(segment.hops) === null);
  const together = Map.groupBy(between, ({ layer, lossPercent }) => `${layer} ${lossPercent === 100}`);
  return [
    ...[...together.values()].map((group) => describePairs(group, view)),
    ...mergeAlike(mergeClasses(elsewhere).map((segment) => describeOne(segment, view))),
  ];
}

/** The way into a place and the way out of it may read the same: one place then, and no direction. */
function mergeAlike(located: readonly Located[]): readonly Located[] {
  const groups = Map.groupBy(located, (item) => `${item.segment}\n${item.layer}\n${item.class}`);
  return [...groups.values()].flatMap(([first, ...others]) => {
    if (first === undefined || others.length === 0) return first ?? [];
    const all = [first, ...others];
    return [
      {
        ...first,
        direction: 'undetermined' as const,
        lossPercent: Math.max(...all.map(({ lossPercent }) => lossPercent)),
        symptoms: [...new Set(all.flatMap(({ symptoms }) => symptoms))],
        evidence: all.flatMap(({ evidence }) => evidence.slice(0, 2)),
      },
    ];
  });
}

/** Segments of the same hops that differ only in the class of packets are one fault. */
function mergeClasses(segments: readonly Segment[]): readonly (Segment & { readonly classes: readonly PacketClass[] })[] {
  const placeOf = ({ hops }: Segment): string =>
    sortNames(hops.map(({ place, point, via }) => `${place} ${point} ${via ?? ''}`)).join(', ');
  return [...Map.groupBy(segments, placeOf).values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    return [
      {
        ...first,
        classes: sortNames(group.map(({ packetClass }) => packetClass)),
        direction: group.every(({ direction }) => direction === first.direction) ? first.direction : ('undetermined' as const),
        symptoms: [...new Set(group.flatMap(({ symptoms }) => symptoms))],
      },
    ];
  });
}

/** The two hosts between which all hops of a segment lie, in the order of the way that fails, or null. */
function pairOf(hops: readonly Hop[]): readonly [string, string] | null {
  const wires = hops.filter((hop) => hop.point === 'wire');
  if (wires.length === 0 || hops.some((hop) => hop.point === 'port')) return null;
  const pairs = new Set(wires.map((hop) => (hop.via ?? '').split('>').sort().join('>')));
  const [from = '', to = ''] = (wires[0]?.via ?? '').split('>', 2);
  return pairs.size === 1 ? [from, to] : null;
}

function describePairs(segments: readonly Segment[], view: View): Located {
  const pairs = segments.flatMap(({ hops }) => pairOf(hops) ?? []);
  const ways = new Set(segments.flatMap(({ hops }) => hops.flatMap((hop) => (hop.point === 'wire' ? [hop.via ?? ''] : []))));
  const direction = pairDirection(segments, ways);
  const symptoms = [...new Set(segments.flatMap((segment) => segment.symptoms))];
  const [first] = segments;
  const classes = widest(segments.map(({ packetClass }) => packetClass));
  const ends = [...new Set(segments.map(({ hops }) => pairText(hops, direction, view)))];
  return {
    segment: ends.length <= 3 ? `between ${listOf(ends)}` : groupsText(segments, ends.length),
    layer: first?.layer ?? 'L3',
    class: classText(classes),
    direction,
    lossPercent: Math.max(...segments.map(({ lossPercent }) => lossPercent)),
    symptoms: symptoms.map(({ probe }) => probe.id),
    evidence: measurements(symptoms),
    next: captureAdvice(sortNames(pairs.map(hostName)), classes, view),
  };
}

/** Both ways count as measured when each has been found guilty by itself, or when one has been acquitted. */
function pairDirection(segments: readonly Segment[], ways: ReadonlySet<string>): Direction {
  if (segments.some((segment) => segment.direction === 'undetermined')) return 'undetermined';
  return [...ways].some((way) => ways.has(way.split('>').toReversed().join('>'))) ? 'both' : 'outbound';
}

function pairText(hops: readonly Hop[], direction: Direction, view: View): string {
  const [from = '', to = ''] = pairOf(hops) ?? [];
  const [a, b] =
    direction === 'outbound'
      ? [from, to]
      : ([from, to].sort((x, y) => x.localeCompare(y, 'en', { numeric: true })) as [string, string]);
  return `${endText(a, view)} and ${endText(b, view)}${direction === 'outbound' ? ` (from ${hostName(a)} to ${hostName(b)})` : ''}`;
}

function groupsText(segments: readonly Segment[], count: number): string {
  const partners = new Map<string, Set<string>>();
  for (const { hops } of segments) {
    const [a = '', b = ''] = (pairOf(hops) ?? []).map(hostName);
    partners.set(a, (partners.get(a) ?? new Set()).add(b));
    partners.set(b, (partners.get(b) ?? new Set()).add(a));
  }
  const [start = ''] = sortNames(partners.keys());
  const right = sortNames(partners.get(start) ?? []);
  const left = sortNames([...partners.keys()].filter((name) => !right.includes(name)));
  const isSplit = left.every((name) => partners.get(name)?.size === right.length);
  return isSplit
    ? `in the network between ${listOf(left, 8)} on one side and ${listOf(right, 8)} on the other`
    : `in the network between ${counted(count, 'pair')} of ${listOf(sortNames(partners.keys()), 8)}`;
}

function endText(place: string, view: View): string {
  const [kind, name = ''] = place.split('/', 2);
  const node = kind === 'node' ? view.nodeByName(name) : undefined;
  return node === undefined ? name : `${name}'s ${view.networkOf(node).uplink?.name ?? 'uplink'}`;
}

function hostName(place: string): string {
  return place.slice(place.indexOf('/') + 1);
}

function describeOne(segment: Segment & { readonly classes: readonly PacketClass[] }, view: View): Located {
  const rivals = segment.or.map((hops) => whereText(hops, view)).filter((text) => text !== whereText(segment.hops, view));
  return {
    segment: [whereText(segment.hops, view), ...new Set(rivals)].join(', or '),
    layer: segment.layer,
    class: classText(widest(segment.classes)),
    direction: segment.direction,
    lossPercent: segment.lossPercent,
    symptoms: segment.symptoms.map(({ probe }) => probe.id),
    evidence: measurements(segment.symptoms),
    next: adviceFor(segment, view),
  };
}

/** The names of hops that cannot be told apart, in the words of who operates them. */
function whereText(hops: readonly Hop[], view: View): string {
  if (hops.length === 0) return 'somewhere on the way: every part of it works for other traffic';
  const ports = sortNames(hops.flatMap((hop) => (hop.point === 'port' ? [hostName(hop.place)] : [])));
  const nodes = sortNames(hops.flatMap((hop) => (hop.place.startsWith('node/') ? [hostName(hop.place)] : [])));
  const pods = sortNames(hops.flatMap((hop) => (hop.place.startsWith('pod/') ? [hostName(hop.place)] : [])));
  if (ports.length > 0) {
    const unseen = ports.filter((port) => nodes.includes(port) && !view.networks.has(port));
    return `between the network and ${listOf(ports)}: the link${unseen.length > 0 ? `, or ${listOf(unseen)} itself` : ''}`;
  }
  const wires = hops.filter((hop) => hop.point === 'wire');
  if (wires.length > 0)
    return `in the network between ${listOf(sortNames(wires.flatMap((hop) => (hop.via ?? '').split('>').map(hostName))), 8)}`;
  const points = sortNames(hops.filter((hop) => hop.place.startsWith('node/')).map((hop) => pointText(hop, view)));
  if (pods.length > 0 && nodes.length === 0) return `in the pod ${listOf(pods)}: its link, its filters or the process in it`;
  if (pods.length > 0) return `between ${listOf(nodes)} and the pod ${listOf(pods)}`;
  if (nodes.length > 0) return `on ${listOf(nodes)}: ${listOf(points, 6)}`;
  return `at ${listOf(sortNames(hops.map((hop) => hostName(hop.place))))}`;
}

function pointText(hop: Hop, view: View): string {
  switch (hop.point) {
    case 'nat': {
      const service = view.serviceByAddress(hop.via ?? '');
      return `the translation of ${service === undefined ? hop.via : `the Service ${service.namespace}/${service.name} (${hop.via})`}`;
    }
    case 'socket':
      return 'the process that should answer';
    case 'forwarding':
      return `forwarding from ${hop.dev}`;
    case 'rp-filter':
      return `the reverse path filter of ${hop.dev}`;
    case 'neigh':
      return `the neighbour entry${hop.via === undefined ? '' : ` of ${hop.via}`}`;
    case 'fdb':
      return `the forwarding database of ${hop.dev}`;
    case 'route':
      return `the route${hop.via === undefined ? '' : ` to ${hop.via}`}`;
    case 'bridge':
      return `the pod's port on ${hop.dev}`;
    case 'dev':
    case 'tunnel':
    case 'opaque':
      return hop.dev ?? 'the device';
    default:
      return `the ${hop.point} hook`;
  }
}

/** Only the widest classes: what is true of all UDP need not be said of a port. */
function widest(classes: readonly PacketClass[]): readonly PacketClass[] {
  if (classes.includes('link')) return ['link'];
  if (classes.includes('ip')) return ['ip'];
  return sortNames(classes.filter((name) => !classes.some((other) => name !== other && name.startsWith(`${other} `))));
}

function classText(classes: readonly PacketClass[]): string {
  const texts = classes.map((name) => {
    if (name === 'link') return 'every packet';
    if (name === 'ip') return 'every IP packet';
    if (name === 'full size') return 'only packets of full size';
    const [protocol = '', ...rest] = name.split(' ');
    return `only ${[protocol.toUpperCase(), ...rest].join(' ')}`;
  });
  return listOf(texts);
}

/** The capture filter that shows a class of packets, as tcpdump(8) takes it. */
function filterText(classes: readonly PacketClass[]): string {
  const [only] = classes;
  if (classes.length !== 1 || only === undefined || only === 'link' || only === 'ip') return '';
  if (only === 'full size') return 'greater 1000 and ';
  return `${only.replace('source port', 'src port')} and `;
}

function captureAdvice(hosts: readonly string[], classes: readonly PacketClass[], view: View): string {
  const [a = '', b = ''] = hosts;
  const address = view.nodeByName(b)?.ip ?? b;
  const where = hosts.length === 2 ? `${a} and on ${b}` : 'one node of either side';
  return `Capture on ${where} at the same time (tcpdump -ni any '${filterText(classes)}host ${address}'): what leaves one and never arrives at the other is lost in the network between them: security group, switch port, ACL.`;
}

function adviceFor({ hops, classes, symptoms }: Segment & { readonly classes: readonly PacketClass[] }, view: View): string {
  const [first] = hops;
  if (symptoms.every(({ result }) => isHalfAnswered(result))) return HALF_ANSWERED_ADVICE;
  if (first === undefined)
    return 'Run the check again: if it fails in the same places, capture at both ends of one of the failing pairs.';
  const port = hops.find((hop) => hop.point === 'port');
  if (port !== undefined) {
    const host = hostName(port.place);
    return `Look at ${host} from its console: is its uplink up and does it see packets (tcpdump -ni any '${filterText(classes)}host ${view.nodeByName(host)?.ip ?? host}')? Then at its switch port, security group and ACL.`;
  }
  const pod = hops.find((hop) => hop.place.startsWith('pod/'));
  if (pod !== undefined) {
    const [namespace = '', name = ''] = hostName(pod.place).split('/', 2);
    const look = `kubectl -n ${namespace} describe pod ${name}`;
    const [on] = sortNames(hops.flatMap((hop) => (hop.place.startsWith('node/') ? [hostName(hop.place)] : [])));
    return on !== undefined && classes.some((item) => item === 'link' || item === 'ip')
      ? `Look at the pod's link on ${on}: is its veth device up and a port of the bridge (ip -br link; bridge link)? Then at the pod: ${look}.`
      : `Look at the pod: kubectl -n ${namespace} logs ${name} and ${look}; does it listen, is it ready, what restarts it?`;
  }
  const node = hostName(first.place);
  if (hops.some((hop) => hop.point === 'nat'))
    return `Look at kube-proxy on ${node}: is its pod running and do its logs show errors? Compare the rules of the Service there with another node's.`;
  return `Look at ${node}: capture on both sides of the place named while the probe runs.`;
}

const HALF_ANSWERED_ADVICE =
  "Capture on both sides of the place named while a pod looks a name up (tcpdump -ni any 'udp port 53'): of two queries with the same source port one leaves and never arrives, or its answer does not. Until then NodeLocal DNSCache, or options single-request-reopen in the dnsConfig of pods with glibc, spares programs the five seconds.";

/** A few measurements that show the fault: the failing probes, shortest first, one-way ones before the others. */
function measurements(symptoms: readonly Judged[]): Citation[] {
  return [...symptoms]
    .sort((a, b) => Number(b.probe.method === 'udp') - Number(a.probe.method === 'udp'))
    .slice(0, 4)
    .map(({ probe, result }) => ({
      where: probe.from.pod ?? probe.from.node,
      source: probe.id,
      text: `${entityName(probe.subject)} to ${entityName(probe.target)}: ${result.delivered} of ${result.sent} packets${result.detail === undefined ? '' : `, ${result.detail}`}`,
    }));
}
