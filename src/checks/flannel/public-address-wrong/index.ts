import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, hostPlace, nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { annotationName, type FlannelNode, flannelNodes, restartFlannel } from '../../kit/flannel.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { ADDRESSES } from '../../kit/readings.ts';

type Facts = { readonly links: readonly Link[] };

const PUBLIC_IP = annotationName('public-ip');

/** F7. Source: flannel, Documentation/troubleshooting.md ("Vagrant", "interface and the public IP") and kubernetes.md (annotations). */
export const publicAddressWrong = defineCheck({
  id: 'public-address-wrong',
  row: 'F7',
  layer: 'L3',
  scope: 'cluster',
  title: 'flannel announces an address that the other nodes cannot reach',
  why: 'The other nodes send every packet for the pods of this node to that address, where it is lost.',
  codes: {
    'flannel-wrong-interface': "flannel took the address of another network card than the one that the node's own address is on.",
    'flannel-public-ip-foreign': 'flannel announces an address that no interface of the node has: outside a NAT, or of earlier.',
    'flannel-public-ip-duplicate': 'Several nodes announce the same address, as those behind the NAT of a hypervisor do.',
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES },
  parse: ({ addresses }) => allParsed<Facts>({ links: parseLinks(addresses) }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) => {
    const flannel = flannelNodes(inventory);
    const shared = [...Map.groupBy(flannel, ({ publicIp }) => publicIp).values()].filter(({ length }) => length > 1);
    const twice = new Set(shared.flat());
    return [
      ...shared.filter((group) => group.some(({ node }) => facts.has(node.name))).map((group) => duplicate(group, probed)),
      // Another network card than the Node's address is a choice that works in many clusters: only where no packet of the
      // overlay gets to the node and back is it a fault.
      ...flannel
        .filter((own) => !twice.has(own) && own.publicIp !== own.node.ip && isCutOff(probed, own.node.name))
        .flatMap((own) => {
          const links = facts.get(own.node.name)?.links;
          return links === undefined ? [] : [wrongAddress(own, links, probed, inventory)];
        }),
    ];
  },
});

/** Kinds of probes that go through the overlay between nodes. */
const OVERLAY_PROBES: ReadonlySet<string> = new Set(['node-to-pod-network', 'node-to-pod', 'pod-to-pod']);

function overlayProbes(probed: readonly Probed[], node: string): readonly Probed[] {
  return probed.filter(
    ({ probe }) =>
      OVERLAY_PROBES.has(probe.check) &&
      probe.expect === 'reach' &&
      probe.to.node !== null &&
      probe.from.node !== probe.to.node &&
      (probe.from.node === node || probe.to.node === node),
  );
}

/** Whether nothing that needs an answer gets through the overlay between a node and any other. */
function isCutOff(probed: readonly Probed[], node: string): boolean {
  const asked = overlayProbes(probed, node).filter(({ probe, result }) => probe.method !== 'udp' && result.status !== 'unknown');
  return asked.length > 0 && asked.every(({ result }) => result.status === 'fail' && result.delivered === 0);
}

/** Where packets for the node's tunnel are lost; those that it sends too, unless some are known to arrive. */
function hopsOf({ node, publicIp }: FlannelNode, probed: readonly Probed[]): readonly HopPattern[] {
  const sends = overlayProbes(probed, node.name).some(
    ({ probe, result }) => probe.method === 'udp' && probe.from.node === node.name && result.delivered > 0,
  );
  const place = nodePlace(node.name);
  return [
    { place, point: 'tunnel', ...(sends ? { dir: 'in' as const } : {}) },
    { place: hostPlace(publicIp), point: 'socket' },
  ];
}

