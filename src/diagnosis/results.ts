import { z } from 'zod';
import { incomplete } from '../checks/kit/check.ts';
import { type PingLine, readFping } from '../checks/kit/fping.ts';
import type { Evidence, NodeEvidence } from '../model/evidence.ts';
import type { How, Probe, ProbeResult } from '../model/probe.ts';
import { DatagramCounts, DnsPairsOutcome, ExchangeOutcome, SendOutcome } from '../model/wire/agent.ts';
import { heardKey, probeKey } from './tasks.ts';

/** fping's exit status when some targets did not answer, beside success. */
const FPING_EXIT_CODES = [0, 1];

/** A kernel error that comes back sooner than this was decided at once, not after waiting for a neighbour; ms. */
const AT_ONCE_MS = 500;

/**
 * How every planned probe ended, from the evidence of all nodes. A probe whose evidence is missing or incomplete is
 * `unknown`; one that was not needed, because a ping of the same target was answered, has no result at all. `tagOf` has to be the
 * numbering that the probes were sent with. Pure.
 */
export function probeResults(
  probes: readonly Probe[],
  evidence: ReadonlyMap<string, NodeEvidence>,
  tagOf: (probe: Probe) => string,
): ReadonlyMap<string, ProbeResult> {
  const read = createReader(evidence);
  const results = new Map<string, ProbeResult>();
  for (const probe of probes) {
    const result = resultOf(probe, read, tagOf);
    if (result !== null) results.set(probe.id, result);
  }
  return results;
}

type Reader = {
  readonly item: (node: string, key: string) => Evidence | undefined;
  readonly session: (node: string) => NodeEvidence | undefined;
  readonly faultOf: (node: string) => string;
  readonly pings: (evidence: Evidence, asked: number) => ReadonlyMap<string, PingLine>;
  readonly exchanges: (evidence: Evidence) => ReadonlyMap<string, ExchangeOutcome> | null;
  readonly pairs: (evidence: Evidence) => readonly DnsPairsOutcome[] | null;
  readonly sent: (evidence: Evidence) => SendOutcome | null;
  readonly heard: (evidence: Evidence) => DatagramCounts | null;
};

/** Reads each piece of evidence once, however many probes share it. */
function createReader(evidence: ReadonlyMap<string, NodeEvidence>): Reader {
  const pings = createMemory<ReadonlyMap<string, PingLine>>();
  const exchanges = createMemory<ReadonlyMap<string, ExchangeOutcome> | null>();
  const pairs = createMemory<readonly DnsPairsOutcome[] | null>();
  const sent = createMemory<SendOutcome | null>();
  const heard = createMemory<DatagramCounts | null>();
  return {
    item: (node, key) => evidence.get(node)?.items[key],
    session: (node) => evidence.get(node),
    faultOf: (node) => evidence.get(node)?.fault?.message ?? 'the agent sent no result',
    pings: (item, asked) => pings(item, () => readFping(item.stdout, item.stderr, asked)),
    exchanges: (item) =>
      exchanges(item, () => {
        const outcomes = parseJson(z.array(ExchangeOutcome), item.stdout);
        return outcomes === null ? null : new Map(outcomes.map((outcome) => [outcome.id, outcome]));
      }),
    pairs: (item) => pairs(item, () => parseJson(z.array(DnsPairsOutcome), item.stdout)),
    sent: (item) => sent(item, () => parseJson(SendOutcome, item.stdout)),
    heard: (item) => heard(item, () => parseJson(DatagramCounts, item.stdout)),
  };
}

function createMemory<T>(): (evidence: Evidence, read: () => T) => T {
  const known = new WeakMap<Evidence, { readonly value: T }>();
  return (evidence, read) => {
    const entry = known.get(evidence) ?? { value: read() };
    known.set(evidence, entry);
    return entry.value;
  };
}

