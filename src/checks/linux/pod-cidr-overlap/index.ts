import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory, Node } from '../../../model/inventory.ts';
import { type Draft, defineCheck, ok, type Probed } from '../../kit/check.ts';
import { createIsWithin } from '../../kit/cidr.ts';
import { overlaps } from '../../kit/overlaps.ts';

type Owned = { readonly node: Node; readonly block: string };

/** N17. A check without readings of its own. Source: the Node objects' spec.podCIDRs. */
export const podCidrOverlap = defineCheck({
  id: 'pod-cidr-overlap',
  row: 'N17',
  layer: 'L3',
  scope: 'cluster',
  title: 'Two nodes have the same pod addresses',
  why: 'What is for a pod on one of them goes to the other, or two pods have one address.',
  codes: { 'pod-cidr-overlap': 'The podCIDRs of two Nodes are the same or overlap.' },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok({}),
  evaluate: (_facts, { inventory, probed }) => {
    const owned = inventory.nodes.flatMap((node) => node.podCIDRs.map((block): Owned => ({ node, block })));
    return overlaps(owned, ({ block }) => block)
      .filter(({ outer, inner }) => outer.node.name !== inner.node.name)
      .map(({ outer, inner }) => draftOf(outer, inner, inventory, probed));
  },
});

function draftOf(outer: Owned, inner: Owned, { nodes }: Inventory, probed: readonly Probed[]): Draft {
  const isSame = outer.block === inner.block;
  // A node that is not there any more is the one to go.
  const gone = [inner, outer].find(({ node }) => node.ready !== 'True');
  const name = gone?.node.name ?? 'one of the two';
  return {
    code: 'pod-cidr-overlap',
    entity: nodeEntity((gone ?? inner).node.name),
    severity: 'warning',
    certainty: 'suspect',
    at: nodes.map((node) => ({ place: nodePlace(node.name), point: 'route' })),
    harms: unreached(inner.block, probed).map((dst) => ({ dst })),
    summary: isSame
      ? `${outer.node.name} and ${inner.node.name} have the same podCIDR ${inner.block}`
      : `the podCIDR ${inner.block} of ${inner.node.name} is a part of ${outer.block}, which ${outer.node.name} has`,
    advice: `A podCIDR cannot be changed: drain ${name}, delete its Node object and let the node join again${gone === undefined ? '' : ` (it is not ready: if the machine is gone, kubectl delete node ${name} is enough)`}. Then see that the range and the mask of the controller manager (--cluster-cidr, --node-cidr-mask-size) are what they were, and that only one of them hands out addresses.`,
    evidence: [outer, inner].map(({ node, block }) => ({
      where: 'Kubernetes API',
      source: `nodes/${node.name}`,
      text: `spec.podCIDRs: ${block}`,
    })),
  };
}

/** The addresses in what both have that did not answer anybody: those that the traffic of one node does not come to. */
function unreached(block: string, probed: readonly Probed[]): readonly string[] {
  const inside = createIsWithin();
  const ended = (status: 'pass' | 'fail'): ReadonlySet<string> =>
    new Set(
      probed
        .filter(({ result }) => result.status === status)
        .flatMap(({ probe }) => [probe.from.ip, probe.to.ip])
        .filter((ip) => inside(ip, block)),
    );
  const reached = ended('pass');
  return [...ended('fail')].filter((ip) => !reached.has(ip));
}
