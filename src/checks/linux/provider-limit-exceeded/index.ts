import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, ok, unsupported } from '../../kit/check.ts';
import { lostAround } from '../../kit/losses.ts';
import { UPLINK_COUNTERS } from '../../kit/readings.ts';
import { type DriverCounters, parseDriverCounters } from '../../kit/uplink-counters.ts';

/**
 * What the provider's network does beyond a limit of an instance, by the counter of the ENA driver: what is limited, the
 * packets that it loses, and whether it is worth telling that it happened before the run.
 */
const LIMITS: Readonly<
  Record<string, { readonly what: string; readonly harms: readonly PacketMatch[]; readonly earlier: boolean }>
> = {
  conntrack_allowance_exceeded: { what: 'tracked connections', harms: [{ state: 'new' }], earlier: true },
  linklocal_allowance_exceeded: {
    what: "packets per second to the provider's DNS, metadata and time servers",
    harms: [{ dst: '169.254.0.0/16' }],
    earlier: true,
  },
  pps_allowance_exceeded: { what: 'packets per second', harms: [{}], earlier: false },
  bw_in_allowance_exceeded: { what: 'bandwidth of what comes in', harms: [{}], earlier: false },
  bw_out_allowance_exceeded: { what: 'bandwidth of what goes out', harms: [{}], earlier: false },
};

type Facts = { readonly before: DriverCounters; readonly after: DriverCounters };

/** N23. Source: "Monitor network performance for ENA settings on your EC2 instance", Amazon EC2 user guide. */
export const providerLimitExceeded = defineCheck({
  id: 'provider-limit-exceeded',
  row: 'N23',
  layer: 'L4',
  scope: 'cluster',
  title: "The provider's limit for an instance is exceeded",
  why: 'Beyond the limits of its instance type the provider drops packets of a node, where nothing in the node can see it.',
  codes: {
    'provider-limit-exceeded': 'The provider drops packets of a node because they are more than its instance type may have.',
  },
  params: z.strictObject({}),
  collect: { counters: UPLINK_COUNTERS },
  parse: ({ counters: { before, after } }) => {
    const parsed = allParsed<Facts>({ before: parseDriverCounters(before), after: parseDriverCounters(after) });
    if (parsed.outcome !== 'ok') return parsed;
    const { facts } = parsed;
    return Object.keys(LIMITS).some((name) => facts.after.has(name))
      ? ok(facts)
      : unsupported("the driver of the node's uplink tells nothing of a provider's limits");
  },
  evaluate: (facts: ReadonlyMap<string, Facts>, { probed }) =>
    [...facts].flatMap(([node, { before, after }]) =>
      Object.entries(LIMITS).flatMap(([counter, limit]) => {
        const total = after.get(counter) ?? 0;
        const grown = Math.max(0, total - (before.get(counter) ?? 0));
        if (grown === 0 && (total === 0 || !limit.earlier)) return [];
        const lost = lostAround(node, probed);
        return [exceeded(node, counter, { total, grown }, limit.what, lost > 0 && grown >= lost ? limit.harms : [])];
      }),
    ),
});

function exceeded(
  node: string,
  counter: string,
  { total, grown }: { readonly total: number; readonly grown: number },
  what: string,
  harms: readonly PacketMatch[],
): Draft {
  const when = grown > 0 ? `${grown} packets during the run` : `${total} packets since the node was started, none during the run`;
  return {
    code: 'provider-limit-exceeded',
    entity: nodeEntity(node),
    severity: grown > 0 ? 'critical' : 'warning',
    // Queued and delayed, or dropped: the counters do not tell one from the other.
    certainty: 'suspect',
    partial: counter.startsWith('conntrack') ? 'flows' : true,
    at: [
      { place: nodePlace(node), point: 'port', dir: 'in' },
      { place: nodePlace(node), point: 'port', dir: 'out' },
    ],
    harms: [...harms],
    summary: `the provider held back or dropped packets of ${node}, which has more ${what} than its instance type may: ${when}`,
    advice: 'Take a larger instance type for this node, or spread its load; the limits belong to the instance type.',
    evidence: [
      { where: node, source: 'ethtool -S', text: `${counter}: ${total}${grown > 0 ? `, +${grown} during the run` : ''}` },
    ],
  };
}
