import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import { incomplete } from './check.ts';

const NeighbourTable = z.array(z.object({ name: z.string(), dev: z.string().optional(), thresh2: z.int().optional() }));

/** ATF_PERM of linux/if_arp.h: entries with this flag do not count towards the table's limits. */
const PERMANENT = 0x4;

/**
 * Neighbour entries that are left before the kernel begins to collect garbage (gc_thresh2), from the limits and
 * /proc/net/arp; null where either cannot be read. Source: arp(7).
 */
export function readNeighboursFree(limits: Evidence | undefined, entries: Evidence | undefined): number | null {
  if (limits === undefined || entries === undefined || incomplete(limits) !== null || incomplete(entries) !== null) return null;
  if (!entries.stdout.startsWith('IP address ')) return null;
  const table = NeighbourTable.safeParse(parseJson(limits.stdout));
  const limit = table.success ? table.data.find(({ dev }) => dev === undefined)?.thresh2 : undefined;
  if (limit === undefined) return null;
  const flags = entries.stdout
    .split('\n')
    .slice(1)
    .flatMap((line) => /^\S+\s+\S+\s+0x([0-9a-f]+)/.exec(line)?.[1] ?? []);
  return Math.max(0, limit - flags.filter((flag) => (Number.parseInt(flag, 16) & PERMANENT) === 0).length);
}

/** Free entries of the connection-tracking table; null where it cannot be read. */
export function readConntrackFree(evidence: Evidence | undefined): number | null {
  if (evidence === undefined || incomplete(evidence) !== null) return null;
  const [count, max] = [...evidence.stdout.matchAll(/^(\d+)$/gm)].map(([number]) => Number(number));
  return count === undefined || max === undefined ? null : Math.max(0, max - count);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
