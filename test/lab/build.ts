import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { nodeRules, serviceSections } from './rules.ts';
import { programPath } from './run.ts';
import {
  CLUSTER,
  hasDynamicNeighbours,
  type LabNode,
  type LabPod,
  NETWORKS,
  podsOf,
  podsOn,
  RACK,
  type Topology,
} from './topology.ts';

/*
 * Writes the files that rack.sh, node.sh and pod.sh build a lab from: `ip -batch` and `bridge -batch` input, rules and
 * configurations. One process per batch: one `ip` process per command would take minutes for a large lab.
 */

/** What the files depend on. `visible` are directories that keep their path in the lab; `agent` is the agent's bundle. */
export type BuildOptions = { readonly topology: Topology; readonly visible: readonly string[]; readonly agent: string | null };

/** Everything under `run/build` and `run/bin` of a lab's directory. */
export function writeBuildFiles(directory: string, { topology, visible, agent }: BuildOptions): void {
  const build = join(directory, 'run/build');
  const services = serviceSections(topology);
  const files: Record<string, string> = {
    'rack.ip': rackBatch(topology),
    'gw.ip': `${hostBatch(topology, RACK.gateway)}${lines(cloudRoutes(topology))}`,
    'gw.sysctl': lines(gatewaySettings(topology)),
    'cp.ip': hostBatch(topology, RACK.controlPlane),
    nodes: lines(topology.nodes.map((node) => node.name)),
    'node.fstab': nodeMounts(visible),
    'kubelets.cfg': kubeletProxyConfig(topology),
    'resolver.conf': resolverConfig(RACK.gateway.ip),
    'resolver-2.conf': resolverConfig(RACK.resolver.ip),
    'coredns.conf': dnsConfig(topology),
    'etc/resolv.conf': NODE_RESOLV_CONF,
    'etc/hosts': lines(['127.0.0.1 localhost', ...topology.nodes.map((node) => `${node.ip} ${node.name}`)]),
    'etc/sysctl.conf': '# See /etc/sysctl.d/ and sysctl.conf(5).\n',
    'etc/sysctl.d/50-kubernetes.conf': 'net.bridge.bridge-nf-call-iptables = 1\nnet.ipv4.ip_forward = 1\n',
  };
  for (const node of topology.nodes) {
    const pods = podsOn(topology, node).filter((pod) => pod.network !== null);
    files[`${node.name}.ip`] = nodeBatch(topology, node, pods);
    files[`${node.name}.fdb`] = lines(topology.network === 'vxlan' ? fdbBatch(topology, node) : []);
    files[`${node.name}.rules`] = nodeRules(topology, node, services);
    if (topology.network !== 'kubenet') files[`${node.name}.run/flannel/subnet.env`] = subnetEnv(topology, node);
    files[`${node.name}.pods`] = lines(pods.map((pod) => `${pod.network?.netns} ${pod.role}`));
    for (const pod of pods) Object.assign(files, podFiles(topology, node, pod));
  }
  const directories = new Set(Object.keys(files).map((name) => dirname(name)));
  for (const name of directories) mkdirSync(join(build, name), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(build, name), text);
  for (const name of ['rack.sh', 'node.sh', 'pod.sh', 'listens.sh'])
    copyFileSync(join(import.meta.dirname, name), join(build, name));
  writePrograms(join(directory, 'run/bin'), agent);
}

/** Programs under the names that they would have in a cluster, since checks look at the names of processes. */
function writePrograms(bin: string, agent: string | null): void {
  const names = {
    pause: 'sleep',
    web: 'socat',
    client: 'socat',
    'coredns-metrics': 'socat',
    kubelet: 'sleep',
    containerd: 'sleep',
    coredns: 'unbound',
    probe: 'redis-server',
    firewalld: 'sleep',
    NetworkManager: 'sleep',
    'systemd-networkd': 'sleep',
    kesl: 'sleep',
  };
  mkdirSync(bin);
  for (const [name, program] of Object.entries(names)) symlinkSync(programPath(program), join(bin, name));
  for (const name of ['systemctl', 'ufw']) {
    copyFileSync(join(import.meta.dirname, `${name}.sh`), join(bin, name));
    chmodSync(join(bin, name), 0o755);
  }
  if (agent !== null) {
    // As in the image, at another place.
    const script = readFileSync(join(import.meta.dirname, '../../deploy/images/netcheck-agent'), 'utf8')
      .replace('/usr/local/bin/node', `'${process.execPath}'`)
      .replace('/opt/netcheck/netcheck-agent.cjs', `'${agent}'`);
    writeFileSync(join(bin, 'netcheck-agent'), script, { mode: 0o755 });
  }
}

