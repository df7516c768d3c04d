import { z } from 'zod';

/** Transport protocols that the path model tells apart. */
export const Protocol = z.enum(['icmp', 'tcp', 'udp', 'arp']);
export type Protocol = z.infer<typeof Protocol>;

/**
 * A packet class: what a rule, a device or a network in between can tell packets apart by. Addresses are IPv4 or IPv6
 * text without a prefix; `size` is the length of the IP packet in bytes; `dnat` whether the destination of its connection
 * was translated on the node that it is on.
 */
export const Packet = z.strictObject({
  proto: Protocol,
  src: z.string(),
  dst: z.string(),
  sport: z.number().int().optional(),
  dport: z.number().int().optional(),
  size: z.number().int().optional(),
  df: z.boolean().optional(),
  state: z.enum(['new', 'established']),
  dnat: z.boolean().optional(),
});
export type Packet = z.infer<typeof Packet>;

/**
 * Which packets a finding harms. A field that is absent matches every packet; addresses are a plain address or a CIDR
 * prefix; `minSize` is the smallest IP packet, in bytes, that is harmed.
 */
export const PacketMatch = z.strictObject({
  proto: Protocol.optional(),
  src: z.string().optional(),
  dst: z.string().optional(),
  sport: z.number().int().optional(),
  dport: z.number().int().optional(),
  state: z.enum(['new', 'established']).optional(),
  minSize: z.number().int().optional(),
  dnat: z.boolean().optional(),
});
export type PacketMatch = z.infer<typeof PacketMatch>;
