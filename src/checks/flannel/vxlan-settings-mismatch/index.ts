import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { flannelNodes, flannelPodOn, netConf, restartFlannel, restartFlannelOn } from '../../kit/flannel.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, UDP_SOCKETS } from '../../kit/readings.ts';
import { parseUdpSockets, type UdpSocket } from '../../kit/sockets.ts';

type Facts = { readonly links: readonly Link[]; readonly sockets: readonly UdpSocket[] };
type Settings = { readonly vni: number; readonly port: number };
type Configured = Settings & { readonly source: string };

/** The settings that the others have, where that is seen, and those of flannel's configuration, which may be others by now. */
type Expected = Configured & { readonly configured: Configured | null };

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
    const drafts = [...facts].flatMap(([node, own]) => judgeNode(node, own, expected, inventory));
    const odd = drafts.filter(isMismatch).map(({ entity }) => entity.name);
    if (odd.length === 0) return drafts;
    const remedy = restartFlannelOn(inventory, toRestart(facts, inventory, expected.configured, odd));
    return drafts.map((draft) => (isMismatch(draft) ? { ...draft, remedy } : draft));
  },
});

/**
 * What the cluster agrees on: what most nodes have, since with any other settings a node does not reach them, whatever the
 * configuration says by now. Where no settings have most nodes, the configured ones, or flannel's defaults, if they are
 * among them; else null: then nobody can say which node is wrong.
 */
function expectedSettings(facts: ReadonlyMap<string, Facts>, inventory: Inventory): Expected | null {
  const configured = netConf(inventory);
  const seen = [...facts].flatMap(([node, { links }]) => networkOf(inventory, node, links).overlay?.vxlan ?? []);
  if (seen.length === 0) return configured === null ? null : { ...configured, configured };
  const groups = [...Map.groupBy(seen, ({ vni, port }) => `${vni} ${port}`).values()].sort((a, b) => b.length - a.length);
  const largest = groups.filter(({ length }) => length === groups[0]?.length);
  const usual = configured ?? { vni: 1, port: 8472 };
  const agreed = largest.length === 1 ? largest[0] : largest.find(([first]) => first !== undefined && isSame(first, usual));
  const [most] = agreed ?? [];
  if (most === undefined) return null;
  const source =
    configured !== null && isSame(most, configured) ? configured.source : `${agreed?.length} of ${seen.length} nodes`;
  return { vni: most.vni, port: most.port, source, configured };
}

function isSame(a: Settings, b: Settings): boolean {
  return a.vni === b.vni && a.port === b.port;
}

/**
 * The nodes whose flannel has to be started again for all to have the same: those that are odd, or, where these are the
 * only ones that have what is configured, all others. One of several that is restarted alone would lose those it reaches.
 */
function toRestart(
  facts: ReadonlyMap<string, Facts>,
  inventory: Inventory,
  configured: Configured | null,
  odd: readonly string[],
): readonly string[] {
  if (configured === null) return odd;
  return [...facts].flatMap(([node, { links }]) => {
    const vxlan = networkOf(inventory, node, links).overlay?.vxlan;
    return vxlan == null || isSame(vxlan, configured) ? [] : [node];
  });
}

function judgeNode(node: string, { links, sockets }: Facts, expected: Expected, inventory: Inventory): readonly Draft[] {
  const { overlay } = networkOf(inventory, node, links);
  const thief = sockets.find(({ port, process }) => port === expected.port && process !== null);
  if (overlay === null || !overlay.up) {
    if (thief !== undefined) return [portTaken(node, thief, overlay, expected)];
    const own = flannelNodes(inventory).find((candidate) => candidate.node.name === node);
    // Where flannel itself does not run, that is the finding, and this only its consequence.
    const isRunning = own !== undefined && !['missing', 'not-ready'].includes(flannelPodOn(inventory, own.node).state);
    return isRunning ? [{ ...deviceDown(node, overlay), remedy: restartFlannel(inventory, node) }] : [];
  }
  const { vxlan } = overlay;
  if (vxlan === null) return [];
  const isConfigured = expected.configured !== null && isSame(vxlan, expected.configured);
  return (
    [
      ['vxlan-vni-mismatch', 'VNI', 'vni'],
      ['vxlan-port-mismatch', 'UDP port', 'port'],
    ] as const
  ).flatMap(([code, what, key]) =>
    vxlan[key] === expected[key] ? [] : [mismatch(code, node, overlay.name, what, vxlan[key], expected, key, isConfigured)],
  );
}

function isMismatch({ code }: Draft): boolean {
  return code === 'vxlan-vni-mismatch' || code === 'vxlan-port-mismatch';
}

function mismatch(
  code: string,
  node: string,
  dev: string,
  what: string,
  is: number,
  { source, configured, ...expected }: Expected,
  key: keyof Settings,
  isConfigured: boolean,
): Draft {
  const should = expected[key];
  return {
    code,
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'tunnel' }],
    harms: [{}],
    summary: isConfigured
      ? `${dev} on ${node} has the ${what} ${is}, as flannel is configured, the other nodes still have ${should}`
      : `${dev} on ${node} has the ${what} ${is}, the cluster uses ${should}`,
    advice: isConfigured
      ? 'Restart flannel on all other nodes, one at a time: it creates the device again from its configuration.'
      : `Restart flannel on ${node}: it creates the device again from its configuration.`,
    evidence: [
      { where: node, source: ADDRESSES.argv.join(' '), text: `${dev}: ${what} ${is}` },
      { where: 'cluster', source, text: `${what} ${should}` },
      ...(isConfigured && configured !== null ? [{ where: 'cluster', source: configured.source, text: `${what} ${is}` }] : []),
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
