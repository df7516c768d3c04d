import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

const Netconf = z
  .array(
    z.object({
      family: z.literal('inet'),
      interface: z.string(),
      forwarding: z.boolean(),
      rp_filter: z.enum(['off', 'strict', 'loose']),
    }),
  )
  .min(1);

/** IPv4 settings of one device; `all` and `default` are the kernel's two pseudo devices. */
export type DeviceSettings = {
  readonly device: string;
  readonly forwarding: boolean;
  readonly rpFilter: 'off' | 'strict' | 'loose';
};

/** Parses the evidence of `NETCONF`. Source: ip-netconf(8). */
export function parseNetconf(evidence: Evidence): Parsed<readonly DeviceSettings[]> {
  return parseComplete(evidence, (stdout) =>
    Netconf.parse(JSON.parse(stdout)).map((entry) => ({
      device: entry.interface,
      forwarding: entry.forwarding,
      rpFilter: entry.rp_filter,
    })),
  );
}
