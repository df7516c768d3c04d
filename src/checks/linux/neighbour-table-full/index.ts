import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { type Neighbour, parseNeighbours } from '../../kit/neighbours.ts';
import { NEIGHBOUR_TABLE, NEIGHBOURS } from '../../kit/readings.ts';
import { type NeighbourTable, parseNeighbourTable, raiseNeighbourLimits } from '../../kit/tables.ts';

type Facts = { readonly before: NeighbourTable; readonly after: NeighbourTable; readonly neighbours: readonly Neighbour[] };

/** States in which the kernel has no address to send to. Source: net/neighbour.h. */
const UNRESOLVED = new Set(['INCOMPLETE', 'FAILED', 'NONE']);

/** N12. Source: arp(7); neigh_alloc and neigh_forced_gc in the kernel's net/core/neighbour.c. */
export const neighbourTableFull = defineCheck({
  id: 'neighbour-table-full',
  row: 'N12',
  layer: 'L2',
  scope: 'node',
  title: 'The neighbour table is full',
  why: 'A node whose table is full can send to nobody new on its links, its own pods included, while old neighbours still answer.',
  codes: {
    'neighbour-table-full': 'The kernel refused new neighbour entries while netcheck looked.',
    'neighbour-table-pressure': 'The table is above gc_thresh2: the kernel throws entries out to take new ones in.',
    'neighbours-unresolved': 'A tenth of the table or more waits for machines that do not answer.',
  },
  params: z.strictObject({ unresolvedShare: z.number().default(0.1) }),
  collect: { table: NEIGHBOUR_TABLE, neighbours: NEIGHBOURS },
  parse: ({ table, neighbours }) =>
    allParsed<Facts>({
      before: parseNeighbourTable(table.before),
      after: parseNeighbourTable(table.after),
      neighbours: parseNeighbours(neighbours.after),
    }),
  evaluate: (facts: Facts, { node, inventory }, { unresolvedShare }) => {
    const { before, after, neighbours } = facts;
    const unresolved = neighbours.filter(({ state }) => UNRESOLVED.has(state));
    const refused = after.refused - before.refused;
    if (refused > 0) return [full(node, facts, refused, unresolved, inventory)];
    if (after.forced > before.forced) return [pressure(node, facts, unresolved)];
    return unresolved.length < after.thresh3 * unresolvedShare ? [] : [manyUnresolved(node, facts, unresolved)];
  },
});

function full(node: string, facts: Facts, refused: number, unresolved: readonly Neighbour[], inventory: Inventory): Draft {
  const { after } = facts;
  const without = withoutEntry(node, facts.neighbours, inventory);
  return {
    code: 'neighbour-table-full',
    entity: nodeEntity(node),
    at:
      without.length === 0
        ? [{ place: nodePlace(node), point: 'neigh' }]
        : without.map((ip) => ({ place: nodePlace(node), point: 'neigh', via: ip })),
    harms: [{}],
    // With an entry for everybody by now, only the first packets to some were lost.
    partial: without.length === 0,
    summary: `the neighbour table of ${node} is full: the kernel refused ${refused} new ${refused === 1 ? 'entry' : 'entries'} while this check ran (${after.entries} entries, at most ${after.thresh3})${waiting(unresolved)}`,
    advice: `Raise the limits as the remedy does, and find out what fills the table: ip -4 neighbour | awk '{print $NF}' | sort | uniq -c. The kernel says "neighbor table overflow!" in its log for each.`,
    evidence: [tableText(node, facts), ...unresolvedText(node, unresolved)],
    remedy: raiseNeighbourLimits(node, after),
  };
}

function pressure(node: string, facts: Facts, unresolved: readonly Neighbour[]): Draft {
  const { before, after } = facts;
  return {
    code: 'neighbour-table-pressure',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'neigh' }],
    harms: [{}],
    severity: 'warning',
    certainty: 'suspect',
    partial: true,
    summary: `the neighbour table of ${node} is above its soft limit of ${after.thresh2} entries (gc_thresh2): the kernel threw entries out ${times(after.forced - before.forced)} while this check ran${waiting(unresolved)}`,
    advice: `Beyond ${after.thresh3} entries (gc_thresh3) it takes no new ones in. Raise the limits before that.`,
    evidence: [tableText(node, facts), ...unresolvedText(node, unresolved)],
    remedy: raiseNeighbourLimits(node, after),
  };
}

function manyUnresolved(node: string, facts: Facts, unresolved: readonly Neighbour[]): Draft {
  return {
    code: 'neighbours-unresolved',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'neigh' }],
    harms: [],
    severity: 'warning',
    summary: `${unresolved.length} of the ${facts.after.thresh3} neighbour entries that ${node} can hold wait for machines that do not answer, on ${devicesOf(unresolved)}`,
    advice: `Something on ${node} sends to addresses that nobody has: a scan, a monitor, clients of pods or machines that are gone. See who (tcpdump -ni DEVICE arp) before it fills the table.`,
    evidence: [...unresolvedText(node, unresolved)],
  };
}

/** Addresses of other nodes and of the node's own pods that it has no usable entry for. */
function withoutEntry(node: string, neighbours: readonly Neighbour[], { nodes, pods }: Inventory): readonly string[] {
  const resolved = new Set(neighbours.filter(({ state }) => !UNRESOLVED.has(state)).map(({ ip }) => ip));
  const peers = nodes.flatMap(({ name, ip }) => (name === node || ip === null ? [] : [ip]));
  const own = pods.flatMap((pod) => (pod.node === node && !pod.hostNetwork && pod.ip !== null ? [pod.ip] : []));
  return [...peers, ...own].filter((ip) => !resolved.has(ip));
}

function waiting(unresolved: readonly Neighbour[]): string {
  return unresolved.length === 0 ? '' : `; ${unresolved.length} of the node's own wait for machines that do not answer`;
}

function devicesOf(neighbours: readonly Neighbour[]): string {
  return [...new Set(neighbours.map(({ dev }) => dev))].toSorted().join(', ');
}

function tableText(node: string, { before, after }: Facts): Citation {
  return {
    where: node,
    source: NEIGHBOUR_TABLE.argv.join(' '),
    text: `${after.entries} entries (gc_thresh2 ${after.thresh2}, gc_thresh3 ${after.thresh3}); refused ${before.refused} → ${after.refused}, forced collections ${before.forced} → ${after.forced}`,
  };
}

function unresolvedText(node: string, unresolved: readonly Neighbour[]): readonly Citation[] {
  const shown = unresolved.slice(0, 5).map(({ ip, dev, state }) => `${ip} dev ${dev} ${state}`);
  const more = unresolved.length > shown.length ? `, and ${unresolved.length - shown.length} more` : '';
  return shown.length === 0 ? [] : [{ where: node, source: NEIGHBOURS.argv.join(' '), text: `${shown.join(', ')}${more}` }];
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
