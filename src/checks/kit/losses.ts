import type { Probed } from './check.ts';
import { ATTEMPTS } from './probe.ts';

/**
 * How many packets, at least, were lost on ways that begin or end on a node: what a counter there must have grown by to
 * explain them all. A probe counts for as many packets as every kind sends in the first round, since counters are read
 * before the second.
 */
export function lostAround(node: string, probed: readonly Probed[]): number {
  return probed
    .filter(({ probe, result }) => (probe.from.node === node || probe.to.node === node) && isLoss(probe.expect, result))
    .reduce((sum, { result: { sent, delivered } }) => sum + Math.max(1, Math.min(sent - delivered, ATTEMPTS)), 0);
}

/** Neither an answer nor an error from elsewhere; what a node's own kernel drops on the way out, it refuses to its sender. */
function isLoss(expect: Probed['probe']['expect'], { status, how }: Probed['result']): boolean {
  return status === 'fail' && expect === 'reach' && (how === null || how === 'timeout' || how === 'refused-locally');
}
