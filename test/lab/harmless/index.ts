import { fdbBatch, overlayBatch } from '../build.ts';
import { icmpFiltered } from '../faults/filters.ts';
import { annotate, rebuildScript } from '../faults/flannel.ts';
import { useIptables, useNftables } from '../faults/kinds.ts';
import { expectPackets, ping, tcp } from '../faults/packets.ts';
import { podIp } from '../faults/where.ts';
import type { Handle } from '../handle.ts';
import { type ServicePort, serviceSections } from '../rules.ts';
import { CLUSTER, type LabNode, podsOf } from '../topology.ts';

/*
 * Clusters that are healthy and unusual. Nothing that a check says of them may be a cause or a risk, but for `risks`: what is
 * true, known and harmless.
 */

export type Harmless = {
  readonly name: string;
  readonly title: string;
  /** The codes of risks that are told, as they should be. */
  readonly risks?: readonly string[];
  readonly inject: (lab: Handle) => Promise<void>;
  /** Throws where the cluster is not as unusual as the title says. */
  readonly prove: (lab: Handle) => Promise<void>;
  readonly heal: (lab: Handle) => Promise<void>;
};

/** Runs lines of sh on every node at once. */
async function onNodes(lab: Handle, script: (node: LabNode) => string): Promise<void> {
  await Promise.all(lab.topology.nodes.map((node) => lab.sh(node.name, script(node))));
}

/** Nodes and pods reach each other, across nodes and through a Service. */
const proveWorking = (lab: Handle): Promise<void> =>
  expectPackets(lab, {
    pass: [
      tcp('node-1', podIp(lab, 'web', 'node-2'), 8080),
      tcp('default/client-1', podIp(lab, 'web', 'node-2'), 8080),
      tcp('default/client-1', CLUSTER.webService, 80),
      tcp('node-2', CLUSTER.apiService, 443),
    ],
    fail: [],
  });

async function expectOnNode(lab: Handle, script: string, wanted: string): Promise<void> {
  const said = await lab.sh('node-2', script);
  if (!said.includes(wanted)) throw new Error(`node-2 must say ${wanted} to '${script}', and says ${said.trim()}`);
}

async function setMtu(lab: Handle, link: number): Promise<void> {
  const names = ['gw', 'cp', ...lab.topology.nodes.map(({ name }) => name)].join(' ');
  await lab.sh(
    'rack',
    `ip link set rack0 mtu ${link}\nfor n in ${names}; do ip link set $n mtu ${link}; ip -n $n link set eth0 mtu ${link}; done`,
  );
  const pod = link - 50;
  await onNodes(
    lab,
    () => `ip link set flannel.1 mtu ${pod}
for v in $(ls /sys/class/net | grep '^veth'); do ip link set $v mtu ${pod}; done
ip link set cni0 mtu ${pod}
for n in $(ip netns list | cut -d' ' -f1); do ip -n $n link set eth0 mtu ${pod}; done
sed -i 's/^FLANNEL_MTU=.*/FLANNEL_MTU=${pod}/' /run/flannel/subnet.env`,
  );
}

const jumboFrames: Harmless = {
  name: 'jumbo-frames',
  title: 'MTU 9000 everywhere, 8950 in the pods',
  inject: (lab) => setMtu(lab, 9000),
  prove: (lab) =>
    expectPackets(lab, {
      pass: [
        ping('node-1', lab.node('node-2').ip, 9000),
        ping('default/client-1', podIp(lab, 'web', 'node-2'), 8950),
        ping('default/client-1', podIp(lab, 'web', 'node-1'), 8950),
      ],
      fail: [],
    }),
  heal: (lab) => setMtu(lab, 1500),
};

/** What istio-init writes into a pod (tools/istio-iptables, REDIRECT mode), and something that stands for the proxy. */
const SIDECAR = `socat TCP-LISTEN:15006,fork,reuseaddr TCP:127.0.0.1:8080 </dev/null >/dev/null 2>&1 &
until ss -Hltn 'sport = 15006' | grep -q .; do kill -0 $!; done
iptables-nft-restore --noflush <<'END'
*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -m owner --uid-owner 0 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
END
echo $!`;

