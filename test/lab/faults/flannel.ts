import { withReadiness } from '../api/readiness.ts';
import { fdbBatch, overlayBatch, subnetEnv, type Vxlan } from '../build.ts';
import type { Handle } from '../handle.ts';
import { CLUSTER, type LabNode } from '../topology.ts';
import { type At, type Expectation, type Fault, failedBy } from './fault.ts';
import { expectPackets, ping } from './packets.ts';
import { otherNode, podIp } from './where.ts';

/* Faults of flannel itself: it does not run, or it has told the other nodes something that is not so. */

const FILE = '/run/flannel/subnet.env';
const CONFIG = '/api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg';
const PREFIX = 'flannel.alpha.coreos.com';

/** The network is whole, and something is wrong all the same. */
const healthyWith = (code: string): Expectation => ({ status: 'healthy', layer: null, codes: [], risks: [code], nodes: [] });

function podPath(lab: Handle, at: At): string {
  return `/api/v1/namespaces/kube-flannel/pods/kube-flannel-ds-${lab.node(at.node).index}`;
}

/** Whether what a command prints contains a text; the proof of what no packet shows. */
async function expectText(what: string, text: string, wanted: string): Promise<void> {
  if (!text.includes(wanted)) throw new Error(`${what} must say ${wanted}, and says ${text.trim()}`);
}

/** Both directions are dead through the overlay and alive below it. */
const proveCutOff: Fault['prove'] = (lab, at) =>
  expectPackets(lab, {
    pass: [ping(at.node, lab.node(at.peer).ip), ping(at.node, podIp(lab, 'web', at.node)), ...aside(lab, at)],
    fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.peer, lab.node(at.node).bridgeIp)],
  });

/** Between all others than these nodes the overlay works. */
function aside(lab: Handle, at: At): ReturnType<typeof ping>[] {
  const third = otherNode(lab, at.node, at.peer);
  return third === null ? [] : [ping(third, lab.node(at.peer).bridgeIp)];
}

async function setReady(lab: Handle, at: At, ready: boolean): Promise<void> {
  const path = podPath(lab, at);
  const { body } = await lab.api('GET', path);
  const { status } = body as { status: { startTime: string } };
  const state = ready
    ? { running: { startedAt: status.startTime } }
    : {
        waiting: {
          reason: 'CrashLoopBackOff',
          message: 'back-off 5m0s restarting failed container=kube-flannel pod=kube-flannel-ds_kube-flannel',
        },
      };
  await lab.api('PATCH', `${path}/status`, { status: withReadiness(status, ready, state) });
}

/** Lines of sh that make flannel.1 of a node anew, as flanneld does. */
export function rebuildScript(lab: Handle, node: LabNode, vxlan: Vxlan = CLUSTER.vxlan): string {
  return `ip link del flannel.1 2>/dev/null || :
ip -batch - <<'END'
${overlayBatch(lab.topology, node, vxlan).join('\n')}
END
bridge -batch - <<'END'
${fdbBatch(lab.topology, node).join('\n')}
END`;
}

export const flannelNotRunning: Fault = {
  name: 'flannel-not-running',
  row: 'F5',
  title: 'a node was started again, and flannel crashes there: no flannel.1, no subnet.env',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, `ip link del flannel.1\nrm ${FILE}`);
    await setReady(lab, at, false);
    return {};
  },
  prove: proveCutOff,
  async heal(lab, at) {
    await lab.sh(at.node, `${rebuildScript(lab, lab.node(at.node))}\n${writeEnv(lab, at)}`);
    await setReady(lab, at, true);
  },
  expects: (_lab, at) =>
    failedBy('flannel-not-running', 'L3', at, { mentions: ['kube-flannel-ds-', 'subnet.env'], lost: 'both' }),
};

export const flannelPodMissing: Fault = {
  name: 'flannel-pod-missing',
  row: 'F5',
  title: "flannel's DaemonSet has no pod on a node; what it set up before still works",
  placement: 'node',
  async inject(lab, at) {
    const { body } = await lab.api('GET', podPath(lab, at));
    // Without an owner its DaemonSet makes no new one, as where a taint keeps it off the node.
    await lab.api('PATCH', podPath(lab, at), { metadata: { ownerReferences: null } });
    await lab.api('DELETE', podPath(lab, at));
    return { pod: JSON.stringify(body) };
  },
  async prove(lab, at) {
    const { status } = await lab.api('GET', podPath(lab, at), undefined, [404]);
    if (status !== 404) throw new Error(`the pod of flannel on ${at.node} must be gone`);
  },
  async heal(lab, _at, saved) {
    const { metadata, ...pod } = JSON.parse(saved['pod'] ?? '') as { metadata: Record<string, unknown>; status: object };
    const { resourceVersion: _version, ...rest } = metadata;
    await lab.api('POST', '/api/v1/namespaces/kube-flannel/pods', { ...pod, metadata: rest });
  },
  expects: () => healthyWith('flannel-not-running'),
};

