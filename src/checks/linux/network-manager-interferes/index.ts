import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck, parseComplete } from '../../kit/check.ts';
import { firstIPv4 } from '../../kit/cidr.ts';
import { flannelNodes } from '../../kit/flannel.ts';
import { isLike, readSettings, type Setting } from '../../kit/ini.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, NETWORK_MANAGER_FILES, NETWORKD_FILES, PROCESS_NAMES, ROUTES } from '../../kit/readings.ts';
import { parseRoutes, type Route } from '../../kit/routes.ts';

type Files = ReadonlyMap<string, readonly Setting[]>;
type Facts = {
  readonly links: readonly Link[];
  readonly routes: readonly Route[];
  readonly running: readonly string[];
  readonly manager: Files;
  readonly networkd: Files;
};

/** The names of the processes, as the kernel cuts them. */
const MANAGER = 'NetworkManager';
const NETWORKD = 'systemd-network';

/** N22. Source: NetworkManager.conf(5), networkd.conf(5), systemd.network(5); "Known issues" of RKE2 and k3s. */
export const networkManagerInterferes = defineCheck({
  id: 'network-manager-interferes',
  row: 'N22',
  layer: 'L3',
  scope: 'node',
  title: 'A network manager may have taken away routes of the pod network',
  why: 'It takes the devices of the pod network for its own, and removes from them what it has not set itself.',
  codes: {
    'networkmanager-manages-pod-devices':
      'Routes of the pod network are gone, and NetworkManager has not been told to leave its devices alone.',
    'networkd-manages-pod-devices':
      'Routes of the pod network are gone, and systemd-networkd has a configuration that covers its devices.',
  },
  params: z.strictObject({}),
  collect: {
    addresses: ADDRESSES,
    routes: ROUTES,
    processes: PROCESS_NAMES,
    manager: NETWORK_MANAGER_FILES,
    networkd: NETWORKD_FILES,
  },
  parse: ({ addresses, routes, processes, manager, networkd }) =>
    allParsed<Facts>({
      links: parseLinks(addresses),
      routes: parseRoutes(routes),
      running: parseComplete(processes, readNames),
      manager: parseComplete(manager, readSettings),
      networkd: parseComplete(networkd, readSettings),
    }),
  evaluate: (facts: Facts, { node, inventory }) => {
    const { bridge, overlay } = networkOf(inventory, node, facts.links);
    const missing = missingRoutes(facts, node, inventory);
    if (missing.length === 0) return [];
    const devices = [bridge, overlay].flatMap((link) => link ?? []);
    return [...byManager(facts, node, devices, missing), ...byNetworkd(facts, node, devices, missing)];
  },
});

function readNames(stdout: string): readonly string[] {
  const names = stdout.trim().split('\n');
  // Process 1, ps itself: there are always some, and none of them has a name like a document.
  if (names.length < 2 || names.some((name) => !/^[^{}]{1,64}$/.test(name))) throw new Error('not a list of processes');
  return names.map((name) => name.trim());
}

/** The prefixes of pods, the node's own and its peers', that have no route of the kind that flannel or the kernel makes. */
function missingRoutes({ links, routes }: Facts, node: string, inventory: Inventory): readonly string[] {
  const { bridge, overlay } = networkOf(inventory, node, links);
  const hasRoute = (dst: string): boolean => routes.some((route) => route.dst === dst && route.table === 'main');
  const own = firstIPv4(inventory.nodes.find(({ name }) => name === node)?.podCIDRs ?? []);
  const peers = overlay?.up === true ? flannelNodes(inventory).filter((peer) => peer.node.name !== node) : [];
  const wanted = [...(bridge?.up === true && own !== null ? [own] : []), ...peers.map(({ podCIDR }) => podCIDR)];
  return wanted.filter((dst) => !hasRoute(dst));
}

function byManager(
  { running, manager }: Facts,
  node: string,
  devices: readonly Link[],
  missing: readonly string[],
): readonly Draft[] {
  if (!running.includes(MANAGER)) return [];
  const managed = devices.filter(({ name }) => !isLeftAlone(name, manager));
  if (managed.length === 0) return [];
  const file = '/etc/NetworkManager/conf.d/kubernetes.conf';
  const names = managed.map(({ name }) => name).join(' and ');
  return [
    {
      ...risk(node),
      code: 'networkmanager-manages-pod-devices',
      summary: `${routesText(missing, node)}, and NetworkManager runs there without being told to leave ${names} alone`,
      advice: `Write ${file} with the lines "[keyfile]" and "unmanaged-devices=interface-name:cni*;interface-name:cbr*;interface-name:flannel*;interface-name:veth*", then systemctl reload NetworkManager, and restart the pod of the network plugin, which sets its routes again.`,
      evidence: [
        { where: node, source: PROCESS_NAMES.argv.join(' '), text: MANAGER },
        { where: node, source: '/etc/NetworkManager', text: `nothing there makes ${names} unmanaged` },
        ...gone(node, missing),
      ],
    },
  ];
}