/** What node.sh mounts under /mnt/root, as an fstab(5). */
function nodeMounts(visible: readonly string[]): string {
  const root = '/mnt/root';
  const system = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/usr'].filter(
    (path) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true,
  );
  const escape = (path: string): string =>
    path.replace(/[ \t\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
  const bind = (path: string, options = 'rbind'): string => `${escape(path)} ${root}${escape(path)} none ${options}`;
  return lines([
    `overlay ${root} overlay lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work,userxattr`,
    ...[...system, ...visible, '/dev'].map((path) => bind(path)),
    `run ${root}/run tmpfs mode=755,x-mount.mkdir`,
    `/run/lab ${root}/run/lab none bind,x-mount.mkdir`,
    `proc ${root}/proc proc defaults`,
    `${root}/proc/sys ${root}/proc/sys none bind`,
    `${root}/proc/sys/net ${root}/proc/sys/net none bind`,
    `sysfs ${root}/sys sysfs defaults`,
    `sysfs ${root}/.sys sysfs defaults`,
    ...(existsSync('/usr/lib/sysctl.d') ? [`sysctl ${root}/usr/lib/sysctl.d tmpfs mode=755`] : []),
  ]);
}

function rackBatch(topology: Topology): string {
  const { linkMtu: mtu } = NETWORKS[topology.network];
  const port = (name: string, mac: string): string[] => [
    `netns add ${name}`,
    `link add ${name} mtu ${mtu} type veth peer name eth0 mtu ${mtu} address ${mac} netns ${name}`,
    `link set ${name} master rack0 up`,
  ];
  return lines([
    'link set lo up',
    'link add rack0 type bridge mcast_snooping 0',
    'link set rack0 up',
    ...[RACK.gateway, RACK.controlPlane, ...topology.nodes].flatMap((host) => port(host.name, host.mac)),
  ]);
}

function hostBatch(topology: Topology, host: { readonly ip: string; readonly mac: string }): string {
  return lines([
    'link set lo up',
    'link set eth0 up',
    `addr add ${host.ip}/${RACK.prefix} brd + dev eth0`,
    host.ip === RACK.gateway.ip
      ? `addr add ${RACK.resolver.ip}/${RACK.prefix} dev eth0`
      : `route add default via ${RACK.gateway.ip}`,
    ...uplinkNeighbours(topology, host.ip),
  ]);
}

/** With kubenet the cloud's network brings packets for pods to their nodes: the gateway, which forwards them. */
function cloudRoutes(topology: Topology): string[] {
  if (topology.network !== 'kubenet') return [];
  return topology.nodes.map((node) => `route add ${node.podCIDR} via ${node.ip} dev eth0`);
}

/**
 * The gateway forwards where nodes are not to find the way by themselves, and tells nobody of a shorter one. With flannel's
 * vxlan it does not: what loses its way ends there.
 */
function gatewaySettings({ network }: Topology): string[] {
  if (network === 'vxlan') return [];
  const settings = [
    'ip_forward',
    'conf/all/send_redirects',
    'conf/eth0/send_redirects',
    'conf/all/rp_filter',
    'conf/eth0/rp_filter',
  ];
  return settings.map((name) => `echo ${name === 'ip_forward' ? 1 : 0} > /proc/sys/net/ipv4/${name}`);
}

function nodeBatch(topology: Topology, node: LabNode, pods: readonly LabPod[]): string {
  const { bridge, podMtu } = NETWORKS[topology.network];
  return lines([
    'link set lo up',
    'link set eth0 up',
    `addr add ${node.ip}/${RACK.prefix} brd + dev eth0`,
    `route add default via ${RACK.gateway.ip}`,
    ...uplinkNeighbours(topology, node.ip),
    `link add ${bridge} address ${node.bridgeMac} mtu ${podMtu} type bridge`,
    `link set ${bridge} up`,
    `addr add ${node.bridgeIp}/24 brd + dev ${bridge}`,
    ...(topology.network === 'vxlan' ? overlayBatch(topology, node, CLUSTER.vxlan) : []),
    ...(topology.network === 'host-gw' ? hostGwRoutes(topology, node) : []),
    ...pods.flatMap(({ ip, network }) =>
      network === null
        ? []
        : [
            `netns add ${network.netns}`,
            `link add ${network.veth} mtu ${podMtu} type veth peer name eth0 mtu ${podMtu} address ${network.mac} netns ${network.netns}`,
            `link set ${network.veth} master ${bridge} up`,
            `link set ${network.veth} type bridge_slave hairpin on`,
            ...(hasDynamicNeighbours(topology) ? [] : [`neigh replace ${ip} lladdr ${network.mac} dev ${bridge} nud permanent`]),
          ],
    ),
  ]);
}

/** The routes that flannel's host-gw backend keeps, one for every peer; pkg/backend/hostgw. */
export function hostGwRoutes(topology: Topology, node: LabNode): string[] {
  return peers(topology, node).map((peer) => `route add ${peer.podCIDR} via ${peer.ip} dev eth0`);
}

/** What flanneld leaves for its CNI plugin; pkg/subnet, WriteSubnetFile. */
export function subnetEnv(topology: Topology, node: LabNode): string {
  return lines([
    `FLANNEL_NETWORK=${topology.clusterCIDR}`,
    `FLANNEL_SUBNET=${node.bridgeIp}/24`,
    `FLANNEL_MTU=${NETWORKS[topology.network].podMtu}`,
    'FLANNEL_IPMASQ=true',
  ]);
}

/** What a VXLAN device is made of, and where its packets leave from. */
export type Vxlan = { readonly vni: number; readonly port: number; readonly local?: string; readonly dev?: string };

/** The line for `ip -batch` that makes a node's flannel.1. */
export function vxlanLink(node: LabNode, mac: string, { vni, port, local = node.ip, dev = 'eth0' }: Vxlan): string {
  return `link add flannel.1 address ${mac} mtu 1450 type vxlan id ${vni} local ${local} dev ${dev} dstport ${port} nolearning`;
}

/** The lines for `ip -batch` that make a node's flannel.1, with its neighbours and routes. */
export function overlayBatch(topology: Topology, node: LabNode, vxlan: Vxlan): string[] {
  return [
    vxlanLink(node, node.vtepMac, vxlan),
    'link set flannel.1 up',
    `addr add ${node.overlayIp}/32 dev flannel.1`,
    ...peers(topology, node).flatMap((peer) => [
      `neigh replace ${peer.overlayIp} lladdr ${peer.vtepMac} dev flannel.1 nud permanent`,
      `route add ${peer.podCIDR} via ${peer.overlayIp} dev flannel.1 onlink`,
    ]),
  ];
}

/** The lines for `bridge -batch` that fill the forwarding database of a node's flannel.1. */
export function fdbBatch(topology: Topology, node: LabNode): string[] {
  return peers(topology, node).map((peer) => `fdb append ${peer.vtepMac} dev flannel.1 dst ${peer.ip} self permanent`);
}

function podFiles(topology: Topology, node: LabNode, pod: LabPod): Record<string, string> {
  const { netns = '' } = pod.network ?? {};
  const slice = `kubepods-besteffort-pod${pod.uid.replaceAll('-', '_')}.slice`;
  const cgroup = (id: string): string => `0::/kubepods.slice/kubepods-besteffort.slice/${slice}/cri-containerd-${id}.scope\n`;
  return {
    [`${netns}.ip`]: lines([
      'link set lo up',
      'link set eth0 up',
      `addr add ${pod.ip}/24 brd + dev eth0`,
      `route add default via ${node.bridgeIp}`,
      ...(hasDynamicNeighbours(topology)
        ? []
        : [`neigh replace ${node.bridgeIp} lladdr ${node.bridgeMac} dev eth0 nud permanent`]),
    ]),
    [`${node.name}.etc/netns/${netns}/resolv.conf`]: podResolver(pod),
    [`${netns}.container`]: cgroup(pod.containerId),
    [`${netns}.sandbox`]: cgroup(createHash('sha256').update(pod.containerId).digest('hex')),
  };
}

const NODE_RESOLV_CONF = `nameserver ${RACK.gateway.ip}\nnameserver ${RACK.resolver.ip}\n`;

/** What the kubelet writes for dnsPolicy ClusterFirst and, for CoreDNS itself, Default. */
function podResolver({ namespace, role }: LabPod): string {
  if (role === 'coredns') return NODE_RESOLV_CONF;
  return `search ${namespace}.svc.${CLUSTER.domain} svc.${CLUSTER.domain} ${CLUSTER.domain}
nameserver ${CLUSTER.dnsService}
options ndots:5
`;
}

/** Permanent entries for every host on the rack, both ways, when the lab is too large for learnt ones. */
function uplinkNeighbours(topology: Topology, ip: string): string[] {
  if (hasDynamicNeighbours(topology)) return [];
  return [RACK.gateway, RACK.resolver, RACK.controlPlane, ...topology.nodes]
    .filter((host) => host.ip !== ip)
    .map((host) => `neigh replace ${host.ip} lladdr ${host.mac} dev eth0 nud permanent`);
}

function peers(topology: Topology, node: LabNode): LabNode[] {
  return topology.nodes.filter((peer) => peer !== node);
}

/**
 * One process that listens on the kubelet's port in the network namespace of every node, and leads each connection to the
 * kubelet stand-in of that node. A sweep opens thousands of connections to these ports: a fork for each would be felt.
 */
function kubeletProxyConfig(topology: Topology): string {
  const nodes = topology.nodes.map(
    ({ name }) => `listen ${name}
  bind 0.0.0.0:${CLUSTER.kubeletPort} namespace ${name}
  server kubelet unix@/run/lab/kubelet-${name}.sock
`,
  );
  return `global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
${nodes.join('')}`;
}

const DNS_SERVER = `  access-control: 0.0.0.0/0 allow
  chroot: ""
  username: ""
  directory: "/"
  pidfile: ""
  use-syslog: no
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  outbound-msg-retry: 1
  infra-cache-max-rtt: 1000
  infra-cache-min-rtt: 50
  unknown-server-time-limit: 376
`;

/** The stand-in for CoreDNS: the cluster's zone, all other names from the resolver outside. */
function dnsConfig(topology: Topology): string {
  const zone = CLUSTER.domain;
  const record = (name: string, ip: string): string => `  local-data: "${name}.${zone}. 30 IN A ${ip}"\n`;
  return `server:
  interface: 0.0.0.0
${DNS_SERVER}  local-zone: "${zone}." static
  local-data: "${zone}. 30 IN SOA ns.dns.${zone}. hostmaster.${zone}. 1 7200 1800 86400 30"
${record('ns.dns', CLUSTER.dnsService)}${record('kubernetes.default.svc', CLUSTER.apiService)}${record('kube-dns.kube-system.svc', CLUSTER.dnsService)}${record('web.default.svc', CLUSTER.webService)}${podsOf(
  topology,
  'web',
)
  .map((pod) => record(`${pod.ip.replaceAll('.', '-')}.default.pod`, pod.ip))
  .join('')}forward-zone:
  name: "."
  forward-addr: ${RACK.gateway.ip}
  forward-addr: ${RACK.resolver.ip}
`;
}

/** A resolver outside the cluster: one test zone, and no such name for all others. */
function resolverConfig(ip: string): string {
  return `server:
  interface: ${ip}
${DNS_SERVER}  local-zone: "." static
  local-data: ". 30 IN SOA ns.example.com. hostmaster.example.com. 1 7200 1800 86400 30"
  local-data: "example.com. 30 IN A ${RACK.gateway.ip}"
  local-data: "www.example.com. 30 IN A ${RACK.gateway.ip}"
`;
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}
