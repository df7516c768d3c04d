import type { Handle } from '../handle.ts';
import { nftablesServices } from '../rules.ts';
import { CLUSTER, type LabNode } from '../topology.ts';
import { type Fault, failedBy } from './fault.ts';
import { annotate, rebuildScript } from './flannel.ts';
import { expectPackets, ping, tcp } from './packets.ts';
import { podIp } from './where.ts';

/* Nodes of another kind than the rest of the cluster. */

/** Puts a node's Services into the kernel as kube-proxy in nftables mode does, and takes those of iptables mode away. */
export async function useNftables(lab: Handle, node: string): Promise<string> {
  return lab.sh(
    node,
    `iptables-nft-save -t nat >/run/nat-before
grep -v -e KUBE-SVC- -e KUBE-SEP- /run/nat-before | iptables-nft-restore -T nat
nft -f - <<'END'
${nftablesServices(lab.topology)}END
cat /run/nat-before`,
  );
}

/** Undoes `useNftables`. */
export async function useIptables(lab: Handle, node: string): Promise<void> {
  await lab.sh(node, 'nft delete table ip kube-proxy\niptables-nft-restore -T nat </run/nat-before\nrm /run/nat-before');
}

export const proxyModeDiffers: Fault = {
  name: 'proxy-mode-differs',
  row: 'C1',
  title: 'kube-proxy on a node works in nftables mode, on the others in iptables mode',
  placement: 'node',
  async inject(lab, at) {
    await useNftables(lab, at.node);
    return {};
  },
  async prove(lab, at) {
    const text = await lab.sh(at.node, 'nft list tables; iptables-nft-save -t nat');
    if (!text.includes('table ip kube-proxy') || text.includes('KUBE-SVC-'))
      throw new Error(`${at.node} must have kube-proxy's rules of nftables, and those only`);
    await expectPackets(lab, {
      pass: [
        tcp(at.node, CLUSTER.webService, 80),
        tcp(`default/client-${lab.node(at.node).index}`, CLUSTER.webService, 80),
        tcp(at.node, CLUSTER.apiService, 443),
      ],
      fail: [],
    });
  },
  heal: (lab, at) => useIptables(lab, at.node),
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['proxy-mode-differs'], nodes: [] }),
};

/** The lines that add, or take away, what the other nodes have for a node's tunnel. */
function entries(node: LabNode, action: 'add' | 'del'): string {
  const neighbour =
    action === 'add'
      ? `neigh replace ${node.overlayIp} lladdr ${node.vtepMac} dev flannel.1 nud permanent`
      : `neigh del ${node.overlayIp} dev flannel.1`;
  const route = `route ${action} ${node.podCIDR} via ${node.overlayIp} dev flannel.1 onlink`;
  return `ip -batch - <<END
${action === 'add' ? `${neighbour}\n${route}` : `${route}\n${neighbour}`}
END
bridge fdb ${action === 'add' ? `append ${node.vtepMac} dev flannel.1 dst ${node.ip} self permanent` : `del ${node.vtepMac} dev flannel.1`}`;
}

async function onOthers(lab: Handle, node: LabNode, action: 'add' | 'del'): Promise<void> {
  const others = lab.topology.nodes.filter(({ name }) => name !== node.name);
  await Promise.all(others.map(({ name }) => lab.sh(name, entries(node, action))));
}

export const flannelBackendDiffers: Fault = {
  name: 'flannel-backend-differs',
  row: 'C1',
  title: 'flannel on a node uses host-gw, on the others vxlan: neither takes note of the other',
  placement: 'node',
  async inject(lab, at) {
    const node = lab.node(at.node);
    await annotate(lab, at.node, { 'backend-type': 'host-gw', 'backend-data': 'null' });
    await lab.sh(at.node, 'ip link del flannel.1');
    await onOthers(lab, node, 'del');
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ping(at.node, podIp(lab, 'web', at.node))],
      fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.peer, lab.node(at.node).bridgeIp)],
    }),
  async heal(lab, at) {
    const node = lab.node(at.node);
    const data = JSON.stringify({ VNI: CLUSTER.vxlan.vni, VtepMAC: node.vtepMac });
    await annotate(lab, at.node, { 'backend-type': 'vxlan', 'backend-data': data });
    await lab.sh(at.node, rebuildScript(lab, node));
    await onOthers(lab, node, 'add');
  },
  expects: (_lab, at) => failedBy('flannel-backend-differs', 'L3', at, { lost: 'both' }),
};
