import type { How, Probe, ProbeResult } from '../model/probe.ts';
import { isAnswer } from './results.ts';

/**
 * What a probe's result means once it is seen beside the others.
 *
 * `pass`: packets went all the way; `fail`: none did; `lossy`: some did; `recovered`: many were lost at first and none when
 * it was measured again; `error`: the target answered, with an error, so the way is good and the service is not;
 * `filtered`: this protocol alone is not answered, another shows that the way is good; `denied`: a NetworkPolicy forbids it
 * and it did not pass; `unknown`: no complete evidence; `moot`: a one-way or ARP probe that failed where the ordinary probe
 * passes, which only says that its own protocol is filtered; or queries sent two at once of which none was answered, where
 * single ones are not answered either.
 */
export type Meaning = 'pass' | 'fail' | 'lossy' | 'recovered' | 'error' | 'filtered' | 'denied' | 'unknown' | 'moot';

export type Judged = { readonly probe: Probe; readonly result: ProbeResult; readonly meaning: Meaning };

/** Gives every result its meaning. A measurement that was repeated with more packets counts by the repetition. Pure. */
export function classify(probes: readonly Probe[], results: ReadonlyMap<string, ProbeResult>): readonly Judged[] {
  const last = new Map<string, Probe>();
  for (const probe of probes) {
    const known = last.get(repeatKey(probe));
    const isKnown = results.get(probe.id)?.status !== 'unknown';
    if (known === undefined || (isKnown && probe.round > known.round)) last.set(repeatKey(probe), probe);
  }
  const groups = new Set(
    probes.flatMap(({ id, group }) => (group !== undefined && results.get(id)?.status === 'pass' ? [group] : [])),
  );
  const first = [...last.values()].flatMap((probe) => {
    const result = results.get(probe.id);
    if (result === undefined) return [];
    const earlier = probe.repeats === undefined ? undefined : results.get(probe.repeats);
    const meaning = meaningOf(probe, result, results, groups);
    return meaning === 'pass' && earlier !== undefined && isSevere(probe, earlier) && !isEnough(probe, earlier)
      ? [{ probe, result: earlier, meaning: 'recovered' as const }]
      : [{ probe, result, meaning }];
  });
  const broken = new Set(first.filter(isBrokenExchange).map(({ probe }) => pairKey(probe)));
  const filtered = new Set(first.filter(({ meaning }) => meaning === 'filtered').map(({ probe }) => streamKey(probe)));
  const lossy = new Set(
    first
      .filter(({ probe, meaning }) => meaning === 'lossy' && probe.every !== true)
      .flatMap(({ probe }) => [nodesOf(probe), probe.from.node]),
  );
  return first.map((judged) => {
    const { probe, result, meaning } = judged;
    if (meaning !== 'fail' && meaning !== 'lossy' && meaning !== 'recovered') return judged;
    // A few packets in a row may be lost by chance where others between the same nodes are.
    if (meaning !== 'lossy' && result.sent <= FEW_PACKETS && !isCounted(probe) && lossy.has(nodesOf(probe))) {
      return { ...judged, meaning: 'lossy' };
    }
    if (meaning === 'recovered') return judged;
    if ((probe.method === 'udp' || probe.method === 'arp') && !broken.has(pairKey(probe))) return { ...judged, meaning: 'moot' };
    // Where ping is filtered, a ping of another size says nothing about size.
    if (probe.method === 'ping' && filtered.has(streamKey(probe))) return { ...judged, meaning: 'filtered' };
    return judged;
  });
}

/** Errors that only something which inspects the packet answers with: a rule or the target, no device and no wire. */
export function isRefusal(how: How | null): boolean {
  return how === 'refused' || how === 'reset' || how === 'prohibited' || how === 'refused-locally';
}

/** Whether one of two queries that were sent at once was lost: not by what stops them all. */
export function isHalfAnswered({ how }: ProbeResult): boolean {
  return how === 'half-answered';
}

/** `groups` are those of which a member gave what was asked for. */
function meaningOf(
  probe: Probe,
  result: ProbeResult,
  results: ReadonlyMap<string, ProbeResult>,
  groups: ReadonlySet<string>,
): Meaning {
  if (result.status === 'unknown') return 'unknown';
  if (result.status === 'pass') return 'pass';
  if (probe.expect === 'deny') return 'denied';
  if (result.how !== null && isAnswer(result.how)) return isGoodEnough(probe, result.how, groups) ? 'pass' : 'error';
  if (result.delivered > 0) return 'lossy';
  const sibling = probe.sibling === undefined ? undefined : results.get(probe.sibling);
  if (probe.method === 'dns-pair') return sibling?.status === 'pass' ? 'fail' : 'moot';
  const isRejected = result.how === 'prohibited' || result.how === 'refused-locally';
  if (sibling?.status === 'pass' && !(sibling.how === 'refused' && isRejected)) return 'filtered';
  return 'fail';
}

/** Whether an error is all that can be asked of the target: see `group` of a probe. */
function isGoodEnough({ group }: Probe, how: How, groups: ReadonlySet<string>): boolean {
  if (group === undefined) return false;
  if (how === 'refused-by-server' || how === 'nxdomain') return true;
  return how === 'servfail' && !groups.has(group);
}

/** Whether so much was lost that it is told even when it is over: a whole exchange, or one packet in six of ten or more. */
function isSevere(probe: Probe, { status, sent, delivered, how }: ProbeResult): boolean {
  // Queries sent two at once are about what tells the two apart.
  if (probe.method === 'dns-pair' && how !== 'half-answered') return false;
  if (!isCounted(probe)) return status === 'fail' && delivered === 0;
  return status !== 'unknown' && sent >= 10 && (sent - delivered) * 6 >= sent;
}

/**
 * Whether the repetition says all there is to say: of exchanges that are so many that a fault cannot miss them all, some had
 * no answer at first, as where the node or the server had no time for them.
 */
function isEnough({ every }: Probe, { delivered }: ProbeResult): boolean {
  return every === true && delivered > 0;
}

/** Where some packets are lost at random, so many in a row may be, now and then; not more. */
export const FEW_PACKETS = 5;

/** Whether a probe sends enough packets for a rate. */
function isCounted({ method, bytes, every }: Probe): boolean {
  return (method === 'ping' && bytes === undefined) || method === 'udp' || every === true;
}

/** The pair of nodes that a probe goes between; where the target may be anywhere, as a Service's, the node it starts on. */
export function nodesOf({ from, to }: Probe): string {
  return to.node === null ? from.node : [from.node, to.node].sort().join(' ');
}

function isBrokenExchange({ probe, meaning }: Judged): boolean {
  return probe.method !== 'udp' && probe.method !== 'arp' && (meaning === 'fail' || meaning === 'lossy');
}

/** Two nodes, either way round, as one kind of probe sees them. */
export function pairKey({ check, from, to }: Probe): string {
  return `${check} ${[from.node, to.node ?? to.ip].sort().join(' ')}`;
}

function streamKey({ from, to }: Probe): string {
  return `${from.node} ${from.pod ?? ''} ${to.ip}`;
}

function repeatKey({ check, method, from, to, bytes }: Probe): string {
  return `${check} ${method} ${from.node} ${from.pod ?? ''} ${to.ip} ${to.port ?? ''} ${bytes ?? ''}`;
}
