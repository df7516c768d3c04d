import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { type HopPattern, nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { type FdbEntry, parseFdb } from '../../kit/fdb.ts';
import { annotationName, restartFlannel, unreadVteps, type VtepNode, vtepNodes } from '../../kit/flannel.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, FDB } from '../../kit/readings.ts';

type Facts = { readonly links: readonly Link[]; readonly fdb: readonly FdbEntry[] };

/**
 * F8. Source: flannel#1155 and systemd.link(5), MACAddressPolicy=; vxlan_set_mac in the kernel's vxlan_core.c, which throws
 * away what seems to come from itself.
 */
export const vtepMacWrong = defineCheck({
  id: 'vtep-mac-wrong',
  row: 'F8',
  layer: 'L2',
  scope: 'cluster',
  title: "The tunnel device's MAC address was changed, or is the same on several nodes",
  why: 'What the other nodes send arrives, and the kernel throws it away: it is addressed to another MAC address.',
  codes: {
    'flannel-vtep-mac-changed': 'The tunnel device has another MAC address than flannel has told the other nodes.',
    'flannel-vtep-mac-duplicate': 'Several nodes have the same MAC address on their tunnel devices, as cloned machines do.',
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, fdb: FDB },
  parse: ({ addresses, fdb }) => allParsed<Facts>({ links: parseLinks(addresses), fdb: parseFdb(fdb) }),
  unread: unreadVteps,
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory }) => {
    const flannel = vtepNodes(inventory);
    const shared = [...Map.groupBy(flannel, ({ vtepMac }) => vtepMac).values()].filter(({ length }) => length > 1);
    return [
      ...shared.map((group) => duplicate(group, facts, inventory)),
      ...flannel.flatMap((own) => changed(own, facts.get(own.node.name), inventory)),
    ];
  },
});

function changed({ node, vtepMac }: VtepNode, facts: Facts | undefined, inventory: Inventory): readonly Draft[] {
  const overlay = facts === undefined ? null : networkOf(inventory, node.name, facts.links).overlay;
  if (overlay === null || overlay.mac === null || overlay.mac === vtepMac) return [];
  return [
    {
      code: 'flannel-vtep-mac-changed',
      entity: nodeEntity(node.name),
      at: [{ place: nodePlace(node.name), point: 'tunnel', dir: 'in' }],
      harms: [{}],
      summary: `${overlay.name} on ${node.name} has the MAC address ${overlay.mac}, flannel has told the other nodes ${vtepMac}`,
      advice: `Restart flannel on ${node.name}: it tells the others the address that the device has now. So that it stays: a .link file with MACAddressPolicy=none for ${overlay.name} (/etc/systemd/network/10-flannel.link).`,
      evidence: [
        { where: node.name, source: ADDRESSES.argv.join(' '), text: `${overlay.name}: link/ether ${overlay.mac}` },
        { where: 'Kubernetes API', source: `Node ${node.name}, ${annotationName('backend-data')}`, text: `VtepMAC ${vtepMac}` },
      ],
      remedy: restartFlannel(inventory, node.name),
    },
  ];
}

function duplicate(group: readonly VtepNode[], facts: ReadonlyMap<string, Facts>, inventory: Inventory): Draft {
  const [first] = group;
  if (first === undefined) throw new TypeError('a group is never empty');
  const names = group.map(({ node }) => node.name);
  const which = names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(' and ');
  const at = [...facts].flatMap(([name, own]) => lostFrom(name, own, group, inventory));
  const seen = group.flatMap(({ node }) => {
    const own = facts.get(node.name);
    const overlay = own === undefined ? null : networkOf(inventory, node.name, own.links).overlay;
    return overlay === null
      ? []
      : [{ where: node.name, source: ADDRESSES.argv.join(' '), text: `${overlay.name}: link/ether ${overlay.mac}` }];
  });
  return {
    code: 'flannel-vtep-mac-duplicate',
    entity: nodeEntity(first.node.name),
    at: at.length > 0 ? at : [{ place: nodePlace(first.node.name), point: 'tunnel', dir: 'in' }],
    harms: at.length > 0 ? [{}] : [],
    summary: `the tunnel devices of ${which} have the same MAC address ${first.vtepMac}: they do not reach each other, and the other nodes reach only one of them`,
    advice: `The nodes are probably clones with the same /etc/machine-id. Give each its own (rm /etc/machine-id; systemd-machine-id-setup), delete the tunnel device on all of them but one and restart flannel there; or set MACAddressPolicy=none for it in a .link file.`,
    evidence: [
      ...group.slice(0, 3).map(({ node, vtepMac }) => ({
        where: 'Kubernetes API',
        source: `Node ${node.name}, ${annotationName('backend-data')}`,
        text: `VtepMAC ${vtepMac}`,
      })),
      ...seen.slice(0, 3),
    ],
  };
}

/**
 * The entries of a node that lead astray. Of nodes with the same address only one can be in the forwarding database; and
 * between the two every packet seems to the receiver to be its own.
 */
function lostFrom(name: string, { links, fdb }: Facts, group: readonly VtepNode[], inventory: Inventory): readonly HopPattern[] {
  const dev = networkOf(inventory, name, links).overlay?.name;
  const isOne = group.some(({ node }) => node.name === name);
  return group
    .filter(
      ({ node, publicIp, vtepMac }) =>
        node.name !== name &&
        (isOne || !fdb.some((entry) => entry.dev === dev && entry.mac === vtepMac && entry.dst === publicIp)),
    )
    .map(({ node, publicIp }) => ({ place: nodePlace(name), point: 'fdb', via: node.ip ?? publicIp }));
}
