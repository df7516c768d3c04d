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
    .reduce((sum, { result }) => sum + lostFirst(result), 0);
}

/** What was lost in the first round: of queries sent two at once it is known of one only, as many more are sent in the second. */
function lostFirst({ sent, delivered, how }: Probed['result']): number {
  return how === 'half-answered' ? 1 : Math.max(1, Math.min(sent - delivered, ATTEMPTS));
}

/** Neither an answer nor an error from elsewhere; what a node's own kernel drops on the way out, it refuses to its sender. */
function isLoss(expect: Probed['probe']['expect'], { status, how }: Probed['result']): boolean {
  return (
    status === 'fail' &&
    expect === 'reach' &&
    (how === null || how === 'timeout' || how === 'half-answered' || how === 'refused-locally')
  );
}
