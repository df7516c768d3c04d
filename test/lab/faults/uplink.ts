import type { Handle } from '../handle.ts';
import { CLUSTER, hasDynamicNeighbours, RACK } from '../topology.ts';
import { type At, type Fault, failedBy } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';
import { otherNode, podIp } from './where.ts';

/*
 * What goes wrong at a node's own uplink. A node whose uplink is dead can only be asked by another way: a second card,
 * eth1, as one for management, that answers ARP for its own address only.
 */

const SECOND_MAC = '02:00:0a:1c:ee:01';

/** Gives a node a second card on the rack, with settings that keep the first one's traffic off it. */
async function addCard(lab: Handle, node: string): Promise<void> {
  await lab.sh(
    'rack',
    `ip link add ${node}-2nd type veth peer name eth1 address ${SECOND_MAC} netns ${node}
ip link set ${node}-2nd master rack0 up`,
  );
  await lab.sh(
    node,
    `echo 1 > /proc/sys/net/ipv4/conf/eth1/arp_ignore
echo 2 > /proc/sys/net/ipv4/conf/eth1/arp_announce
ip addr add 10.28.200.${lab.node(node).index % 250}/32 dev eth1
ip link set eth1 up`,
  );
}

async function removeCard(lab: Handle, node: string): Promise<void> {
  await lab.sh('rack', `ip link del ${node}-2nd`);
}

/** Has the control plane send to the node at this MAC address. */
function reachBy(lab: Handle, { node }: At, mac: string): Promise<string> {
  const state = hasDynamicNeighbours(lab.topology) ? 'reachable' : 'permanent';
  return lab.sh(RACK.controlPlane.name, `ip neigh replace ${lab.node(node).ip} lladdr ${mac} dev eth0 nud ${state}`);
}

function deadUplink(
  name: string,
  title: string,
  code: string,
  cut: (lab: Handle, at: At) => Promise<string>,
  mend: typeof cut,
): Fault {
  return {
    name,
    row: 'N13',
    title,
    placement: 'node',
    async inject(lab, at) {
      await addCard(lab, at.node);
      const routes = await lab.sh(at.node, 'ip route show dev eth0');
      await lab.sh(at.node, `ip route add ${RACK.controlPlane.ip} dev eth1 src ${lab.node(at.node).ip}`);
      await reachBy(lab, at, SECOND_MAC);
      await cut(lab, at);
      return { routes };
    },
    prove: (lab, at) =>
      expectPackets(lab, {
        pass: [ping(RACK.controlPlane.name, lab.node(at.node).ip), ping(at.node, podIp(lab, 'web', at.node))],
        fail: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, lab.node(at.node).ip)],
      }),
    async heal(lab, at, saved) {
      await mend(lab, at);
      const routes = (saved['routes'] ?? '').trim().split('\n');
      await lab.sh(at.node, routes.map((route) => `ip route replace ${route} dev eth0`.replace(' linkdown', '')).join('\n'));
      await removeCard(lab, at.node);
      await reachBy(lab, at, lab.node(at.node).mac);
    },
    expects: (_lab, at) => failedBy(code, 'L2', at, { lost: 'both' }),
  };
}

export const interfaceDown = deadUplink(
  'interface-down',
  'eth0 of a node was set down; the API server reaches it by a second card',
  'interface-down',
  (lab, at) => lab.sh(at.node, 'ip link set eth0 down'),
  (lab, at) => lab.sh(at.node, 'ip link set eth0 up'),
);

export const carrierLost = deadUplink(
  'carrier-lost',
  'the cable of eth0 of a node is out; the API server reaches it by a second card',
  'carrier-lost',
  (lab, at) => lab.sh('rack', `ip link set ${at.node} down`),
  (lab, at) => lab.sh('rack', `ip link set ${at.node} up`),
);

export const rpFilterStrict: Fault = {
  name: 'rp-filter-strict',
  row: 'N5',
  title: 'a node sends to a peer by a second card, and its reverse path filter is strict',
  placement: 'pair',
  async inject(lab, at) {
    await addCard(lab, at.node);
    const { ip } = lab.node(at.peer);
    await lab.sh(at.node, `ip route add ${ip} dev eth1 src ${lab.node(at.node).ip}`);
    // The other way round than a fault: with a loose filter, or none, this works.
    await expectPackets(lab, { pass: [ping(at.node, ip), ping(at.peer, lab.node(at.node).ip)], fail: [] });
    await lab.sh(at.node, 'echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter');
    return {};
  },
  async prove(lab, at) {
    const third = otherNode(lab, at.node, at.peer);
    await expectPackets(lab, {
      pass: third === null ? [] : [ping(at.node, lab.node(third).ip), ping(third, lab.node(at.peer).ip)],
      fail: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, lab.node(at.node).ip)],
    });
  },
  async heal(lab, at) {
    await lab.sh(at.node, 'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter');
    await removeCard(lab, at.node);
  },
  expects: (_lab, at) =>
    failedBy('rp-filter-drops', 'L3', at, { nodes: [at.node, at.peer], mentions: ['rp_filter', 'eth1'], lost: 'to-peer' }),
};

