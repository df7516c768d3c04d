import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { defineCheck, ok, type Probed } from '../../kit/check.ts';

/** M6. A check without readings of its own: it looks at how the probes ended. */
export const icmpFiltered = defineCheck({
  id: 'icmp-filtered',
  row: 'M6',
  layer: 'L4',
  scope: 'cluster',
  title: 'Ping is filtered',
  why: 'Ping that is forbidden is not a broken network, but it misleads everybody who tests with it, and may break path MTU discovery.',
  codes: { 'icmp-filtered': 'Echo requests to a node are not answered while TCP to the same address is.' },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok({}),
  evaluate: (_facts, { probed }) => {
    const passed = new Set(probed.filter(({ result }) => result.status === 'pass').map(({ probe }) => probe.id));
    const filtered = probed.filter((item) => isFiltered(item, passed));
    const nodes = Map.groupBy(
      filtered.filter(({ probe }) => probe.target.kind === 'Node'),
      ({ probe }) => probe.to.node ?? '',
    );
    return [...nodes].map(([node, items]) => ({
      code: 'icmp-filtered',
      entity: nodeEntity(node),
      severity: 'info' as const,
      at: [],
      harms: [],
      summary: `${node} does not answer ping, though TCP reaches it: ICMP is filtered`,
      evidence: items.slice(0, 3).map(({ probe, result }) => ({
        where: probe.from.node,
        source: probe.id,
        text: `${result.delivered} of ${result.sent} packets answered; TCP to the same address passed`,
      })),
    }));
  },
});

function isFiltered({ probe, result }: Probed, passed: ReadonlySet<string>): boolean {
  const isSilent = probe.method === 'ping' && result.status === 'fail' && result.delivered === 0;
  return isSilent && probe.sibling !== undefined && passed.has(probe.sibling);
}