const sidecars: Harmless = {
  name: 'sidecars',
  title: 'a service mesh has put redirections into every web pod',
  async inject(lab) {
    for (const pod of podsOf(lab.topology, 'web')) {
      const pid = await lab.sh(`${pod.namespace}/${pod.name}`, SIDECAR);
      await lab.sh(pod.node, `echo ${pid.trim()} >/run/sidecar`);
    }
  },
  async prove(lab) {
    await proveWorking(lab);
    const rules = await lab.sh('default/web-2', 'iptables-nft-save -c -t nat');
    if (!/\[[1-9]\d*:\d+\] -A ISTIO_IN_REDIRECT/.test(rules))
      throw new Error(`the sidecar of web-2 must have redirected: ${rules}`);
  },
  async heal(lab) {
    for (const pod of podsOf(lab.topology, 'web')) {
      await lab.sh(`${pod.namespace}/${pod.name}`, 'iptables-nft -t nat -F; iptables-nft -t nat -X; nft flush ruleset');
      await lab.sh(pod.node, 'kill $(cat /run/sidecar); rm /run/sidecar');
    }
  },
};

const hostFirewall: Harmless = {
  name: 'host-firewall',
  title: 'a native nft firewall on every node that drops by default and permits what the cluster needs',
  inject: (lab) =>
    onNodes(
      lab,
      () => `nft -f - <<'END'
table inet host {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname { "lo", "cni0", "flannel.1" } accept
    meta l4proto { icmp, ipv6-icmp } accept
    tcp dport { 22, ${CLUSTER.kubeletPort}, 10256 } accept
    udp dport ${CLUSTER.vxlan.port} accept
    limit rate 3/minute log prefix "dropped: "
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname { "cni0", "flannel.1" } accept
    oifname { "cni0", "flannel.1" } accept
  }
}
END`,
    ),
  async prove(lab) {
    await proveWorking(lab);
    await expectOnNode(lab, 'nft list table inet host', 'policy drop');
  },
  heal: (lab) => onNodes(lab, () => 'nft delete table inet host'),
};

const dockerLeftovers: Harmless = {
  name: 'docker-leftovers',
  title: 'docker was on every node: docker0, its chains and its FORWARD policy are still there',
  inject: (lab) =>
    onNodes(
      lab,
      () => `ip link add docker0 type bridge
ip addr add 172.17.0.1/16 brd + dev docker0
ip link set docker0 up
iptables-nft-restore --noflush <<'END'
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
END`,
    ),
  async prove(lab) {
    await proveWorking(lab);
    await expectOnNode(lab, 'iptables-nft -S FORWARD', '-P FORWARD DROP');
  },
  heal: (lab) =>
    onNodes(
      lab,
      () => `ip link del docker0
iptables-nft -P FORWARD ACCEPT
for table in filter nat; do
  iptables-nft-save -t $table | grep -v -i docker | iptables-nft-restore -T $table
done`,
    ),
};

const pingFiltered: Harmless = {
  name: 'ping-filtered',
  title: 'every node drops ICMP in INPUT',
  risks: ['icmp-filtered', 'filter-rule-drops'],
  async inject(lab) {
    await icmpFiltered.inject(lab, { node: '', peer: '' });
  },
  prove: (lab) => icmpFiltered.prove(lab, { node: 'node-2', peer: 'node-3' }),
  heal: (lab) => icmpFiltered.heal(lab, { node: '', peer: '' }, {}),
};

