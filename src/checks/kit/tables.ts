import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import type { RemedyOffer } from '../../model/finding.ts';
import { incomplete, type Parsed, parseComplete } from './check.ts';

const Count = z.int().nonnegative();

/** What iproute2 prints of the neighbour table and, in entries with `dev`, of the settings of devices. */
const NeighbourTables = z.array(
  z.object({
    dev: z.string().optional(),
    thresh1: Count.optional(),
    thresh2: Count.optional(),
    thresh3: Count.optional(),
    entries: Count.optional(),
    forced_gc_runs: Count.optional(),
    table_fulls: Count.optional(),
  }),
);

/**
 * The neighbour table: the kernel's limits (gc_thresh2, above which it throws entries out, and gc_thresh3, above which it takes
 * none in), entries of all network namespaces, and how often since boot it collected in haste and refused an entry.
 */
export type NeighbourTable = {
  readonly thresh2: number;
  readonly thresh3: number;
  readonly entries: number;
  readonly forced: number;
  readonly refused: number;
};

/** Parses the evidence of `NEIGHBOUR_TABLE`. Source: ip-ntable(8), neigh_alloc in the kernel's neighbour.c. */
export function parseNeighbourTable(evidence: Evidence): Parsed<NeighbourTable> {
  return parseComplete(evidence, (stdout) => {
    const whole = NeighbourTables.parse(JSON.parse(stdout)).find(({ dev }) => dev === undefined);
    const { thresh2, thresh3, entries, forced_gc_runs: forced, table_fulls: refused } = whole ?? {};
    if (thresh2 === undefined || thresh3 === undefined || entries === undefined || forced === undefined || refused === undefined)
      throw new Error('the limits or the counters of the table are missing');
    return { thresh2, thresh3, entries, forced, refused };
  });
}

/** The limits that a remedy sets at least, and by how much it raises those that are higher already. */
const ENOUGH = 4096;
const RAISE = 4;

/** The remedy that makes room in the neighbour table of a node. */
export function raiseNeighbourLimits(node: string, { thresh3 }: Pick<NeighbourTable, 'thresh3'>): RemedyOffer {
  const next = Math.max(ENOUGH, thresh3 * RAISE);
  const [thresh1, thresh2] = [next / RAISE, next / 2];
  return {
    id: 'raise-neighbour-limits',
    node,
    params: { thresh1: String(thresh1), thresh2: String(thresh2), thresh3: String(next) },
  };
}

/** ATF_PERM of linux/if_arp.h: entries with this flag do not count towards the table's limits. */
const PERMANENT = 0x4;

/**
 * Neighbour entries that are left before the kernel begins to collect garbage (gc_thresh2), from the limits and
 * /proc/net/arp; null where either cannot be read. Source: arp(7).
 */
export function readNeighboursFree(limits: Evidence | undefined, entries: Evidence | undefined): number | null {
  if (limits === undefined || entries === undefined || incomplete(entries) !== null) return null;
  if (!entries.stdout.startsWith('IP address ')) return null;
  const table = parseNeighbourTable(limits);
  if (table.outcome !== 'ok') return null;
  const flags = entries.stdout
    .split('\n')
    .slice(1)
    .flatMap((line) => /^\S+\s+\S+\s+0x([0-9a-f]+)/.exec(line)?.[1] ?? []);
  return Math.max(0, table.facts.thresh2 - flags.filter((flag) => (Number.parseInt(flag, 16) & PERMANENT) === 0).length);
}

/** Free entries of the connection-tracking table, infinite where the kernel has none; null where it cannot be read. */
export function readConntrackFree(evidence: Evidence | undefined): number | null {
  if (evidence === undefined || incomplete(evidence) !== null) return null;
  if (evidence.stdout === '') return Number.POSITIVE_INFINITY;
  const [count, max] = [...evidence.stdout.matchAll(/^(\d+)$/gm)].map(([number]) => Number(number));
  return count === undefined || max === undefined ? null : Math.max(0, max - count);
}
