import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { type DeviceSettings, parseNetconf } from '../../kit/netconf.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, NETCONF, SYSCTL_FILES } from '../../kit/readings.ts';
import { type Assignment, assignmentOf, atBoot, parseSysctlFiles, type SysctlLine } from '../../kit/sysctl-files.ts';

type Facts = {
  readonly settings: readonly DeviceSettings[];
  readonly links: readonly Link[];
  readonly files: readonly SysctlLine[];
};

/** N1. Source: the kernel's ip-sysctl documentation; ip_route_input_slow asks the device that a packet came in by. */
export const ipForwardOff = defineCheck({
  id: 'ip-forward-off',
  row: 'N1',
  layer: 'L3',
  scope: 'node',
  title: 'Forwarding is switched off',
  why: 'A node that does not forward cuts its pods off from every other node, while the node itself stays reachable.',
  codes: {
    'ip-forward-off': 'net.ipv4.ip_forward is 0: the node forwards nothing.',
    'interface-forwarding-off': 'Forwarding is off for packets that come in by one device of the pod network.',
  },
  params: z.strictObject({}),
  collect: { netconf: NETCONF, addresses: ADDRESSES, files: SYSCTL_FILES },
  parse: ({ netconf, addresses, files }) =>
    allParsed<Facts>({ settings: parseNetconf(netconf), links: parseLinks(addresses), files: parseSysctlFiles(files) }),
  acquits: (facts: ReadonlyMap<string, Facts>, inventory) => forwarding(facts, inventory),
  evaluate: (facts: Facts, { node, inventory }) => {
    const concerned = podDevices(facts, node, inventory);
    const off = facts.settings.filter(({ device, forwarding }) => !forwarding && concerned.includes(device));
    const isOff = facts.settings.some(({ device, forwarding }) => device === 'all' && !forwarding);
    if (isOff && off.length === concerned.length) return [allOff(facts, node)];
    return off.map(({ device }) => oneOff(facts, node, device));
  },
});

/** Nodes on which no device of the pod network has forwarding off. */
function forwarding(facts: ReadonlyMap<string, Facts>, inventory: Inventory): readonly HopPattern[] {
  return [...facts].flatMap(([node, own]) => {
    const concerned = podDevices(own, node, inventory);
    const isOff = own.settings.some(({ device, forwarding: isOn }) => !isOn && concerned.includes(device));
    return isOff || concerned.length === 0 ? [] : [{ place: nodePlace(node), point: 'forwarding' as const }];
  });
}

/** The devices that pod traffic comes in by and that the kernel has settings for. */
function podDevices({ settings, links }: Facts, name: string, inventory: Inventory): readonly string[] {
  const { uplink, bridge, overlay } = networkOf(inventory, name, links);
  const names = [uplink, bridge, overlay].flatMap((link) => (link === null ? [] : [link.name]));
  return names.filter((device) => settings.some((setting) => setting.device === device));
}

function allOff(facts: Facts, node: string): Draft {
  const keys = ['net.ipv4.ip_forward', 'net.ipv4.conf.all.forwarding'];
  const culprit = culpritOf(facts.files, keys);
  return {
    code: 'ip-forward-off',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'forwarding' }],
    harms: [{}],
    summary: `net.ipv4.ip_forward is 0 on ${node}, ${originOf(facts.files, keys)}`,
    advice:
      culprit?.value === '0'
        ? `Correct line ${culprit.line} of ${culprit.file} as well: it switches forwarding off again when sysctl settings are next loaded. Do not run sysctl --system in production: it changes every other setting too.`
        : 'Find out what wrote it: a hardening script, a configuration run, an operator.',
    evidence: [
      { where: node, source: NETCONF.argv.join(' '), text: 'forwarding of all devices: off (net.ipv4.ip_forward = 0)' },
      ...cite(node, culprit),
    ],
    remedy: { id: 'set-ip-forward', node, params: { device: 'all' } },
  };
}

function oneOff(facts: Facts, node: string, device: string): Draft {
  // sysctl(8) takes a dot in a device's name for a separator; it writes the name's own as a slash.
  const key = `net.ipv4.conf.${device.replaceAll('.', '/')}.forwarding`;
  const culprit = culpritOf(facts.files, [key]);
  return {
    code: 'interface-forwarding-off',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'forwarding', dev: device }],
    harms: [{}],
    summary: `forwarding is off for packets that come in by ${device} on ${node} (${key} is 0, ${originOf(facts.files, [key])})`,
    evidence: [{ where: node, source: NETCONF.argv.join(' '), text: `forwarding of ${device}: off` }, ...cite(node, culprit)],
    remedy: { id: 'set-ip-forward', node, params: { device } },
  };
}

/** The line that decides; where /etc/sysctl.conf says otherwise, that of the files which the node starts with. */
function culpritOf(files: readonly SysctlLine[], keys: readonly string[]): Assignment | null {
  const [last, boot] = [assignmentOf(files, keys), assignmentOf(atBoot(files), keys)];
  return last?.value !== '0' && boot?.value === '0' ? boot : last;
}

/** Who set a key to 0: the file that is loaded last, or somebody at run time, perhaps with a file that is overruled. */
function originOf(files: readonly SysctlLine[], keys: readonly string[]): string {
  const last = assignmentOf(files, keys);
  if (last === null) return 'set at run time (no file sets it)';
  const boot = assignmentOf(atBoot(files), keys);
  if (last.value === '0') return `set by ${last.file}${boot?.value === '0' || boot === last ? '' : bootText(boot)}`;
  if (boot?.value === '0')
    return `set by ${boot.file} when the node started (systemd does not load ${last.file}, which would set it to ${last.value})`;
  const overruled = assignmentOf(
    files.filter(({ value }) => value === '0'),
    keys,
  );
  return overruled === null
    ? `set at run time (${last.file} sets it to ${last.value})`
    : `set at run time or with ${overruled.file}, which ${last.file} overrules with ${last.value} when all files are loaded`;
}

/** What holds after a start of the node, which does without /etc/sysctl.conf where systemd loads the settings. */
function bootText(boot: Assignment | null): string {
  return ` (which systemd does not load when the node starts: then ${boot === null ? 'no file sets it' : `${boot.file} sets it to ${boot.value}`})`;
}

function cite(node: string, culprit: Assignment | null): readonly Citation[] {
  return culprit === null
    ? []
    : [{ where: node, source: `${culprit.file}:${culprit.line}`, text: `${culprit.key} = ${culprit.value}` }];
}
