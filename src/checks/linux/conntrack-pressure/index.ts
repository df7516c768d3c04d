import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, nodePlace } from '../../../model/hop.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import {
  type ConntrackCounters,
  conntrackRemedy,
  parseConntrackCounters,
  parseConntrackUse,
  parseMemory,
} from '../../kit/conntrack.ts';
import { lostAround } from '../../kit/losses.ts';
import { CONNTRACK_COUNTERS, CONNTRACK_FREE, MEMORY } from '../../kit/readings.ts';

/** `entries` of at most `max`, the most there were at any reading; the other counts are what was added during the run. */
type Facts = { readonly max: number; readonly memory: number } & ConntrackCounters;

const ADVICE =
  'NodeLocal DNSCache takes DNS queries, often most of the entries, out of the table; fewer workloads on the node do as well.';

/** N6, N7. Source: net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc and __nf_conntrack_confirm. */
export const conntrackPressure = defineCheck({
  id: 'conntrack-pressure',
  row: 'N6, N7',
  layer: 'L4',
  scope: 'cluster',
  title: 'Connection tracking refuses new connections',
  why: 'A full table, or two connections that would look the same, lose the first packet of new connections while old ones go on.',
  codes: {
    'conntrack-table-full':
      'The connection-tracking table of a node is full, and the kernel dropped or evicted connections during the run.',
    'conntrack-table-nearly-full': 'The connection-tracking table of a node is nearly full.',
    'conntrack-insert-failed':
      'The kernel dropped new connections of a node because they would have looked like others after address translation.',
  },
  params: z.strictObject({
    nearlyFull: z.number().default(0.8),
    full: z.number().default(0.95),
    failedInserts: z.number().default(10),
  }),
  collect: { use: CONNTRACK_FREE, counters: CONNTRACK_COUNTERS, memory: MEMORY },
  parse: ({ use, counters: { before, after }, memory }) => {
    const parsed = allParsed<{
      use: { readonly count: number; readonly max: number };
      before: ConntrackCounters;
      after: ConntrackCounters;
      memory: number;
    }>({
      use: parseConntrackUse(use),
      before: parseConntrackCounters(before),
      after: parseConntrackCounters(after),
      memory: parseMemory(memory),
    });
    if (parsed.outcome !== 'ok') return parsed;
    const { facts } = parsed;
    const grown = (name: keyof ConntrackCounters): number => Math.max(0, facts.after[name] - facts.before[name]);
    return {
      outcome: 'ok',
      facts: {
        max: facts.use.max,
        memory: facts.memory,
        entries: Math.max(facts.use.count, facts.before.entries, facts.after.entries),
        insertFailed: grown('insertFailed'),
        drop: grown('drop'),
        earlyDrop: grown('earlyDrop'),
      },
    };
  },
  evaluate: (facts: ReadonlyMap<string, Facts>, { probed }, { nearlyFull, full, failedInserts }) =>
    [...facts].flatMap(([node, own]) => {
      const lost = lostAround(node, probed);
      const harmedByInserts = insertsHarm(node, own.insertFailed, lost, probed);
      const isFull = own.entries >= own.max * full && own.drop + own.earlyDrop > 0;
      const isNearlyFull = !isFull && own.entries >= own.max * nearlyFull;
      return [
        ...(isFull ? [tableFull(node, own, lost > 0 && own.drop >= lost)] : []),
        ...(isNearlyFull ? [tableNearlyFull(node, own)] : []),
        ...(harmedByInserts.length > 0 || own.insertFailed >= failedInserts ? [insertFailed(node, own, harmedByInserts)] : []),
      ];
    }),
});

/**
 * Which packets failed insertions harm: a counter explains losses only where it grew by as many as were lost. Beside
 * another fault that loses more, it may still explain queries sent two at once of which one was lost: one alone passed.
 */
function insertsHarm(node: string, count: number, lost: number, probed: readonly Probed[]): readonly PacketMatch[] {
  if (lost === 0) return [];
  if (count >= lost) return [{ state: 'new' }];
  const halves = probed.filter(({ probe, result }) => probe.from.node === node && result.how === 'half-answered');
  if (count < halves.length) return [];
  return halves.map(({ probe }) => ({ proto: 'udp', src: probe.from.ip, state: 'new', dnat: true }));
}

/**
 * Where packets of the node's own and those that it forwards are given an entry, or where it is confirmed; packets that stay
 * on a bridge cross FORWARD only.
 */
function hops(node: string, points: readonly HopPattern['point'][]): HopPattern[] {
  return points.map((point) => ({ place: nodePlace(node), ...(point === undefined ? {} : { point }) }));
}

function used(node: string, { entries, max }: Facts): Citation {
  return { where: node, source: CONNTRACK_FREE.files.join(', '), text: `${entries} of at most ${max} entries` };
}

function grew(node: string, counts: Readonly<Record<string, number>>): Citation {
  const text = Object.entries(counts).map(([name, count]) => `${name} +${count}`);
  return { where: node, source: CONNTRACK_COUNTERS.files.join(), text: `${text.join(', ')} during the run` };
}

function tableFull(node: string, own: Facts, explains: boolean): Draft {
  const { drop, earlyDrop, entries, max } = own;
  const did = drop > 0 ? `dropped ${packets(drop)} of new connections` : `evicted ${earlyDrop} unanswered connections`;
  return {
    code: 'conntrack-table-full',
    entity: nodeEntity(node),
    at: hops(node, ['prerouting', 'output', 'forward']),
    harms: explains ? [{ state: 'new' }] : [],
    partial: 'flows',
    summary: `the connection-tracking table of ${node} is full (${entries} of at most ${max} entries): the kernel ${did} during the run`,
    advice: ADVICE,
    evidence: [used(node, own), grew(node, { drop, early_drop: earlyDrop })],
    remedy: conntrackRemedy(node, own),
  };
}

function tableNearlyFull(node: string, own: Facts): Draft {
  const { entries, max } = own;
  return {
    code: 'conntrack-table-nearly-full',
    entity: nodeEntity(node),
    severity: 'warning',
    at: hops(node, ['prerouting', 'output', 'forward']),
    harms: [],
    summary: `the connection-tracking table of ${node} is ${Math.floor((entries / max) * 100)} % full (${entries} of at most ${max} entries); once it is full, new connections are dropped`,
    advice: ADVICE,
    evidence: [used(node, own)],
    remedy: conntrackRemedy(node, own),
  };
}

function insertFailed(node: string, { insertFailed: count }: Facts, harms: readonly PacketMatch[]): Draft {
  return {
    code: 'conntrack-insert-failed',
    entity: nodeEntity(node),
    severity: harms.length > 0 ? 'critical' : 'warning',
    certainty: 'suspect',
    at: hops(node, ['postrouting', 'input', 'forward']),
    harms: [...harms],
    partial: 'flows',
    summary: `${node} dropped the first packet of ${count} new connections during the run: after address translation they would have looked like others`,
    advice:
      'Two DNS queries sent at once from one socket do this (the answer then comes after 5 s), and so do translated connections that get the same port: use NodeLocal DNSCache, options single-request-reopen in the dnsConfig of pods with glibc, and --random-fully where addresses are translated.',
    evidence: [grew(node, { insert_failed: count })],
  };
}

function packets(count: number): string {
  return `${count} packet${count === 1 ? '' : 's'}`;
}
