import type { Handle } from '../handle.ts';
import { CLUSTER, NETWORKS, podsOf } from '../topology.ts';
import { dns, expectPackets, ping, tcp } from './packets.ts';

/**
 * Throws unless the lab's network is whole: every node and every client pod reaches all nodes, all pod bridges and all
 * pods, also with packets of full size, and DNS and the Services answer on every node.
 */
export async function expectHealthy(lab: Handle): Promise<void> {
  const { nodes } = lab.topology;
  const { podMtu, linkMtu } = NETWORKS[lab.topology.network];
  const pods = lab.topology.pods.filter((pod) => pod.network !== null);
  const everything = [...nodes.flatMap((node) => [node.ip, node.bridgeIp]), ...pods.map((pod) => pod.ip)];
  const clients = podsOf(lab.topology, 'client').map((pod) => `${pod.namespace}/${pod.name}`);
  await Promise.all([
    ...[...nodes.map((node) => node.name), ...clients].flatMap((from) => [
      sweep(lab, from, everything, 84),
      sweep(lab, from, everything, podMtu),
    ]),
    ...nodes.map((node) =>
      sweep(
        lab,
        node.name,
        nodes.map((other) => other.ip),
        linkMtu,
      ),
    ),
    expectPackets(lab, {
      pass: [
        ...[...nodes.map((node) => node.name), ...clients].flatMap((from) => [
          dns(from, CLUSTER.dnsService),
          tcp(from, CLUSTER.apiService, 443),
          tcp(from, CLUSTER.webService, 80),
        ]),
        ...nodes.flatMap((node) => [
          ...podsOf(lab.topology, 'coredns').flatMap((pod) => [dns(node.name, pod.ip), tcp(node.name, pod.ip, 9153)]),
          ...nodes.map((other) => tcp(node.name, other.ip, CLUSTER.kubeletPort)),
        ]),
        ping('cp', nodes[0]?.ip ?? ''),
      ],
      fail: [],
    }),
  ]);
}

async function sweep(lab: Handle, from: string, targets: readonly string[], bytes: number): Promise<void> {
  const argv = ['fping', '-q', '-u', '-r', '2', '-t', '300', '-B', '1', '-i', '1', '-M', '-b', String(bytes - 28), ...targets];
  const { exitCode, stdout, stderr } = await lab.exec(from, argv);
  if (exitCode !== 0)
    throw new Error(`${from} does not reach, with ${bytes} bytes: ${`${stdout}${stderr}`.trim().replaceAll('\n', ' ')}`);
}

/**
 * All that a fault could change on the nodes, as text: devices, addresses, routes, permanent neighbours, forwarding
 * entries, rules of the three systems without counters, and settings. An agent that is just ending is left out, and so is
 * the state of the rack's devices, which the kernel settles up to a second after their flags. Two snapshots of an
 * unchanged lab are equal.
 */
export async function snapshot(lab: Handle): Promise<Readonly<Record<string, string>>> {
  const script = `
ip -o link show | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/link-netns[a-z]* [^ ]*//' | sort
ip -o -d link show type vxlan | grep -o 'vxlan id.*dstport [0-9]*' || :
ip -o addr show | sed 's/^[0-9]*: //' | sort
ip route show table all | sort
ip neigh show nud permanent | sort
{ bridge fdb show dev flannel.1 2>/dev/null || :; } | sort
ip ntable show name arp_cache dev eth0 | grep -o 'base_reachable [0-9]*'
iptables-nft-save | sed '/^#/d; s/\\[[0-9:]*\\]//'
iptables-legacy-save | sed '/^#/d; s/\\[[0-9:]*\\]//; /^[*:]/d; /^COMMIT/d'
nft list tables | sort
for dev in eth0 flannel.1; do ethtool -k $dev 2>/dev/null || :; done
grep -r . /etc/sysctl.d
! [ -d /run/flannel ] || grep -r . /run/flannel || :
grep . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/rp_filter \\
  /proc/sys/net/ipv4/ip_local_port_range /proc/sys/net/bridge/bridge-nf-call-iptables /proc/sys/net/netfilter/nf_conntrack_max
ps -e -o comm= | grep -v -e '^sh$' -e '^ps$' -e '^grep$' -e '^sort$' -e '^kubelet$' -e '^containerd$' -e '^web$' -e '^client$' -e '^coredns-metrics$' -e '^MainThread$' | sort
cat /etc/resolv.conf
find / -xdev -newer /etc/hostname -type f -not -path '/proc/*' -not -path /etc/resolv.conf 2>/dev/null | sort`;
  const texts = await Promise.all(lab.topology.nodes.map(async (node) => [node.name, await lab.sh(node.name, script)] as const));
  const rack = await lab.sh(
    'rack',
    'ip -o link show | sed "s/^[0-9]*: //; s/@if[0-9]*//; s/ state [A-Z]*//" | sort; nft -s list ruleset',
  );
  return { ...Object.fromEntries(texts), rack };
}