function writeEnv(lab: Handle, at: At): string {
  return `cat >${FILE} <<'END'\n${subnetEnv(lab.topology, lab.node(at.node))}END`;
}

export const flannelSubnetMissing: Fault = {
  name: 'flannel-subnet-missing',
  row: 'F5',
  title: 'subnet.env is gone from a node: running pods work, new ones get no network',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, `rm ${FILE}`);
    return {};
  },
  prove: async (lab, at) => expectText(FILE, await lab.sh(at.node, `test -e ${FILE} || echo gone`), 'gone'),
  async heal(lab, at) {
    await lab.sh(at.node, writeEnv(lab, at));
  },
  expects: () => healthyWith('flannel-subnet-missing'),
};

export const flannelSubnetWrong: Fault = {
  name: 'flannel-subnet-wrong',
  row: 'F5',
  title: "subnet.env of a node hands out addresses of another subnet than the Node's podCIDR",
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, `sed -i 's,^FLANNEL_SUBNET=.*,FLANNEL_SUBNET=172.27.200.1/24,' ${FILE}`);
    return {};
  },
  prove: async (lab, at) => expectText(FILE, await lab.sh(at.node, `cat ${FILE}`), '172.27.200.1/24'),
  async heal(lab, at) {
    await lab.sh(at.node, writeEnv(lab, at));
  },
  expects: () => healthyWith('flannel-subnet-wrong'),
};

export const flannelNetworkMismatch: Fault = {
  name: 'flannel-network-mismatch',
  row: 'F5',
  title: "net-conf.json was changed to another network than the nodes' podCIDRs are of",
  placement: 'cluster',
  async inject(lab) {
    const { body } = await lab.api('GET', CONFIG);
    const { data } = body as { data: Record<string, string> };
    const before = data['net-conf.json'] ?? '';
    const after = JSON.stringify({ ...(JSON.parse(before) as object), Network: '10.244.0.0/16' });
    await lab.api('PATCH', CONFIG, { data: { 'net-conf.json': after } });
    return { before };
  },
  async prove(lab) {
    const { body } = await lab.api('GET', CONFIG);
    await expectText('net-conf.json', JSON.stringify(body), '10.244.0.0/16');
  },
  async heal(lab, _at, saved) {
    await lab.api('PATCH', CONFIG, { data: { 'net-conf.json': saved['before'] } });
  },
  expects: () => healthyWith('flannel-network-mismatch'),
};

/** Sets annotations of flannel's on a Node. */
export async function annotate(lab: Handle, node: string, values: Readonly<Record<string, string>>): Promise<void> {
  const annotations = Object.fromEntries(Object.entries(values).map(([name, value]) => [`${PREFIX}/${name}`, value]));
  await lab.api('PATCH', `/api/v1/nodes/${node}`, { metadata: { annotations } });
}

/** What every other node has for a node, changed: where its tunnel is, and which MAC address it has. */
async function tellPeers(lab: Handle, name: string, told: { readonly ip: string; readonly mac: string }): Promise<void> {
  const node = lab.node(name);
  const peers = lab.topology.nodes.filter((peer) => peer.name !== name);
  await Promise.all(
    peers.map((peer) =>
      lab.sh(
        peer.name,
        `bridge fdb del ${node.vtepMac} dev flannel.1 2>/dev/null || :
bridge fdb replace ${told.mac} dev flannel.1 dst ${told.ip} self permanent
ip neigh replace ${node.overlayIp} lladdr ${told.mac} dev flannel.1 nud permanent`,
      ),
    ),
  );
}

/** The address of the card that a hypervisor puts behind its NAT, the same in every machine. */
const NAT_IP = '10.0.2.15';

/**
 * A second network card with this address, and flannel.1 on it, as flanneld sets it up with the wrong --iface. What the node
 * sends takes the route to the other nodes all the same, and arrives; what they send to that address does not.
 */