function parseJson<T>(schema: z.ZodType<T>, text: string): T | null {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function resultOf(probe: Probe, read: Reader, tagOf: (probe: Probe) => string): ProbeResult | null {
  if (probe.method === 'exec') return sessionResult(probe, read.session(probe.to.node ?? ''));
  const item = read.item(probe.from.node, probeKey(probe));
  if (item === undefined) return unknown(probe, read.faultOf(probe.from.node));
  const gap = incomplete(item, probe.method === 'ping' || probe.method === 'arp' ? FPING_EXIT_CODES : [0]);
  if (gap !== null) return unknown(probe, gap);
  switch (probe.method) {
    case 'ping':
      return pingResult(probe, read.pings(item, probe.count).get(probe.to.ip));
    case 'arp':
      return arpResult(probe, item);
    case 'dns-pair':
      return pairsResult(
        probe,
        read.pairs(item)?.find(({ id }) => id === tagOf(probe)),
      );
    case 'udp':
      return datagramResult(probe, tagOf(probe), read, item);
    default: {
      const outcomes = read.exchanges(item);
      // Without this, what cannot be read would pass for what was not needed.
      if (outcomes === null) return unknown(probe, `${item.argv.join(' ')}: unreadable output`);
      return exchangeResult(probe, outcomes.get(tagOf(probe)), read.session(probe.to.node ?? '')?.fault !== undefined);
    }
  }
}

function unknown(probe: Probe, detail: string): ProbeResult {
  return { probe: probe.id, status: 'unknown', sent: 0, delivered: 0, how: null, detail };
}

function sessionResult(probe: Probe, session: NodeEvidence | undefined): ProbeResult {
  const ms = session?.readyMs;
  if (ms !== undefined)
    return { probe: probe.id, status: 'pass', sent: 1, delivered: 1, how: 'ok', rtt: { min: ms, avg: ms, max: ms } };
  const fault = session?.fault;
  if (fault?.kind !== 'unreachable') return unknown(probe, fault?.message ?? 'the agent was not asked');
  const how = /refused/.test(fault.message) ? 'refused' : /no route/.test(fault.message) ? 'no-route' : 'timeout';
  return { probe: probe.id, status: 'fail', sent: 1, delivered: 0, how, detail: fault.message };
}

function pingResult(probe: Probe, line: PingLine | undefined): ProbeResult {
  if (line === undefined || line.sent === 0) return unknown(probe, 'fping said nothing of this target');
  // A duplicated reply counts once.
  const delivered = Math.min(line.received, line.sent);
  return {
    probe: probe.id,
    status: delivered === line.sent ? 'pass' : 'fail',
    sent: line.sent,
    delivered,
    how: delivered === line.sent ? 'ok' : howOfPing(probe, line),
    ...(line.rtt === null ? {} : { rtt: line.rtt }),
    ...(line.error === null ? {} : { detail: `ICMP ${line.error.text} from ${line.error.from}` }),
  };
}

function howOfPing(probe: Probe, { error }: PingLine): How {
  if (error === null) return 'timeout';
  if (/Prohibited|Port Unreachable|Protocol Unreachable/.test(error.text))
    return error.from === probe.from.ip ? 'refused-locally' : 'prohibited';
  if (/Fragmentation Needed/.test(error.text)) return 'too-big';
  return error.from === probe.from.ip && error.text === 'Host Unreachable' ? 'no-neighbour' : 'no-route';
}

function arpResult(probe: Probe, item: Evidence): ProbeResult {
  const sent = Number(/^Sent (\d+) probes/m.exec(item.stdout)?.[1] ?? 0);
  const received = Number(/^Received (\d+) response/m.exec(item.stdout)?.[1] ?? 0);
  if (sent === 0) return unknown(probe, 'arping sent nothing');
  // Two nodes that answer for one address give more answers than questions; that is another check's finding.
  const delivered = received > 0 ? sent : 0;
  return { probe: probe.id, status: received > 0 ? 'pass' : 'fail', sent, delivered, how: received > 0 ? 'ok' : 'no-neighbour' };
}

function datagramResult(probe: Probe, tag: string, read: Reader, item: Evidence): ProbeResult {
  const sent = read.sent(item);
  if (sent === null) return unknown(probe, 'the sender said nothing of its datagrams');
  const receiver = probe.receiver ?? '';
  const counts = read.item(receiver, heardKey(probe));
  const gap = counts === undefined ? read.faultOf(receiver) : incomplete(counts);
  const heard = counts === undefined || gap !== null ? null : read.heard(counts);
  if (heard === null) return unknown(probe, `the receiver's count is missing: ${gap ?? 'unreadable'}`);
  const error = sent.errors[tag];
  const count = sent.sent[tag] ?? 0;
  if (count === 0 && error === undefined) return unknown(probe, 'no datagram was sent');
  const delivered = Math.min(heard[tag] ?? 0, count);
  return {
    probe: probe.id,
    status: count > 0 && delivered === count ? 'pass' : 'fail',
    sent: Math.max(count, 1),
    delivered,
    how: howOfDatagrams(delivered === count && count > 0, error),
    ...(error === undefined ? {} : { detail: error }),
  };
}

/** Errors with which the sender's own kernel refuses: a rule in OUTPUT, a prohibit route, a blackhole route. */
const REFUSED_LOCALLY: ReadonlySet<string> = new Set(['EPERM', 'EACCES', 'EINVAL']);

function howOfDatagrams(isAllThere: boolean, error: string | undefined): How {
  if (isAllThere) return 'ok';
  if (error === undefined) return 'timeout';
  return REFUSED_LOCALLY.has(error) ? 'refused-locally' : 'no-route';
}

/** `isTargetGone`: the agent of the target's node broke off, so that nothing is known to listen there any more. */
function exchangeResult(probe: Probe, outcome: ExchangeOutcome | undefined, isTargetGone: boolean): ProbeResult | null {
  if (outcome === undefined) return probe.ifSilent === true ? null : unknown(probe, 'the agent said nothing of this exchange');
  const how = howOfExchange(probe, outcome);
  if (how === null) return unknown(probe, `${outcome.result} ${outcome.detail}`.trim());
  // A reset from a port on which nothing is known to listen shows that the packet arrived.
  const arrived = how === 'ok' || (probe.method === 'tcp' && how === 'refused' && (probe.listens !== true || isTargetGone));
  const { ms } = outcome;
  if (probe.every === true && !isAnswer(how)) return everyResult(probe, outcome, how);
  return {
    probe: probe.id,
    status: arrived ? 'pass' : 'fail',
    // An exchange is tried again until it is answered: it says whether packets pass, not how many are lost.
    sent: arrived || isAnswer(how) ? 1 : outcome.attempts,
    delivered: arrived || isAnswer(how) ? 1 : 0,
    how,
    ...(arrived ? { rtt: { min: ms, avg: ms, max: ms } } : {}),
    ...(how === 'ok' ? {} : { detail: detailOf(outcome) }),
  };
}

/**
 * Queries that were sent two at once. Only pairs with an answer count: what loses both is not about pairs. What came only
 * when it was asked for again was lost.
 */
function pairsResult(probe: Probe, outcome: DnsPairsOutcome | undefined): ProbeResult {
  if (outcome === undefined || outcome.pairs.length === 0) return unknown(probe, 'the agent said nothing of these queries');
  const { pairs } = outcome;
  const seen = pairs.filter(({ a, aaaa }) => a !== null || aaaa !== null);
  if (seen.length === 0) {
    const said = pairs.find(({ error }) => error !== '')?.error.trim();
    const detail = `no answer to ${2 * pairs.length} queries${said === undefined ? '' : `, ${said}`}`;
    return { probe: probe.id, status: 'fail', sent: 2 * pairs.length, delivered: 0, how: 'timeout', detail };
  }
  const halves = seen.filter(({ a, aaaa, again }) => again || a === null || aaaa === null);
  const late = halves.filter(({ a, aaaa }) => a !== null && aaaa !== null);
  const times = seen.filter((pair) => !halves.includes(pair)).map(({ a, aaaa }) => Math.max(a ?? 0, aaaa ?? 0));
  const sent = 2 * seen.length;
  const common = { probe: probe.id, sent, delivered: sent - halves.length };
  if (halves.length === 0) {
    const avg = Math.round((100 * times.reduce((sum, ms) => sum + ms, 0)) / times.length) / 100;
    return { ...common, status: 'pass', how: 'ok', rtt: { min: Math.min(...times), avg, max: Math.max(...times) } };
  }
  const detail = `of ${seen.length} pairs of queries ${halves.length} had one answer only, ${late.length} of them the other when it was asked for again`;
  return { ...common, status: 'fail', how: 'half-answered', detail };
}

/** Exchanges that stand each for itself: how many were answered. */
function everyResult(probe: Probe, outcome: ExchangeOutcome, how: How): ProbeResult {
  const { attempts, answered } = outcome;
  return {
    probe: probe.id,
    status: answered === attempts ? 'pass' : 'fail',
    sent: attempts,
    delivered: answered,
    how,
    ...(how === 'ok' ? {} : { detail: `${answered} of ${attempts} answered` }),
  };
}

const ANSWERS: ReadonlySet<How> = new Set([
  'nxdomain',
  'servfail',
  'refused-by-server',
  'wrong-answer',
  'http-error',
  'tls-error',
]);

/** Whether the target itself answered, if only with an error: then packets go both ways. */
export function isAnswer(how: How): boolean {
  return ANSWERS.has(how);
}

function detailOf({ result, detail, ms, attempts }: ExchangeOutcome): string {
  if (result === 'TIMEOUT') return `no answer to ${attempts} attempts`;
  return `${result}${detail === '' || detail.includes(result) ? '' : ` ${detail}`} after ${Math.round(ms)} ms`;
}

function howOfExchange(probe: Probe, { result, detail, ms }: ExchangeOutcome): How | null {
  switch (result) {
    case 'ok':
      return howOfAnswer(probe, detail);
    case 'TIMEOUT':
      return 'timeout';
    case 'ECONNREFUSED':
      return 'refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset';
    case 'EACCES':
    case 'EPERM':
    case 'EINVAL':
      return 'refused-locally';
    case 'EHOSTUNREACH':
      // A rejection or a route answers at once; a neighbour that is gone only after the kernel asked for it in vain.
      return ms < AT_ONCE_MS ? 'prohibited' : 'no-neighbour';
    case 'ENETUNREACH':
      return 'no-route';
    case 'NXDOMAIN':
      return 'nxdomain';
    case 'SERVFAIL':
      return 'servfail';
    case 'REFUSED':
      return 'refused-by-server';
    case 'TLS':
      return 'tls-error';
    case 'MALFORMED':
    case 'HPE_INVALID_CONSTANT':
      return 'wrong-answer';
    default:
      return null;
  }
}

function howOfAnswer(probe: Probe, detail: string): How {
  if (probe.method === 'http') return /^[1-4]\d\d$/.test(detail) ? 'ok' : 'http-error';
  if (probe.method === 'dns') return detail === '' ? 'wrong-answer' : 'ok';
  return 'ok';
}
