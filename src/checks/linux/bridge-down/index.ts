import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import { defineCheck } from '../../kit/check.ts';
import { parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES } from '../../kit/readings.ts';

/** P1. Source: the kernel's Documentation/networking/operstates.rst: UP is what was set, the operational state follows. */
export const bridgeDown = defineCheck({
  id: 'bridge-down',
  row: 'P1',
  layer: 'L2',
  scope: 'node',
  title: 'The pod bridge is down',
  why: 'No pod of the node reaches anything, not even another pod beside it.',
  codes: { 'bridge-down': 'The bridge that the pods of a node hang on (cni0, cbr0) has been set down.' },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES },
  parse: ({ addresses }) => parseLinks(addresses),
  evaluate: (links, { node, inventory }) => {
    const { bridge } = networkOf(inventory, node, links);
    // A bridge without a port has no carrier and says DOWN; only the flag tells what somebody has set.
    if (bridge === null || bridge.up) return [];
    const place = nodePlace(node);
    return [
      {
        code: 'bridge-down',
        entity: nodeEntity(node),
        at: [
          { place, point: 'dev', dev: bridge.name },
          { place, point: 'bridge', dev: bridge.name },
        ],
        harms: [{}],
        summary: `the pod bridge ${bridge.name} of ${node} has been set down`,
        advice: `Set it up again (ip link set ${bridge.name} up): its address and its ports are still there, the kernel brings the route to the pods back. Then find out what set it down: a network manager, a script, somebody by hand.`,
        evidence: [{ where: node, source: ADDRESSES.argv.join(' '), text: `${bridge.name}: no flag UP` }],
        remedy: { id: 'set-link-up', node, params: { device: bridge.name } },
      },
    ];
  },
});
