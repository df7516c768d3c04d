import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

const IpRoute = z.array(
  z.object({
    type: z.string().default('unicast'),
    dst: z.string(),
    gateway: z.string().optional(),
    dev: z.string().optional(),
    table: z.string().default('main'),
    metric: z.int().optional(),
    flags: z.array(z.string()).default([]),
  }),
);

/** A route. `dst` is a CIDR prefix, a plain address or `default`; `type` is `unicast`, `blackhole`, `local`, … */
export type Route = z.infer<typeof IpRoute>[number];

/** Parses the evidence of `ROUTES`. Source: ip-route(8). */
export function parseRoutes(evidence: Evidence): Parsed<readonly Route[]> {
  return parseComplete(evidence, (stdout) => IpRoute.parse(JSON.parse(stdout)));
}
