import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

const Count = z.int().nonnegative();

/** What iproute2 prints of a device; only the fields that a check reads, everything else is passed over. */
const IpLink = z.object({
  ifindex: z.int().optional(),
  link_index: z.int().optional(),
  ifname: z.string(),
  flags: z.array(z.string()),
  mtu: z.int(),
  operstate: z.string(),
  master: z.string().optional(),
  address: z.string().optional(),
  linkinfo: z
    .object({
      info_kind: z.string().optional(),
      info_data: z
        .object({
          id: z.int().optional(),
          port: z.int().optional(),
          local: z.string().optional(),
          local6: z.string().optional(),
          link: z.string().optional(),
        })
        .optional(),
    })
    .optional(),
  addr_info: z.array(z.object({ family: z.string(), local: z.string().optional(), prefixlen: z.int().optional() })).default([]),
  stats64: z
    .object({
      rx: z.object({ packets: Count, errors: Count, dropped: Count }),
      tx: z.object({ packets: Count, errors: Count, dropped: Count, carrier_errors: Count.optional() }),
    })
    .optional(),
});

/**
 * A network device of a node. `up` is the UP flag (what an administrator set), `carrier` whether the link below is
 * there; a bridge without ports has none and is healthy. `peer` is the index of a veth's other end, in its own namespace. `vxlan` is present for VXLAN devices. Counters are packets.
 */
export type Link = {
  readonly name: string;
  readonly index: number | null;
  readonly peer: number | null;
  readonly kind: string;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly mtu: number;
  readonly mac: string | null;
  readonly master: string | null;
  readonly addresses: readonly { readonly family: 4 | 6; readonly ip: string; readonly prefix: number }[];
  readonly vxlan: {
    readonly vni: number;
    readonly port: number;
    readonly local: string | null;
    readonly dev: string | null;
  } | null;
  readonly packets: { readonly rx: number; readonly tx: number; readonly errors: number; readonly dropped: number } | null;
};

/** Parses the evidence of `ADDRESSES`. Source: iproute2 ip-address(8), `-json -details -statistics`. */
export function parseLinks(evidence: Evidence): Parsed<readonly Link[]> {
  return parseComplete(evidence, readLinks);
}

function readLinks(stdout: string): readonly Link[] {
  // The loopback device is always there.
  return z
    .array(IpLink)
    .min(1)
    .parse(JSON.parse(stdout))
    .map((link) => ({
      name: link.ifname,
      index: link.ifindex ?? null,
      peer: link.link_index ?? null,
      kind: link.linkinfo?.info_kind ?? 'physical',
      up: link.flags.includes('UP'),
      carrier: !link.flags.includes('NO-CARRIER') && link.operstate !== 'LOWERLAYERDOWN',
      mtu: link.mtu,
      mac: link.address?.toLowerCase() ?? null,
      master: link.master ?? null,
      addresses: link.addr_info.flatMap((address) =>
        address.local === undefined
          ? []
          : [
              {
                family: address.family === 'inet6' ? (6 as const) : (4 as const),
                ip: address.local,
                prefix: address.prefixlen ?? 0,
              },
            ],
      ),
      vxlan:
        link.linkinfo?.info_kind === 'vxlan'
          ? {
              vni: link.linkinfo.info_data?.id ?? 0,
              port: link.linkinfo.info_data?.port ?? 0,
              local: link.linkinfo.info_data?.local ?? link.linkinfo.info_data?.local6 ?? null,
              dev: link.linkinfo.info_data?.link ?? null,
            }
          : null,
      packets:
        link.stats64 === undefined
          ? null
          : {
              rx: link.stats64.rx.packets,
              tx: link.stats64.tx.packets,
              errors: link.stats64.rx.errors + link.stats64.tx.errors,
              dropped: link.stats64.rx.dropped + link.stats64.tx.dropped,
            },
    }));
}
