import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { type Counters, parseCounters } from '../../kit/counters.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, DEVICE_COUNTERS } from '../../kit/readings.ts';

type Facts = { readonly links: readonly Link[]; readonly before: Counters; readonly after: Counters };

const Params = z.strictObject({
  /** Packets that are bad, as a share of all, and how many at least. */
  errors: z.number().default(0.001),
  minErrors: z.number().default(10),
  /** Packets that were thrown away likewise; every link carries a few frames that no protocol of the node takes. */
  drops: z.number().default(0.02),
  minDrops: z.number().default(20),
});

/** N13. Source: Documentation/networking/operstates.rst and statistics.rst of the kernel. */
export const uplinkTrouble = defineCheck({
  id: 'uplink-trouble',
  row: 'N13',
  layer: 'L2',
  scope: 'cluster',
  title: "The node's uplink is down, without carrier, or loses packets",
  why: 'Everything between the node and the other nodes goes through this device.',
  codes: {
    'interface-down': "The device that holds the node's address has been set down.",
    'carrier-lost': "The device that holds the node's address is up, but the link below it is not.",
    'interface-errors-rising': 'The device counted bad or dropped packets during the run.',
  },
  params: Params,
  collect: { addresses: ADDRESSES, counters: DEVICE_COUNTERS },
  parse: ({ addresses, counters }) =>
    allParsed<Facts>({
      links: parseLinks(addresses),
      before: parseCounters(counters.before),
      after: parseCounters(counters.after),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }, params) =>
    [...facts].flatMap(([node, own]) => {
      const { uplink } = networkOf(inventory, node, own.links);
      if (uplink === null) return [];
      if (!uplink.up || !uplink.carrier) return [cutOff(node, uplink, inventory, probed)];
      return losing(node, uplink.name, own, params);
    }),
});

/** Who asked the node all this has reached it some other way: only what the nodes say to each other is known to be lost. */
function cutOff(node: string, { name, up }: Link, inventory: Inventory, probed: readonly Probed[]): Draft {
  const { nodes, services } = inventory;
  const place = nodePlace(node);
  const own = nodes.find((other) => other.name === node)?.ip ?? '';
  const peers = nodes.flatMap(({ name: other, ip }) => (other === node || ip === null ? [] : [ip]));
  // The kernel takes the routes of a device that is set down, the default one among them, by which Services are reached.
  const lost = probed.flatMap(({ probe }) =>
    !up && probe.from.node === node && services.some(({ clusterIP }) => clusterIP === probe.to.ip) ? [probe.to.ip] : [],
  );
  const outside = lostOutside(node, inventory, probed);
  return {
    code: up ? 'carrier-lost' : 'interface-down',
    entity: nodeEntity(node),
    at: [
      { place, point: 'dev', dev: name },
      { place, point: 'nat' },
    ],
    harms: [
      ...[...peers, ...outside].flatMap((ip): PacketMatch[] => [{ src: ip }, { dst: ip }]),
      ...[...new Set(lost)].map((dst): PacketMatch => ({ src: own, dst })),
    ],
    summary: up
      ? `${name} of ${node}, which holds the node's address, has no carrier: the link below it is down`
      : `${name} of ${node}, which holds the node's address, has been set down`,
    advice: up
      ? `Look at the cable, the switch port and the other end of the link, or at the device below ${name} where it is a bond or a VLAN.`
      : `Find out what set it down before it is set up again (ip link set ${name} up): the routes through it are gone as well, and only those that its configuration makes come back.`,
    evidence: [{ where: node, source: ADDRESSES.argv.join(' '), text: `${name}: ${up ? 'NO-CARRIER' : 'no flag UP'}` }],
    ...(up ? {} : { remedy: { id: 'set-link-up', node, params: { device: name } } }),
  };
}

/** Addresses outside the cluster that the node and its pods asked and did not reach. The API server's is not among them: it asks. */
function lostOutside(node: string, { services, endpoints }: Inventory, probed: readonly Probed[]): readonly string[] {
  const inside = new Set([...services.map(({ clusterIP }) => clusterIP), ...endpoints.map(({ ip }) => ip)]);
  const asked = probed.filter(({ probe: { from, to } }) => from.node === node && to.node === null && !inside.has(to.ip));
  const reached = new Set(asked.filter(({ result }) => result.status === 'pass').map(({ probe }) => probe.to.ip));
  return [...new Set(asked.map(({ probe }) => probe.to.ip))].filter((ip) => !reached.has(ip));
}

function losing(node: string, device: string, { before, after }: Facts, params: z.output<typeof Params>): readonly Draft[] {
  const [first, last] = [before.get(device), after.get(device)];
  // A device that came during the run has counted nothing before; one that was made anew counts from zero.
  if (first === undefined || last === undefined) return [];
  const packets = last.received - first.received + last.sent - first.sent;
  const errors = last.errors - first.errors;
  const drops = last.dropped - first.dropped;
  const isBad = errors >= params.minErrors && errors >= params.errors * (packets + errors);
  const isDropping = drops >= params.minDrops && drops >= params.drops * (packets + drops);
  if (!isBad && !isDropping) return [];
  const what = [...(isBad ? [`${errors} bad packets`] : []), ...(isDropping ? [`${drops} dropped packets`] : [])].join(' and ');
  return [
    {
      code: 'interface-errors-rising',
      entity: nodeEntity(node),
      severity: 'warning',
      certainty: 'suspect',
      partial: true,
      at: [{ place: nodePlace(node), point: 'dev', dev: device }],
      harms: [{}],
      summary: `${device} of ${node} counted ${what} beside ${packets} good ones while this check ran`,
      advice: `Look at the counters of the driver (ethtool -S ${device}): bad packets point to cable, optics or a duplex mismatch, dropped ones to rings that are too small, a link that is full, or packets larger than the other end takes.`,
      evidence: [
        {
          where: node,
          source: DEVICE_COUNTERS.files.join(' '),
          text: `${device}: errors ${first.errors} → ${last.errors}, dropped ${first.dropped} → ${last.dropped}`,
        },
      ],
    },
  ];
}
