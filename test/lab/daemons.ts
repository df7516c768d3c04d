import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { subnetEnv, vxlanLink } from './build.ts';
import type { Handle } from './handle.ts';
import { proxyRules } from './rules.ts';
import { CLUSTER, type LabNode } from './topology.ts';

/*
 * What flanneld and kube-proxy do when their pod starts on a node. Both stand-ins do it once, at the start: what changes
 * later, their originals would follow. Sources: flannel pkg/backend/vxlan/{vxlan,device,vxlan_network}.go and
 * pkg/backend/hostgw (0.27), kubernetes pkg/proxy/iptables/proxier.go (1.31).
 */

/** What to do on a node when a pod of the DaemonSet of this name starts there. Rejects where it could not start. */
export const DAEMONS: Readonly<Record<string, (lab: Handle, node: LabNode) => Promise<void>>> = {
  'kube-flannel-ds': startFlannel,
  'kube-proxy': async (lab, node) => {
    await lab.sh(node.name, `iptables-nft-restore --noflush <<'END'\n${proxyRules(lab.topology)}END`);
  },
};

const PREFIX = 'flannel.alpha.coreos.com';

const NetConf = z.object({
  Network: z.string(),
  Backend: z.object({ Type: z.enum(['vxlan', 'host-gw']), VNI: z.int().default(1), Port: z.int().default(CLUSTER.vxlan.port) }),
});
type NetConf = z.output<typeof NetConf>;

const NodeObject = z.object({
  metadata: z.object({ name: z.string(), annotations: z.record(z.string(), z.string()) }),
  spec: z.object({ podCIDR: z.string() }),
});

/** What flannel on a node tells all others, through the Node's annotations. */
type Lease = { readonly type: string; readonly publicIp: string; readonly mac: string | null; readonly podCIDR: string };

const VxlanLinks = z.array(
  z.object({
    address: z.string(),
    linkinfo: z.object({
      info_data: z.object({ id: z.int(), port: z.int(), local: z.string().optional(), link: z.string().optional() }),
    }),
  }),
);

async function startFlannel(lab: Handle, node: LabNode): Promise<void> {
  const { body } = await lab.api('GET', '/api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg');
  const config = NetConf.parse(JSON.parse((body as { data: Record<string, string> }).data['net-conf.json'] ?? ''));
  const leases = await readLeases(lab);
  const own = leases.get(node.name);
  if (own === undefined) throw new Error(`there is no Node ${node.name}`);
  const mac = config.Backend.Type === 'vxlan' ? await setUpDevice(lab, node, config, own.mac) : null;
  await lab.sh(node.name, `mkdir -p /run/flannel\ncat >/run/flannel/subnet.env <<'END'\n${subnetEnv(lab.topology, node)}END`);
  const lease: Lease = { type: config.Backend.Type, publicIp: node.ip, mac, podCIDR: own.podCIDR };
  await lab.api('PATCH', `/api/v1/nodes/${node.name}`, {
    metadata: {
      annotations: {
        [`${PREFIX}/backend-type`]: lease.type,
        [`${PREFIX}/backend-data`]: JSON.stringify(mac === null ? null : { VNI: config.Backend.VNI, VtepMAC: mac }),
        [`${PREFIX}/public-ip`]: lease.publicIp,
      },
    },
  });
  // Each knows those of the same kind only; what it had set up for another kind stays until it is told of that one again.
  const peers = lab.topology.nodes.filter((peer) => peer !== node && leases.get(peer.name)?.type === lease.type);
  const lines = peers.flatMap((peer) => reach(leases.get(peer.name), peer));
  await lab.sh(node.name, lines.join('\n'));
  // One whose own flannel could not bring its device up learns of nobody until it starts again.
  const ifRunning = lease.type === 'vxlan' ? ['ip -br link show dev flannel.1 up 2>/dev/null | grep -q . || exit 0'] : [];
  await Promise.all(
    peers.map((peer) => lab.sh(peer.name, [...ifRunning, ...forget(own, lease), ...reach(lease, node)].join('\n'))),
  );
}

async function readLeases(lab: Handle): Promise<ReadonlyMap<string, Lease>> {
  const { body } = await lab.api('GET', '/api/v1/nodes');
  const { items } = z.object({ items: z.array(NodeObject) }).parse(body);
  return new Map(
    items.map(({ metadata: { name, annotations }, spec: { podCIDR } }) => {
      const data = z.object({ VtepMAC: z.string().optional() }).nullable();
      const told = data.safeParse(JSON.parse(annotations[`${PREFIX}/backend-data`] ?? 'null'));
      const lease = {
        type: annotations[`${PREFIX}/backend-type`] ?? '',
        publicIp: annotations[`${PREFIX}/public-ip`] ?? '',
        mac: told.data?.VtepMAC ?? null,
        podCIDR,
      };
      return [name, lease];
    }),
  );
}

/** Keeps a flannel.1 that is as the configuration has it, makes any other anew with the MAC that was told before. */
async function setUpDevice(
  lab: Handle,
  node: LabNode,
  { Backend: { VNI, Port } }: NetConf,
  told: string | null,
): Promise<string> {
  const shown = await lab.exec(node.name, ['ip', '-j', '-d', 'link', 'show', 'dev', 'flannel.1']);
  const [link] = shown.exitCode === 0 ? VxlanLinks.parse(JSON.parse(shown.stdout)) : [];
  const data = link?.linkinfo.info_data;
  const fits = data?.id === VNI && data.port === Port && data.local === node.ip && data.link === 'eth0';
  const mac = fits ? (link?.address ?? '') : (told ?? `02${randomBytes(5).toString('hex').replace(/../g, ':$&')}`);
  const make = ['ip link del flannel.1 2>/dev/null || :', `ip ${vxlanLink(node, mac, { vni: VNI, port: Port })}`];
  await lab.sh(
    node.name,
    [...(fits ? [] : make), 'ip link set flannel.1 up', `ip addr replace ${node.overlayIp}/32 dev flannel.1`].join('\n'),
  );
  return mac;
}

/** Lines of sh by which a node learns the way to the pods of another one. */
function reach(lease: Lease | undefined, node: LabNode): readonly string[] {
  if (lease === undefined) return [];
  if (lease.type === 'host-gw') return [`ip route replace ${lease.podCIDR} via ${lease.publicIp} dev eth0`];
  return [
    `ip neigh replace ${node.overlayIp} lladdr ${lease.mac} dev flannel.1 nud permanent`,
    `bridge fdb replace ${lease.mac} dev flannel.1 dst ${lease.publicIp} self permanent`,
    `ip route replace ${lease.podCIDR} via ${node.overlayIp} dev flannel.1 onlink`,
  ];
}

/** Lines of sh by which a node forgets what another one had told before. */
function forget(before: Lease, now: Lease): readonly string[] {
  return before.mac === null || before.mac === now.mac ? [] : [`bridge fdb del ${before.mac} dev flannel.1 2>/dev/null || :`];
}