export const defaultRouteMissing: Fault = {
  name: 'default-route-missing',
  row: 'N13',
  title: 'a node has lost its default route',
  placement: 'node',
  async inject(lab, at) {
    return { route: (await lab.sh(at.node, 'ip route show default\nip route del default')).trim() };
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ping(at.node, podIp(lab, 'web', at.peer))],
      fail: [tcp(at.node, CLUSTER.apiService, 443)],
    }),
  async heal(lab, at, saved) {
    await lab.sh(at.node, `ip route add ${saved['route']}`);
  },
  expects: (_lab, at) => failedBy('default-route-missing', 'L3', at),
};

function mtuFault(name: string, title: string, mtu: number, prove: Fault['prove'], expects: Fault['expects']): Fault {
  return {
    name,
    row: 'N14',
    title,
    placement: 'node',
    async inject(lab, at) {
      await lab.sh(at.node, `ip link set eth0 mtu ${mtu}`);
      return {};
    },
    prove,
    async heal(lab, at) {
      await lab.sh(at.node, 'ip link set eth0 mtu 1500');
    },
    expects,
  };
}

export const uplinkMtuSmaller = mtuFault(
  'uplink-mtu-smaller',
  'eth0 of a node has an MTU of 1400, while all pods send 1450 bytes through the tunnel',
  1400,
  (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.peer, lab.node(at.node).ip, 1400), ping(at.peer, podIp(lab, 'web', at.node), 1350)],
      fail: [ping(at.peer, podIp(lab, 'web', at.node), 1450)],
    }),
  (_lab, at) => failedBy('overlay-mtu-too-large', 'L3', at),
);

export const uplinkMtuLarger = mtuFault(
  'uplink-mtu-larger',
  'eth0 of a node has an MTU of 9000, those of the others 1500',
  9000,
  async (lab, at) => {
    const mtu = (await lab.sh(at.node, 'cat /sys/class/net/eth0/mtu')).trim();
    if (mtu !== '9000') throw new Error(`eth0 of ${at.node} has an MTU of ${mtu}, and must have 9000`);
    await expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip, 1500)],
      fail: [ping(at.node, lab.node(at.peer).ip, 1600)],
    });
  },
  () => ({ status: 'healthy', layer: null, codes: [], risks: ['mtu-differs'], nodes: [] }),
);

export const switchPortMtu: Fault = {
  name: 'switch-port-mtu',
  row: 'N13',
  title: "a node's switch port takes packets of 1400 bytes only, and something on the node sends larger ones all the time",
  placement: 'node',
  async inject(lab, at) {
    // The way to the API server has learnt what the port takes; otherwise nobody could ask the node anything.
    await lab.sh(at.node, `ip route add ${RACK.controlPlane.ip} dev eth0 mtu 1400`);
    await lab.sh(RACK.controlPlane.name, `ip route add ${lab.node(at.node).ip} dev eth0 mtu 1400`);
    await lab.sh('rack', `ip link set ${at.node} mtu 1400`);
    const pid = await lab.sh(
      at.node,
      `fping -q -l -p 4 -M -b 1472 ${lab.node(at.peer).ip} </dev/null >/dev/null 2>&1 &\necho $!`,
    );
    return { pid: pid.trim() };
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip, 1400), ping(at.peer, lab.node(at.node).ip, 1400)],
      fail: [ping(at.node, lab.node(at.peer).ip, 1500), ping(at.peer, lab.node(at.node).ip, 1500)],
    }),
  async heal(lab, at, saved) {
    await lab.sh(at.node, `kill ${saved['pid']}`);
    await lab.sh('rack', `ip link set ${at.node} mtu 1500`);
    await lab.sh(at.node, `ip route del ${RACK.controlPlane.ip}`);
    await lab.sh(RACK.controlPlane.name, `ip route del ${lab.node(at.node).ip}`);
  },
  expects: (_lab, at) => failedBy('path-mtu-black-hole', 'L3', at, { risks: ['interface-errors-rising'] }),
};
