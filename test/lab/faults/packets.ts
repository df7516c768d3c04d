import type { Handle, Place } from '../handle.ts';
import type { At } from './fault.ts';
import { otherNode } from './where.ts';

/** Something that is sent in a lab to see whether it arrives. */
export type Packet =
  | { readonly kind: 'ping'; readonly from: Place; readonly to: string; readonly bytes?: number }
  | { readonly kind: 'tcp'; readonly from: Place; readonly to: string; readonly port: number }
  | { readonly kind: 'dns'; readonly from: Place; readonly to: string; readonly name: string };

/** A ping; `bytes` is the length of the IP packet, which then must not be fragmented. */
export function ping(from: Place, to: string, bytes?: number): Packet {
  return { kind: 'ping', from, to, ...(bytes === undefined ? {} : { bytes }) };
}

/** A TCP connection. A refusal is no arrival at the port, so it counts as failed. */
export function tcp(from: Place, to: string, port: number): Packet {
  return { kind: 'tcp', from, to, port };
}

/** A DNS query for an A record, over UDP. Only an answer without an error counts. */
export function dns(from: Place, to: string, name = 'kubernetes.default.svc.cluster.local'): Packet {
  return { kind: 'dns', from, to, name };
}

/** What passes when only the two nodes' pods, or the bridges in front of them, are cut off from each other. */
export function aroundPair(lab: Handle, { node, peer }: At): Packet[] {
  const third = otherNode(lab, node, peer);
  const around = third === null ? [] : [ping(node, lab.node(third).bridgeIp), ping(third, lab.node(peer).bridgeIp)];
  return [ping(node, lab.node(peer).ip), ...around];
}

/** Sends all of them at once; throws unless all of `pass` get through and none of `fail` does. */
export async function expectPackets(
  lab: Handle,
  { pass, fail }: { pass: readonly Packet[]; fail: readonly Packet[] },
): Promise<void> {
  const outcomes = await Promise.all(
    [...pass, ...fail].map(async (packet, index) => ((await arrives(lab, packet)) === index < pass.length ? null : packet)),
  );
  const wrong = outcomes.filter((packet) => packet !== null);
  if (wrong.length === 0) return;
  const lines = wrong.map(
    (packet) => `${describe(packet)} ${pass.includes(packet) ? 'fails, and must pass' : 'passes, and must fail'}`,
  );
  throw new Error(lines.join('\n'));
}

/** How many percent of `count` pings are lost, all sent within about a second. */
export async function pingLoss(lab: Handle, from: Place, to: string, count: number): Promise<number> {
  const { stderr } = await lab.exec(from, ['fping', '-q', '-c', String(count), '-p', '5', '-t', '500', to]);
  const loss = /= \d+\/\d+\/(\d+)%/.exec(stderr)?.[1];
  if (loss === undefined) throw new Error(`fping said: ${stderr}`);
  return Number(loss);
}

async function arrives(lab: Handle, packet: Packet): Promise<boolean> {
  const { exitCode, stdout } = await lab.exec(packet.from, commandFor(packet));
  // dig ends with 0 whatever the answer's code is; with +short it prints nothing but addresses, or its own errors.
  return exitCode === 0 && (packet.kind !== 'dns' || /^[\d.]+$/m.test(stdout));
}

/** Each command ends within two seconds, with another code than 0 when no answer came. */
function commandFor(packet: Packet): string[] {
  if (packet.kind === 'tcp') return ['socat', '-u', 'OPEN:/dev/null', `TCP:${packet.to}:${packet.port},connect-timeout=1`];
  if (packet.kind === 'dns') return ['dig', '+short', '+tries=2', '+timeout=1', '+nocookie', `@${packet.to}`, packet.name, 'A'];
  // 28 bytes of headers. -r: how often it is tried again.
  const size = packet.bytes === undefined ? [] : ['-M', '-b', String(packet.bytes - 28)];
  return ['fping', '-q', '-r', '2', '-t', '300', '-B', '1', ...size, packet.to];
}

function describe(packet: Packet): string {
  const size = packet.kind === 'ping' && packet.bytes !== undefined ? ` of ${packet.bytes} bytes` : '';
  const port = packet.kind === 'tcp' ? `:${packet.port}` : '';
  return `${packet.kind}${size} from ${packet.from} to ${packet.to}${port}`;
}