const vpn: Harmless = {
  name: 'vpn',
  title: 'every node is in a VPN with routes of its own, and has a VXLAN device that is not the cluster’s',
  inject: (lab) =>
    onNodes(
      lab,
      ({ index }) => `ip link add wg0 type wireguard 2>/dev/null || ip link add wg0 type veth peer name wg0-far
ip addr add 10.99.0.${index}/24 dev wg0
ip link set wg0 mtu 1420 up
ip route add 192.168.0.0/16 dev wg0
ip route add 10.200.0.0/16 dev wg0 metric 50
ip link add vpn1 type vxlan id 77 dev eth0 dstport 4789 group 239.7.7.7
ip addr add 10.98.0.${index}/24 dev vpn1
ip link set vpn1 up`,
    ),
  async prove(lab) {
    await proveWorking(lab);
    await expectOnNode(lab, 'ip route', '192.168.0.0/16 dev wg0');
  },
  heal: (lab) => onNodes(lab, () => 'ip link del wg0\nip link del vpn1'),
};

const ipv6: Harmless = {
  name: 'ipv6-on-nodes',
  title: 'the nodes have IPv6 addresses and a default route, the pods have not',
  inject: (lab) =>
    onNodes(
      lab,
      ({ index }) => `for dev in all default lo eth0 cni0 flannel.1; do echo 0 >/proc/sys/net/ipv6/conf/$dev/disable_ipv6; done
ip -6 addr add 2001:db8:28::${index}/64 dev eth0 nodad
ip -6 route add default via 2001:db8:28::ffff dev eth0`,
    ),
  async prove(lab) {
    await expectPackets(lab, { pass: [ping('node-1', '2001:db8:28::2')], fail: [] });
    await proveWorking(lab);
  },
  heal: (lab) =>
    onNodes(
      lab,
      () => `ip -6 route del default
ip -6 addr flush dev eth0 scope global
for dev in eth0 cni0 flannel.1 lo default all; do echo 1 >/proc/sys/net/ipv6/conf/$dev/disable_ipv6; done`,
    ),
};

const MANY = 300;

/** Services beside those of the lab, all with the web pods behind them. */
function manyPorts(lab: Handle): readonly ServicePort[] {
  const endpoints = podsOf(lab.topology, 'web').map((pod) => `${pod.ip}:8080`);
  return Array.from({ length: MANY }, (_, index) => ({
    service: `default/app-${index}`,
    name: 'http',
    protocol: 'tcp' as const,
    clusterIP: `172.26.${100 + Math.floor(index / 200)}.${1 + (index % 200)}`,
    port: 80,
    endpoints,
  }));
}

const SERVICES = '/api/v1/namespaces/default/services';
const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

const manyServices: Harmless = {
  name: 'many-services',
  title: `${MANY} Services, with their rules on every node`,
  async inject(lab) {
    const pods = podsOf(lab.topology, 'web');
    const ports = manyPorts(lab);
    for (const { service, clusterIP } of ports) {
      const name = service.split('/')[1] ?? '';
      const port = { name: 'http', port: 80, protocol: 'TCP', targetPort: 'http' };
      await lab.api('POST', SERVICES, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace: 'default' },
        spec: { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], ports: [port], selector: { app: 'web' } },
      });
      await lab.api('POST', SLICES, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `${name}-x7k2p`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        endpoints: pods.map((pod) => ({
          addresses: [pod.ip],
          conditions: { ready: true, serving: true, terminating: false },
          nodeName: pod.node,
          targetRef: { kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid },
        })),
        ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      });
    }
    // All of them in one transaction are more than the kernel takes.
    const parts = Array.from({ length: MANY / 20 }, (_, part) => {
      const { chains, rules } = serviceSections(lab.topology, ports.slice(part * 20, (part + 1) * 20));
      return `*nat\n${chains}${rules}COMMIT\n`;
    });
    await onNodes(
      lab,
      () => `iptables-nft-save -t nat >/run/nat-before\niptables-nft-restore --noflush <<'END'\n${parts.join('')}END`,
    );
  },
  async prove(lab) {
    const last = manyPorts(lab).at(-1)?.clusterIP ?? '';
    await expectPackets(lab, { pass: [tcp('node-1', last, 80), tcp('default/client-2', last, 80)], fail: [] });
  },
  async heal(lab) {
    await onNodes(lab, () => 'iptables-nft-restore -T nat </run/nat-before\nrm /run/nat-before');
    for (const { service } of manyPorts(lab)) {
      const name = service.split('/')[1] ?? '';
      await lab.api('DELETE', `${SERVICES}/${name}`);
      await lab.api('DELETE', `${SLICES}/${name}-x7k2p`);
    }
  },
};

