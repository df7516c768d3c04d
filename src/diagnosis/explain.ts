import { createIsWithin } from '../checks/kit/cidr.ts';
import type { Finding } from '../model/finding.ts';
import type { Hop, HopPattern, Step } from '../model/hop.ts';
import type { Packet, PacketMatch } from '../model/packet.ts';

/** Whether a finding harms a packet at a step: it is at that hop, and the packet is one of those it harms. */
export type HarmsStep = (finding: Finding, step: Step) => boolean;

/** Creates the question for one run: addresses are parsed once, however often they are compared. */
export function createHarmsStep(): HarmsStep {
  const isWithin = createIsWithin();
  return (finding, { hop, packet }) =>
    finding.at.some((pattern) => isAt(pattern, hop)) && finding.harms.some((match) => matches(match, packet, isWithin));
}

/** Whether a hop is one of those that a pattern stands for. */
export function isAt(pattern: HopPattern, hop: Hop): boolean {
  return (
    pattern.place === hop.place &&
    (pattern.point === undefined || pattern.point === hop.point) &&
    (pattern.dev === undefined || pattern.dev === hop.dev) &&
    (pattern.dir === undefined || pattern.dir === hop.dir) &&
    (pattern.iif === undefined || pattern.iif === hop.iif) &&
    (pattern.oif === undefined || pattern.oif === hop.oif) &&
    (pattern.via === undefined || pattern.via === hop.via)
  );
}

function matches(match: PacketMatch, packet: Packet, isWithin: (address: string, block: string) => boolean): boolean {
  return (
    (match.proto === undefined || match.proto === packet.proto) &&
    (match.state === undefined || match.state === packet.state) &&
    (match.dnat === undefined || match.dnat === (packet.dnat ?? false)) &&
    (match.sport === undefined || match.sport === packet.sport) &&
    (match.dport === undefined || match.dport === packet.dport) &&
    (match.minSize === undefined || (packet.size !== undefined && packet.size >= match.minSize)) &&
    (match.src === undefined || isWithin(packet.src, match.src)) &&
    (match.dst === undefined || isWithin(packet.dst, match.dst))
  );
}