function secondCard(lab: Handle, node: LabNode, ip: string): string {
  return `ip link add eth1 type veth peer name eth1-nat
ip link set eth1-nat up
ip link set eth1 up
ip addr add ${ip}/24 brd + dev eth1
${rebuildScript(lab, node, { ...CLUSTER.vxlan, local: ip, dev: 'eth1' })}`;
}

async function takeAway(lab: Handle, name: string): Promise<void> {
  const node = lab.node(name);
  await lab.sh(name, `ip link del eth1 2>/dev/null || :\n${rebuildScript(lab, node)}`);
  await tellPeers(lab, name, { ip: node.ip, mac: node.vtepMac });
  await annotate(lab, name, { 'public-ip': node.ip });
}

export const flannelWrongInterface: Fault = {
  name: 'flannel-wrong-interface',
  row: 'F7',
  title: 'flannel on a node took its second network card, whose address the others cannot reach',
  placement: 'node',
  async inject(lab, at) {
    const node = lab.node(at.node);
    await lab.sh(at.node, secondCard(lab, node, NAT_IP));
    await tellPeers(lab, at.node, { ip: NAT_IP, mac: node.vtepMac });
    await annotate(lab, at.node, { 'public-ip': NAT_IP });
    return {};
  },
  prove: proveCutOff,
  heal: (lab, at) => takeAway(lab, at.node),
  expects: (_lab, at) => failedBy('flannel-wrong-interface', 'L3', at, { mentions: [NAT_IP, 'eth1'], lost: 'to' }),
};

export const flannelPublicIpForeign: Fault = {
  name: 'flannel-public-ip-foreign',
  row: 'F7',
  title: 'flannel on a node announces the address of a NAT in front of it, which lets nothing in',
  placement: 'node',
  async inject(lab, at) {
    await tellPeers(lab, at.node, { ip: '203.0.113.7', mac: lab.node(at.node).vtepMac });
    await annotate(lab, at.node, { 'public-ip': '203.0.113.7' });
    return {};
  },
  prove: proveCutOff,
  heal: (lab, at) => takeAway(lab, at.node),
  expects: (_lab, at) => failedBy('flannel-public-ip-foreign', 'L3', at, { mentions: ['203.0.113.7'], lost: 'to' }),
};

export const flannelPublicIpDuplicate: Fault = {
  name: 'flannel-public-ip-duplicate',
  row: 'F7',
  title: "flannel on two nodes announces the address of the hypervisor's NAT, the same on both",
  placement: 'pair',
  async inject(lab, at) {
    for (const name of [at.node, at.peer]) {
      await lab.sh(name, secondCard(lab, lab.node(name), NAT_IP));
      await annotate(lab, name, { 'public-ip': NAT_IP });
    }
    for (const name of [at.node, at.peer]) await tellPeers(lab, name, { ip: NAT_IP, mac: lab.node(name).vtepMac });
    return {};
  },
  async prove(lab, at) {
    await expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ping(at.node, podIp(lab, 'web', at.node))],
      fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.peer, lab.node(at.node).bridgeIp)],
    });
  },
  async heal(lab, at) {
    for (const name of [at.node, at.peer]) await takeAway(lab, name);
  },
  expects: (_lab, at) =>
    failedBy('flannel-public-ip-duplicate', 'L3', at, {
      codes: [{ code: 'flannel-public-ip-duplicate' }],
      nodes: [at.node, at.peer],
      lost: 'to-either',
    }),
};

/** Gives flannel.1 a MAC address. The kernel forgets the neighbours of a device then, the permanent ones too. */
function setMac(lab: Handle, node: LabNode, mac: string): Promise<string> {
  const neighbours = overlayBatch(lab.topology, node, CLUSTER.vxlan).filter((line) => line.startsWith('neigh '));
  return lab.sh(node.name, `ip link set flannel.1 address ${mac}\nip -batch - <<'END'\n${neighbours.join('\n')}\nEND`);
}

const OTHER_MAC = '0e:75:64:65:76:01';

