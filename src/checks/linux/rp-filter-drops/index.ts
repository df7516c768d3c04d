import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { createLookup } from '../../kit/fib.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { isResolved, type Neighbour, parseNeighbours } from '../../kit/neighbours.ts';
import { type DeviceSettings, parseNetconf } from '../../kit/netconf.ts';
import { networkOf } from '../../kit/node-network.ts';
import { type PolicyRule, parsePolicyRules } from '../../kit/policy-rules.ts';
import { ADDRESSES, NEIGHBOURS, NETCONF, POLICY_RULES, ROUTES, SYSCTL_FILES } from '../../kit/readings.ts';
import { devicesOf, parseRoutes, type Route, routeText } from '../../kit/routes.ts';
import { type Assignment, assignmentOf, parseSysctlFiles, type SysctlLine } from '../../kit/sysctl-files.ts';

type Facts = {
  readonly links: readonly Link[];
  readonly settings: readonly DeviceSettings[];
  readonly routes: readonly Route[];
  readonly rules: readonly PolicyRule[];
  readonly neighbours: readonly Neighbour[];
  readonly files: readonly SysctlLine[];
};

/** Another node whose packets come in by one device while the way back leads out of another. */
type Asymmetric = { readonly name: string; readonly ip: string; readonly route: Route };

/** N5. Source: the kernel's ip-sysctl documentation, rp_filter; fib_validate_source in net/ipv4/fib_frontend.c. */
export const rpFilterDrops = defineCheck({
  id: 'rp-filter-drops',
  row: 'N5',
  layer: 'L3',
  scope: 'cluster',
  title: 'The reverse path filter drops what comes in another way',
  why: 'Packets arrive at the node and vanish in it, because the way back leads out of another device.',
  codes: {
    'rp-filter-drops': 'rp_filter is strict on a device, and the route back to what arrives there leads out of another.',
  },
  params: z.strictObject({}),
  collect: {
    addresses: ADDRESSES,
    netconf: NETCONF,
    routes: ROUTES,
    rules: POLICY_RULES,
    neighbours: NEIGHBOURS,
    files: SYSCTL_FILES,
  },
  parse: ({ addresses, netconf, routes, rules, neighbours, files }) =>
    allParsed<Facts>({
      links: parseLinks(addresses),
      settings: parseNetconf(netconf),
      routes: parseRoutes(routes),
      rules: parsePolicyRules(rules),
      neighbours: parseNeighbours(neighbours.after),
      files: parseSysctlFiles(files),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) =>
    [...facts].flatMap(([node, own]) => judgeNode(node, own, inventory, probed)),
});

function judgeNode(node: string, facts: Facts, inventory: Inventory, probed: readonly Probed[]): readonly Draft[] {
  const { uplink } = networkOf(inventory, node, facts.links);
  const ip = inventory.nodes.find(({ name }) => name === node)?.ip ?? null;
  if (uplink === null || ip === null || effective(facts.settings, uplink.name) !== 'strict') return [];
  const lookup = createLookup(facts.routes, facts.rules);
  const asymmetric = inventory.nodes.flatMap((peer): Asymmetric[] => {
    if (peer.name === node || peer.ip === null || peer.ip.includes(':')) return [];
    const route = lookup({ dst: peer.ip, src: ip, iif: null })?.route;
    if (route?.type !== 'unicast' || devicesOf(route).includes(uplink.name)) return [];
    // A way back on which nobody answers is a fault of its own, and a loose filter would not mend it.
    const isUsable = devicesOf(route).some((dev) => isResolved(facts.neighbours, dev, route.gateway ?? peer.ip ?? ''));
    return isUsable && hasFailed(node, peer.name, probed) ? [{ name: peer.name, ip: peer.ip, route }] : [];
  });
  return asymmetric.length === 0 ? [] : [draftOf(node, uplink.name, asymmetric, facts)];
}

/** The stricter wins between `all` and the device, except that loose wins over strict: the larger number counts. */
function effective(settings: readonly DeviceSettings[], device: string): DeviceSettings['rpFilter'] {
  const modes = new Set(settings.filter((one) => one.device === 'all' || one.device === device).map(({ rpFilter }) => rpFilter));
  return (['loose', 'strict'] as const).find((mode) => modes.has(mode)) ?? 'off';
}

function hasFailed(node: string, peer: string, probed: readonly Probed[]): boolean {
  return probed.some(
    ({ probe, result }) =>
      result.status === 'fail' &&
      ((probe.from.node === node && probe.to.node === peer) || (probe.from.node === peer && probe.to.node === node)),
  );
}

function draftOf(node: string, device: string, asymmetric: readonly Asymmetric[], { settings, files }: Facts): Draft {
  const [first] = asymmetric;
  const names = asymmetric.map(({ name }) => name);
  const from = names.length > 3 ? `${names.length} nodes` : names.join(', ');
  const devices = [...new Set(asymmetric.flatMap(({ route }) => devicesOf(route)))].join(', ');
  const isStrict = (name: string): boolean => settings.some((one) => one.device === name && one.rpFilter === 'strict');
  const keys = ['all', device].filter(isStrict).map((name) => `net.ipv4.conf.${name.replaceAll('.', '/')}.rp_filter`);
  const culprit = culpritOf(files, keys, device);
  return {
    code: 'rp-filter-drops',
    entity: nodeEntity(node),
    at: [
      { place: nodePlace(node), point: 'rp-filter', dev: device },
      { place: nodePlace(node), point: 'dev', dev: device, dir: 'in' },
    ],
    harms: asymmetric.flatMap(({ ip: src }): PacketMatch[] => [
      { src, proto: 'icmp' },
      { src, proto: 'tcp' },
      { src, proto: 'udp' },
      // The filter is asked before ARP is answered as well, but not before an answer is taken; arp_process in arp.c.
      { src, proto: 'arp', state: 'new' },
    ]),
    summary: `${node} drops what comes from ${from} by ${device}: the way back leads out of ${devices}, and rp_filter is strict (${keys.join(' and ')} = 1)`,
    advice: `Let the way back lead out of ${device}, or make the filter loose: net.ipv4.conf.${device.replaceAll('.', '/')}.rp_filter = 2 (of "all" and the device the larger number counts)${culprit === null ? '' : `, also in ${culprit.file}, line ${culprit.line}`}.`,
    evidence: [
      {
        where: node,
        source: NETCONF.argv.join(' '),
        text: `rp_filter of ${['all', device].filter(isStrict).join(' and ')}: strict`,
      },
      ...(first === undefined
        ? []
        : [{ where: node, source: ROUTES.argv.join(' '), text: `to ${first.name} (${first.ip}): ${routeText(first.route)}` }]),
      ...(culprit === null
        ? []
        : [{ where: node, source: `${culprit.file}:${culprit.line}`, text: `${culprit.key} = ${culprit.value}` }]),
    ],
    remedy: { id: 'set-rp-filter', node, params: { device, value: '2' } },
  };
}

/** The line that made it strict: for these keys, or for every device that came after the settings were loaded. */
function culpritOf(files: readonly SysctlLine[], keys: readonly string[], device: string): Assignment | null {
  const isOfDevice = keys.some((key) => key.includes(`.${device.replaceAll('.', '/')}.`));
  const named = assignmentOf(files, keys) ?? (isOfDevice ? assignmentOf(files, ['net.ipv4.conf.default.rp_filter']) : null);
  return named?.value === '1' ? named : null;
}