/** By a list of devices, or by a section for a device that says `managed=0`. */
function isLeftAlone(device: string, files: Files): boolean {
  const settings = [...files.values()].flat();
  const lists = settings.filter(({ section, key }) => section === 'keyfile' && key.replace(/\+$/, '') === 'unmanaged-devices');
  const sections = settings
    .filter(({ section, key, value }) => section.startsWith('device') && key === 'managed' && /^(0|no|false)$/i.test(value))
    .map(({ section }) => section);
  const matches = settings.filter(({ section, key }) => sections.includes(section) && key === 'match-device');
  const specs = [...lists, ...matches].flatMap(({ value }) => value.split(/[;,]/).map((spec) => spec.trim()));
  const isMeant = (spec: string): boolean => isLike(device, spec.replace(/^interface-name:=?/, ''));
  return (
    specs.some((spec) => !spec.startsWith('except:') && isMeant(spec)) &&
    !specs.some((spec) => spec.startsWith('except:') && isMeant(spec.slice('except:'.length)))
  );
}

function byNetworkd(
  { running, networkd }: Facts,
  node: string,
  devices: readonly Link[],
  missing: readonly string[],
): readonly Draft[] {
  if (!running.includes(NETWORKD)) return [];
  const settings = [...networkd.values()].flat();
  const foreign = settings.findLast(({ file, key }) => file.endsWith('.conf') && key === 'ManageForeignRoutes');
  if (foreign !== undefined && /^(0|no|false|off)$/i.test(foreign.value)) return [];
  const covered = devices.flatMap((device) => {
    const network = [...networkd].find(([file, own]) => file.endsWith('.network') && isFor(device, own));
    const isUnmanaged = network?.[1].some(
      ({ section, key, value }) => section === 'Link' && key === 'Unmanaged' && /^(1|yes|true|on)$/i.test(value),
    );
    return network === undefined || isUnmanaged === true ? [] : [{ device: device.name, file: network[0] }];
  });
  if (covered.length === 0) return [];
  const names = covered.map(({ device }) => device).join(' and ');
  const files = [...new Set(covered.map(({ file }) => file))];
  return [
    {
      ...risk(node),
      code: 'networkd-manages-pod-devices',
      summary: `${routesText(missing, node)}, and systemd-networkd runs there with ${files.join(' and ')}, which covers ${names}`,
      advice: `Write /etc/systemd/network/00-kubernetes.network with the lines "[Match]", "Name=cni* cbr* flannel* veth*", "[Link]" and "Unmanaged=yes", and /etc/systemd/networkd.conf.d/kubernetes.conf with "[Network]", "ManageForeignRoutes=no" and "ManageForeignRoutingPolicyRules=no"; then restart the pod of the network plugin, which sets its routes again.`,
      evidence: [
        { where: node, source: PROCESS_NAMES.argv.join(' '), text: NETWORKD },
        ...covered.map(({ device, file }) => ({
          where: node,
          source: file,
          text: `covers ${device}, and does not leave it unmanaged`,
        })),
        ...gone(node, missing),
      ],
    },
  ];
}

/** Whether a network is for a device: by its name or its kind; what asks for anything else is taken to be for others. */
function isFor({ name, kind }: Link, settings: readonly Setting[]): boolean {
  const conditions = settings.filter(({ section }) => section === 'Match');
  return (
    conditions.length > 0 &&
    conditions.every(({ key, value }) => {
      const patterns = value.split(/\s+/);
      const isInverted = patterns[0]?.startsWith('!') === true;
      const given = patterns.map((pattern) => pattern.replace(/^!/, ''));
      if (key === 'Name') return given.some((pattern) => isLike(name, pattern)) !== isInverted;
      return (key === 'Type' || key === 'Kind') && given.some((pattern) => isLike(kind, pattern)) !== isInverted;
    })
  );
}

function risk(node: string): Pick<Draft, 'entity' | 'severity' | 'certainty' | 'at' | 'harms'> {
  // What is missing is told as a cause by itself; this says who may have taken it.
  return { entity: nodeEntity(node), severity: 'info', certainty: 'suspect', at: [], harms: [] };
}

function routesText(missing: readonly string[], node: string): string {
  const shown = missing.slice(0, 3).join(', ');
  return `${missing.length === 1 ? 'the route' : `${missing.length} routes`} to pods (${shown}${missing.length > 3 ? ', …' : ''}) ${missing.length === 1 ? 'is' : 'are'} gone from ${node}`;
}

function gone(node: string, missing: readonly string[]): readonly Citation[] {
  return missing.slice(0, 3).map((dst) => ({ where: node, source: ROUTES.argv.join(' '), text: `no route to ${dst}` }));
}
