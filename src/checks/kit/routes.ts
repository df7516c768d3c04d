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
    pref: z.string().optional(),
    nexthops: z.array(z.object({ gateway: z.string().optional(), dev: z.string().optional() })).optional(),
  }),
);

/**
 * An IPv4 route. `dst` is a CIDR prefix, a plain address or `default`; `type` is `unicast`, `blackhole`, `local`, …; a
 * route with several next hops has them in `nexthops` instead of `gateway` and `dev`.
 */
export type Route = Omit<z.infer<typeof IpRoute>[number], 'pref'>;

/** Parses the evidence of `ROUTES`. Source: ip-route(8). */
export function parseRoutes(evidence: Evidence): Parsed<readonly Route[]> {
  return parseComplete(evidence, (stdout) =>
    // Only IPv6 routes have a preference (RFC 4191); their `default` reads like that of IPv4.
    IpRoute.parse(JSON.parse(stdout)).filter(({ dst, pref }) => pref === undefined && !dst.includes(':')),
  );
}

/** The device or devices that a route leads out of. */
export function devicesOf({ dev, nexthops }: Route): readonly string[] {
  return [dev, ...(nexthops ?? []).map((hop) => hop.dev)].filter((name) => name !== undefined);
}

/** A route as ip-route(8) prints it, as far as it is known here. */
export function routeText(route: Route): string {
  const hop = (via: { readonly gateway?: string | undefined; readonly dev?: string | undefined }): string =>
    `${via.gateway === undefined ? '' : ` via ${via.gateway}`}${via.dev === undefined ? '' : ` dev ${via.dev}`}`;
  const hops = [hop(route), ...(route.nexthops ?? []).map((next) => ` nexthop${hop(next)}`)].join('');
  const table = route.table === 'main' ? '' : ` table ${route.table}`;
  return `${route.type === 'unicast' ? '' : `${route.type} `}${route.dst}${hops}${table}`;
}
