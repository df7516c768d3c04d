import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

const BridgeFdb = z.array(z.object({ mac: z.string(), ifname: z.string(), dst: z.string().optional() }));

/** An entry of a forwarding database; `dst` is the remote VTEP of a VXLAN device's entry. */
export type FdbEntry = { readonly mac: string; readonly dev: string; readonly dst: string | null };

/** Parses the evidence of `FDB`. Source: bridge(8). */
export function parseFdb(evidence: Evidence): Parsed<readonly FdbEntry[]> {
  return parseComplete(evidence, (stdout) =>
    BridgeFdb.parse(JSON.parse(stdout)).map((entry) => ({
      mac: entry.mac.toLowerCase(),
      dev: entry.ifname,
      dst: entry.dst ?? null,
    })),
  );
}
