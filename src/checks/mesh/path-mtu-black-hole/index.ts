import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { type HopPattern, nodePlace } from '../../../model/hop.ts';
import { type Draft, defineCheck, ok, type Probed } from '../../kit/check.ts';
import { groupPairs, type OrderedPair, type PairGroup, wire } from '../../kit/pairs.ts';

/** N14. A check without readings of its own: it compares packets of full size with small ones on the same way. */
export const pathMtuBlackHole = defineCheck({
  id: 'path-mtu-black-hole',
  row: 'N14',
  layer: 'L3',
  scope: 'cluster',
  title: 'Large packets are lost in silence',
  why: 'Connections open and then hang: the first packet of full size never arrives, and nobody says that it is too large.',
  codes: {
    'path-mtu-black-hole':
      'Packets of full size with Don’t Fragment set are lost where small ones pass, and no ICMP error comes back.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok({}),
  evaluate: (_facts, { probed }) => {
    const measured = measure(probed);
    const lost = measured.filter(({ isLost }) => isLost);
    return groupPairs(lost, measured).map(draftOf);
  },
});

type Measured = OrderedPair & { readonly isLost: boolean; readonly proof: readonly Probed[] };

function measure(probed: readonly Probed[]): readonly Measured[] {
  const small = new Map(
    probed.filter(({ probe }) => probe.method === 'ping' && probe.bytes === undefined).map((item) => [streamOf(item), item]),
  );
  const large = probed.filter(
    ({ probe }) => probe.bytes !== undefined && probe.to.node !== null && probe.from.node !== probe.to.node,
  );
  const pairs = Map.groupBy(large, ({ probe }) => `${probe.from.node}>${probe.to.node}`);
  return [...pairs].map(([key, items]) => {
    const [from = '', to = ''] = key.split('>', 2);
    const lost = items.filter((item) => isSilent(item) && small.get(streamOf(item))?.result.status === 'pass');
    const proof = lost.flatMap((item) => [item, small.get(streamOf(item)) ?? item]);
    return { from, to, isLost: lost.length > 0, proof };
  });
}

function isSilent({ result }: Probed): boolean {
  return result.status === 'fail' && result.delivered === 0 && result.how === 'timeout';
}

function streamOf({ probe }: Probed): string {
  return `${probe.from.node} ${probe.from.pod ?? ''} ${probe.to.ip}`;
}

function draftOf(group: PairGroup<Measured>): Draft {
  const proof = group.pairs.flatMap((pair) => pair.proof);
  const bytes = Math.min(...proof.flatMap(({ probe }) => probe.bytes ?? []));
  const { where, at } = placeOf(group);
  return {
    code: 'path-mtu-black-hole',
    entity: nodeEntity(group.kind === 'node' ? group.node : group.a),
    certainty: 'inferred',
    at,
    harms: [{ minSize: bytes }],
    summary: `packets of ${bytes} bytes and more are lost without an error ${where}, small ones pass`,
    advice: `Let the network carry packets of ${Math.max(...proof.flatMap(({ probe }) => probe.bytes ?? [bytes]))} bytes there, or let ICMP "fragmentation needed" through; until then a smaller MTU on the nodes concerned avoids it.`,
    evidence: proof.slice(0, 6).map(({ probe, result }) => ({
      where: probe.from.pod ?? probe.from.node,
      source: probe.id,
      text: `${result.delivered} of ${result.sent} packets${probe.bytes === undefined ? '' : ` of ${probe.bytes} bytes`} answered`,
    })),
  };
}

/** A ping needs both ways, so it cannot tell on which of them the large packet was lost. */
function placeOf(group: PairGroup): { readonly where: string; readonly at: HopPattern[] } {
  if (group.kind === 'node')
    return { where: `between ${group.node} and any other node`, at: [{ place: nodePlace(group.node), point: 'port' }] };
  const { a, b } = group;
  return { where: `between ${a} and ${b}`, at: [wire(a, b), wire(b, a)] };
}