export const flannelVtepMacChanged: Fault = {
  name: 'flannel-vtep-mac-changed',
  row: 'F8',
  title: 'udev gave flannel.1 of a node another MAC address after flannel had told the others the first one',
  placement: 'node',
  async inject(lab, at) {
    await setMac(lab, lab.node(at.node), OTHER_MAC);
    return {};
  },
  prove: proveCutOff,
  async heal(lab, at) {
    const node = lab.node(at.node);
    await setMac(lab, node, node.vtepMac);
    // A flannel that was started again in between has told the others the changed one.
    await annotate(lab, at.node, { 'backend-data': JSON.stringify({ VNI: CLUSTER.vxlan.vni, VtepMAC: node.vtepMac }) });
    const peers = lab.topology.nodes.filter(({ name }) => name !== at.node);
    await Promise.all(peers.map(({ name }) => lab.sh(name, `bridge fdb del ${OTHER_MAC} dev flannel.1 2>/dev/null || :`)));
    await tellPeers(lab, at.node, { ip: node.ip, mac: node.vtepMac });
  },
  expects: (_lab, at) => failedBy('flannel-vtep-mac-changed', 'L2', at, { mentions: [OTHER_MAC], lost: 'to' }),
};

export const flannelVtepMacDuplicate: Fault = {
  name: 'flannel-vtep-mac-duplicate',
  row: 'F8',
  title: 'two nodes are clones: their flannel.1 have the same MAC address',
  placement: 'pair',
  async inject(lab, at) {
    const [node, twin] = [lab.node(at.node), lab.node(at.peer)];
    await setMac(lab, twin, node.vtepMac);
    await annotate(lab, twin.name, {
      'backend-data': JSON.stringify({ VNI: CLUSTER.vxlan.vni, VtepMAC: node.vtepMac }),
    });
    // The last one to be learnt has the entry.
    await tellPeers(lab, twin.name, { ip: twin.ip, mac: node.vtepMac });
    return {};
  },
  async prove(lab, at) {
    const third = otherNode(lab, at.node, at.peer);
    await expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ...(third === null ? [] : [ping(third, lab.node(at.peer).bridgeIp)])],
      fail: [ping(at.node, lab.node(at.peer).bridgeIp), ...(third === null ? [] : [ping(third, lab.node(at.node).bridgeIp)])],
    });
  },
  async heal(lab, at) {
    const [node, twin] = [lab.node(at.node), lab.node(at.peer)];
    await annotate(lab, twin.name, {
      'backend-data': JSON.stringify({ VNI: CLUSTER.vxlan.vni, VtepMAC: twin.vtepMac }),
    });
    await setMac(lab, twin, twin.vtepMac);
    await lab.sh(node.name, `bridge fdb del ${node.vtepMac} dev flannel.1`);
    await tellPeers(lab, node.name, { ip: node.ip, mac: node.vtepMac });
    await tellPeers(lab, twin.name, { ip: twin.ip, mac: twin.vtepMac });
  },
  expects: (_lab, at) =>
    failedBy('flannel-vtep-mac-duplicate', 'L2', at, {
      codes: [{ code: 'flannel-vtep-mac-duplicate' }],
      nodes: [at.node, at.peer],
    }),
};

/**
 * The network card of the node computes no checksums, so that every packet leaves with one; the network writes a wrong one
 * into those of the overlay, as a faulty card or kernel would.
 */
export const vxlanChecksumWrong: Fault = {
  name: 'vxlan-checksum-wrong',
  row: 'F4',
  title: 'what a node sends through the overlay arrives with wrong UDP checksums',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, 'ethtool -K eth0 tx off');
    await lab.sh(
      'rack',
      `nft -f - <<'END'
table netdev checksum-${at.node} {
  chain from {
    type filter hook ingress device "${at.node}" priority 0; policy accept;
    udp dport ${CLUSTER.vxlan.port} udp checksum set 48879 counter
  }
}
END`,
    );
    return {};
  },
  async prove(lab, at) {
    const errors = async (): Promise<number> =>
      Number((await lab.sh(at.peer, "awk '/^Udp: [0-9]/ {print $8}' /proc/net/snmp")).trim());
    const before = await errors();
    await proveCutOff(lab, at);
    if ((await errors()) <= before) throw new Error(`${at.peer} must count wrong checksums`);
  },
  async heal(lab, at) {
    await lab.sh('rack', `nft delete table netdev checksum-${at.node}`);
    await lab.sh(at.node, 'ethtool -K eth0 tx on');
  },
  expects: (_lab, at) => failedBy('vxlan-checksum-wrong', 'L4', at, { mentions: ['InCsumErrors'], lost: 'from' }),
};
