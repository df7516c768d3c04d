import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { flannelNodes, flannelPodOn, netConf } from '../../kit/flannel.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, UDP_SOCKETS } from '../../kit/readings.ts';
import { parseUdpSockets, type UdpSocket } from '../../kit/sockets.ts';

type Facts = { readonly links: readonly Link[]; readonly sockets: readonly UdpSocket[] };
type Settings = { readonly vni: number; readonly port: number };

/** F2. Source: flannel, backend documentation (VXLAN: VNI, Port); vxlan_open in the kernel's vxlan_core.c. */
export const vxlanSettingsMismatch = defineCheck({
  id: 'vxlan-settings-mismatch',
  row: 'F2',
  layer: 'L4',
  scope: 'cluster',
  title: 'VXLAN port or VNI differs, the port is taken, or the device is down',
  why: 'Packets of a node with another VNI or port arrive and are thrown away without a word.',
  codes: {
    'vxlan-vni-mismatch': "A node's VXLAN device has another VNI than the rest of the cluster.",
    'vxlan-port-mismatch': "A node's VXLAN device uses another UDP port than the rest of the cluster.",
    'vxlan-port-taken': 'Another process holds the UDP port that the VXLAN device needs; the device is missing or down.',
    'vxlan-device-down': "A node's VXLAN device is missing or down, and nothing holds its port (L2).",
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, sockets: UDP_SOCKETS },
  parse: ({ addresses, sockets }) => allParsed<Facts>({ links: parseLinks(addresses), sockets: parseUdpSockets(sockets) }),
  acquits: (facts: ReadonlyMap<string, Facts>, inventory) => {
    const expected = flannelNodes(inventory).length === 0 ? null : expectedSettings(facts, inventory);
    if (expected === null) return [];
    return [...facts].flatMap(([node, own]) => {
      const { overlay } = networkOf(inventory, node, own.links);
      const isRight = overlay?.up === true && overlay.vxlan?.vni === expected.vni && overlay.vxlan.port === expected.port;
      return isRight ? [{ place: nodePlace(node), point: 'tunnel' as const }] : [];
    });
  },
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory }) => {
    if (flannelNodes(inventory).length === 0) return [];
    const expected = expectedSettings(facts, inventory);
    if (expected === null) return [];
    return [...facts].flatMap(([node, own]) => judgeNode(node, own, expected, inventory));
  },
});

/**
 * What the cluster agrees on: flannel's own configuration, else what most nodes have; where no settings have most nodes,
 * flannel's defaults if they are among them, or null: then nobody can say which node is wrong.
 */
function expectedSettings(
  facts: ReadonlyMap<string, Facts>,
  inventory: Inventory,
): (Settings & { readonly source: string }) | null {
  const configured = netConf(inventory);
  if (configured !== null) return configured;
  const seen = [...facts].flatMap(([node, { links }]) => {
    const vxlan = networkOf(inventory, node, links).overlay?.vxlan;
    return vxlan == null ? [] : [vxlan];
  });
  const groups = [...Map.groupBy(seen, ({ vni, port }) => `${vni} ${port}`).values()].sort((a, b) => b.length - a.length);
  const largest = groups.filter(({ length }) => length === groups[0]?.length);
  const agreed = largest.length === 1 ? largest[0] : largest.find(([first]) => first?.vni === 1 && first.port === 8472);
  const [most] = agreed ?? [];
  return most === undefined ? null : { vni: most.vni, port: most.port, source: `${agreed?.length} of ${seen.length} nodes` };
}

function judgeNode(
  node: string,
  { links, sockets }: Facts,
  expected: Settings & { readonly source: string },
  inventory: Inventory,
): readonly Draft[] {
  const { overlay } = networkOf(inventory, node, links);
  const thief = sockets.find(({ port, process }) => port === expected.port && process !== null);
  if (overlay === null || !overlay.up) {
    if (thief !== undefined) return [portTaken(node, thief, overlay, expected)];
    const own = flannelNodes(inventory).find((candidate) => candidate.node.name === node);
    // Where flannel itself does not run, that is the finding, and this only its consequence.
    const isRunning = own !== undefined && !['missing', 'not-ready'].includes(flannelPodOn(inventory, own.node).state);
    return isRunning ? [deviceDown(node, overlay)] : [];
  }
  const { vxlan } = overlay;
  if (vxlan === null) return [];
  const drafts: Draft[] = [];
  if (vxlan.vni !== expected.vni)
    drafts.push(mismatch('vxlan-vni-mismatch', node, overlay.name, 'VNI', vxlan.vni, expected.vni, expected.source));
  if (vxlan.port !== expected.port)
    drafts.push(mismatch('vxlan-port-mismatch', node, overlay.name, 'UDP port', vxlan.port, expected.port, expected.source));
  return drafts;
}

function mismatch(code: string, node: string, dev: string, what: string, is: number, should: number, source: string): Draft {
  return {
    code,
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'tunnel' }],
    harms: [{}],
    summary: `${dev} on ${node} has the ${what} ${is}, the cluster uses ${should}`,
    advice: `Restart flannel on ${node}: it creates the device again from its configuration.`,
    evidence: [
      { where: node, source: ADDRESSES.argv.join(' '), text: `${dev}: ${what} ${is}` },
      { where: 'cluster', source, text: `${what} ${should}` },
    ],
  };
}

function portTaken(node: string, { process, text }: UdpSocket, overlay: Link | null, { port }: Settings): Draft {
  return {
    code: 'vxlan-port-taken',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'tunnel' }],
    harms: [{}],
    summary: `UDP port ${port} on ${node} is held by ${process}, so that the VXLAN device ${overlay === null ? 'is missing' : `${overlay.name} is down`}`,
    advice: `Stop ${process} on ${node}, then restart flannel there.`,
    evidence: [{ where: node, source: UDP_SOCKETS.argv.join(' '), text }, stateOf(node, overlay)],
  };
}

function deviceDown(node: string, overlay: Link | null): Draft {
  return {
    code: 'vxlan-device-down',
    layer: 'L2',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'tunnel' }],
    harms: [{}],
    summary: `the VXLAN device ${overlay === null ? 'is missing' : `${overlay.name} is down`} on ${node}`,
    advice: `Restart flannel on ${node}: it makes the device and all of its entries again. Setting the device up by hand brings back neither routes nor neighbours.`,
    evidence: [stateOf(node, overlay)],
  };
}

function stateOf(node: string, overlay: Link | null): Citation {
  const text = overlay === null ? 'no VXLAN device' : `${overlay.name}: not UP`;
  return { where: node, source: ADDRESSES.argv.join(' '), text };
}