function wrongAddress(own: FlannelNode, links: readonly Link[], probed: readonly Probed[], inventory: Inventory): Draft {
  const { node, publicIp } = own;
  const holder = links.find((link) => link.addresses.some(({ ip }) => ip === publicIp));
  const uplink = links.find((link) => link.addresses.some(({ ip }) => ip === node.ip));
  const overwrite = node.annotations['flannel.alpha.coreos.com/public-ip-overwrite'] === publicIp;
  const uplinkText = uplink === undefined ? `${node.ip}` : `${node.ip} on ${uplink.name}`;
  return {
    code: holder === undefined ? 'flannel-public-ip-foreign' : 'flannel-wrong-interface',
    entity: nodeEntity(node.name),
    at: [...hopsOf(own, probed)],
    harms: [{}],
    summary:
      holder === undefined
        ? `flannel on ${node.name} announces ${publicIp}, which no interface of the node has; the node's address is ${uplinkText}`
        : `flannel on ${node.name} announces ${publicIp} of ${holder.name}; the node's address is ${uplinkText}`,
    advice: adviceOf(own, holder, uplink, overwrite),
    evidence: [
      { where: 'Kubernetes API', source: `Node ${node.name}, ${PUBLIC_IP}`, text: `${publicIp}; InternalIP ${node.ip}` },
      { where: node.name, source: ADDRESSES.argv.join(' '), text: addressesOf(links) },
      ...asked(publicIp, probed),
    ],
    // The address that was set by hand, or the interface that was chosen, is the same again after a restart.
    remedy: holder === undefined && !overwrite ? restartFlannel(inventory, node.name) : undefined,
  };
}

function adviceOf({ node }: FlannelNode, holder: Link | undefined, uplink: Link | undefined, overwrite: boolean): string {
  if (overwrite)
    return `The address was set by hand (annotation flannel.alpha.coreos.com/public-ip-overwrite): remove the annotation from ${node.name}, or let UDP of the overlay reach that address, then restart flannel there.`;
  if (holder === undefined)
    return `Restart flannel on ${node.name}: it announces the address of its interface again. If the address comes from --public-ip or from a NAT, take that away or let UDP of the overlay through it.`;
  return `Tell flannel which interface to take (--iface=${uplink?.name ?? 'NAME'} or --iface-regex in the args of its DaemonSet), then restart it on ${node.name}.`;
}

function duplicate(group: readonly FlannelNode[], probed: readonly Probed[]): Draft {
  const [first] = group;
  if (first === undefined) throw new TypeError('a group is never empty');
  const cutOff = group.filter(({ node }) => isCutOff(probed, node.name));
  const names = group.map(({ node }) => node.name);
  const which = names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(' and ');
  return {
    code: 'flannel-public-ip-duplicate',
    entity: nodeEntity((cutOff[0] ?? first).node.name),
    at: (cutOff.length > 0 ? cutOff : group).flatMap((own, index) => hopsOf(own, probed).slice(0, index === 0 ? 2 : 1)),
    harms: cutOff.length > 0 ? [{}] : [],
    summary: `flannel on ${which} announces the same address ${first.publicIp}: packets for their pods go to one place`,
    advice: `The address is that of an interface which is alike on every node (NAT of a hypervisor, a bridge, a VIP). Tell flannel which interface to take (--iface=NAME or --iface-regex in the args of its DaemonSet), then restart it node by node.`,
    evidence: [
      ...group.slice(0, 4).map(({ node, publicIp }) => ({
        where: 'Kubernetes API',
        source: `Node ${node.name}, ${PUBLIC_IP}`,
        text: `${publicIp}; InternalIP ${node.ip}`,
      })),
      ...asked(first.publicIp, probed),
    ],
  };
}

function addressesOf(links: readonly Link[]): string {
  return links
    .filter(({ name, kind }) => name !== 'lo' && kind !== 'vxlan')
    .flatMap(({ name, addresses }) =>
      addresses.flatMap(({ family, ip, prefix }) => (family === 4 ? [`${name} ${ip}/${prefix}`] : [])),
    )
    .slice(0, 6)
    .join(', ');
}

/** What became of the probes of the announced address itself. */
function asked(publicIp: string, probed: readonly Probed[]): readonly Citation[] {
  return probed
    .filter(({ probe, result }) => probe.to.ip === publicIp && result.status === 'fail')
    .slice(0, 2)
    .map(({ probe, result }) => ({
      where: probe.from.node,
      source: probe.id,
      text: `${result.delivered} of ${result.sent} answered${result.detail === undefined ? '' : `, ${result.detail}`}`,
    }));
}
