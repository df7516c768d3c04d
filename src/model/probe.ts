import { z } from 'zod';
import { Entity } from './entity.ts';
import { Layer } from './layer.ts';
import { Packet } from './packet.ts';

/**
 * How a probe is sent. `udp` is one-way: tagged datagrams that the receiver counts; every other method needs a reply.
 * `dns-pair` asks for the IPv4 and the IPv6 address of a name at once from one socket. `exec` is the agent's own session: it is not sent from a node but seen by the worker.
 */
export const ProbeMethod = z.enum(['ping', 'tcp', 'http', 'tls', 'dns', 'dns-pair', 'udp', 'arp', 'exec']);
export type ProbeMethod = z.infer<typeof ProbeMethod>;

/**
 * One planned probe: packets from a subject to a target.
 *
 * `check` is the id of the catalogue entry that planned it. `to.node` is the node that the target is on, if there is one;
 * `from.pod` is null for the node's own network namespace,
 * else `NAMESPACE/NAME`. `packet` is the request as it leaves the subject. `count` is in packets (`every`: each of so many
 * exchanges stands for itself, else one that is answered ends the others), `bytes` the length of
 * the IP packet where it matters (`df` set). `name` is a DNS name (dns), a path (http) or a server name (tls);
 * `receiver` the node whose agent counts one-way datagrams; `sibling` the id of the probe that asks the same question
 * by another protocol or one at a time, so that one that is merely filtered can be told from one that is broken; `repeats` the id of the
 * probe that this one measures again with more packets; `late` that it was sent when the rest of its round was through, as
 * its target began to listen late, or said late how large its packets may be; `listens` says that
 * something is known to listen on the port, so that a refusal does not come from the target; `expect` is `deny` when a
 * NetworkPolicy forbids it. Probes of one `group` go to targets that stand in for each other, and ask each for what it need
 * not know: that it refuses is an answer, and that it fails is an error only where another one does not.
 */
export const Probe = z.strictObject({
  id: z.string(),
  check: z.string(),
  round: z.int(),
  method: ProbeMethod,
  layer: Layer,
  subject: Entity,
  target: Entity,
  from: z.strictObject({ node: z.string(), pod: z.string().nullable(), ip: z.string() }),
  to: z.strictObject({ node: z.string().nullable(), ip: z.string(), port: z.int().optional() }),
  packet: Packet,
  count: z.int(),
  bytes: z.int().optional(),
  df: z.boolean().optional(),
  name: z.string().optional(),
  receiver: z.string().optional(),
  sibling: z.string().optional(),
  repeats: z.string().optional(),
  late: z.boolean().optional(),
  listens: z.boolean().optional(),
  ifSilent: z.boolean().optional(),
  every: z.boolean().optional(),
  expect: z.enum(['reach', 'deny']),
  deniedBy: z.string().optional(),
  group: z.string().optional(),
});
export type Probe = z.infer<typeof Probe>;

/**
 * How a probe ended. `timeout` nothing came back; `refused` a reset answered the SYN (or port unreachable a datagram);
 * `reset` an established connection was reset; `prohibited` an ICMP administratively-prohibited answered, or a rule said as
 * much; `refused-locally` the sender's own kernel did not let it out; `no-route` no route or an ICMP unreachable; `no-neighbour` the next hop's neighbour entry failed;
 * `half-answered` of two queries sent at once one was answered, and the other not before it was sent again, if at all;
 * `too-big` it did not fit a device's or path's MTU and somebody said so; the rest are answers of the DNS, HTTP or TLS
 * layer.
 */
export const How = z.enum([
  'ok',
  'timeout',
  'refused',
  'reset',
  'prohibited',
  'refused-locally',
  'no-route',
  'no-neighbour',
  'too-big',
  'nxdomain',
  'servfail',
  'refused-by-server',
  'wrong-answer',
  'half-answered',
  'http-error',
  'tls-error',
]);
export type How = z.infer<typeof How>;

/**
 * What a probe found. `delivered` counts the packets of which it is known that they reached the target, by an answer
 * or by the receiver's count; a refusal by the target proves delivery too. `unknown` is a probe without complete
 * evidence. Round-trip times are milliseconds.
 */
export const ProbeResult = z.strictObject({
  probe: z.string(),
  status: z.enum(['pass', 'fail', 'unknown']),
  sent: z.int(),
  delivered: z.int(),
  how: How.nullable(),
  rtt: z.strictObject({ min: z.number(), avg: z.number(), max: z.number() }).optional(),
  detail: z.string().optional(),
});
export type ProbeResult = z.infer<typeof ProbeResult>;
