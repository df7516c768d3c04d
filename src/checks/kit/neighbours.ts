import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

const IpNeighbour = z.array(
  z.object({
    dst: z.string(),
    dev: z.string(),
    lladdr: z.string().optional(),
    state: z.array(z.string()).default([]),
  }),
);

/** A neighbour entry. `mac` is null while it is not resolved; `state` is the kernel's NUD state. */
export type Neighbour = { readonly ip: string; readonly dev: string; readonly mac: string | null; readonly state: string };

/** Parses the evidence of `NEIGHBOURS`. Source: ip-neighbour(8). */
export function parseNeighbours(evidence: Evidence): Parsed<readonly Neighbour[]> {
  return parseComplete(evidence, (stdout) =>
    IpNeighbour.parse(JSON.parse(stdout)).map((entry) => ({
      ip: entry.dst,
      dev: entry.dev,
      mac: entry.lladdr?.toLowerCase() ?? null,
      state: entry.state[0] ?? 'NONE',
    })),
  );
}

/** States in which the kernel sends to the address of the entry. Source: net/neighbour.h, NUD_VALID. */
export const IN_USE: ReadonlySet<string> = new Set(['REACHABLE', 'STALE', 'DELAY', 'PROBE', 'PERMANENT', 'NOARP']);

/** Whether an address has answered on a device, or somebody has set where it is. */
export function isResolved(neighbours: readonly Neighbour[], dev: string, ip: string): boolean {
  return neighbours.some((entry) => entry.dev === dev && entry.ip === ip && entry.mac !== null && IN_USE.has(entry.state));
}