const cordoned: Harmless = {
  name: 'cordoned',
  title: 'a node is cordoned, others have taints',
  async inject(lab) {
    const taint = (key: string) => ({ key, value: 'yes', effect: 'NoSchedule' });
    await lab.api('PATCH', '/api/v1/nodes/node-2', {
      spec: { unschedulable: true, taints: [taint('node.kubernetes.io/unschedulable')] },
    });
    await lab.api('PATCH', '/api/v1/nodes/node-1', { spec: { taints: [taint('node-role.kubernetes.io/control-plane')] } });
    await lab.api('PATCH', '/api/v1/nodes/node-3', { spec: { taints: [{ ...taint('dedicated'), effect: 'NoExecute' }] } });
  },
  async prove(lab) {
    const { body } = await lab.api('GET', '/api/v1/nodes/node-2');
    if (!JSON.stringify(body).includes('"unschedulable":true')) throw new Error('node-2 must be cordoned');
  },
  async heal(lab) {
    for (const name of ['node-1', 'node-2', 'node-3'])
      await lab.api('PATCH', `/api/v1/nodes/${name}`, { spec: { unschedulable: null, taints: null } });
  },
};

const nftProxy: Harmless = {
  name: 'nftables-kube-proxy',
  title: 'kube-proxy works in nftables mode on every node',
  async inject(lab) {
    await Promise.all(lab.topology.nodes.map(({ name }) => useNftables(lab, name)));
  },
  async prove(lab) {
    await proveWorking(lab);
    await expectOnNode(lab, 'nft list tables', 'table ip kube-proxy');
  },
  async heal(lab) {
    await Promise.all(lab.topology.nodes.map(({ name }) => useIptables(lab, name)));
  },
};

/** The address of a node in the network that only the overlay uses. */
const storageIp = ({ ip }: LabNode): string => ip.replace('10.28.', '10.29.');

const ownOverlayNetwork: Harmless = {
  name: 'own-overlay-network',
  title: "flannel uses another network than the nodes' own addresses, on purpose and on every node",
  async inject(lab) {
    const other = (line: string): string => line.replaceAll('10.28.', '10.29.');
    await onNodes(
      lab,
      (node) => `ip addr add ${storageIp(node)}/16 brd + dev eth0
ip link del flannel.1
ip -batch - <<'END'
${overlayBatch(lab.topology, node, CLUSTER.vxlan).map(other).join('\n')}
END
bridge -batch - <<'END'
${fdbBatch(lab.topology, node).map(other).join('\n')}
END`,
    );
    for (const node of lab.topology.nodes) await annotate(lab, node.name, { 'public-ip': storageIp(node) });
  },
  async prove(lab) {
    await proveWorking(lab);
    await expectOnNode(lab, 'ip -d link show flannel.1', 'local 10.29.');
  },
  async heal(lab) {
    await onNodes(lab, (node) => `${rebuildScript(lab, node)}\nip addr del ${storageIp(node)}/16 dev eth0`);
    for (const node of lab.topology.nodes) await annotate(lab, node.name, { 'public-ip': node.ip });
  },
};

/** Every healthy and unusual cluster, by its name. */
export const HARMLESS: Readonly<Record<string, Harmless>> = Object.fromEntries(
  [
    jumboFrames,
    sidecars,
    hostFirewall,
    dockerLeftovers,
    pingFiltered,
    vpn,
    ipv6,
    manyServices,
    cordoned,
    nftProxy,
    ownOverlayNetwork,
  ].map((harmless) => [harmless.name, harmless]),
);
