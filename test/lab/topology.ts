import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';

/*
 * The plan of a lab's network: names and addresses only, nothing is built here.
 *
 *                        rack0 (bridge in the rack's own network namespace, ports named as below)
 *      ┌─────────┬──────────┴─┬────────────┐
 *      gw        cp           node-1       node-2 …
 *      10.28.0.1 10.28.0.2    10.28.87.59  10.28.87.60      eth0, MTU 1500
 *      resolvers API server   172.27.1.0   172.27.2.0       flannel.1, VXLAN 1 on UDP 8472, MTU 1450
 *                             172.27.1.1   172.27.2.1       cni0, MTU 1450
 *                             pods .2 …    pods .2 …        eth0 in each pod, behind vethXXXXXXXX
 *
 * With flannel's host-gw there is no flannel.1: every node has a route to each peer's pods over eth0, and all MTUs are
 * 1500. With kubenet the bridge is cbr0, all MTUs are 1460, and only gw, which stands for the cloud's network, knows where
 * which pods are.
 */

/** How the pods of different nodes reach each other. */
export const NetworkKind = z.enum(['vxlan', 'host-gw', 'kubenet']);
export type NetworkKind = z.infer<typeof NetworkKind>;

/** The pod bridge of every kind, and the MTUs of the pods and of the network between the nodes. */
export const NETWORKS: Readonly<
  Record<NetworkKind, { readonly bridge: string; readonly podMtu: number; readonly linkMtu: number }>
> = {
  vxlan: { bridge: 'cni0', podMtu: 1450, linkMtu: 1500 },
  'host-gw': { bridge: 'cni0', podMtu: 1500, linkMtu: 1500 },
  kubenet: { bridge: 'cbr0', podMtu: 1460, linkMtu: 1460 },
};

export const RACK = {
  gateway: { name: 'gw', ip: '10.28.0.1', mac: '02:00:0a:1c:00:01' },
  /** A second address of the gateway's host, with a DNS server of its own. */
  resolver: { name: 'gw', ip: '10.28.0.53', mac: '02:00:0a:1c:00:01' },
  controlPlane: { name: 'cp', ip: '10.28.0.2', mac: '02:00:0a:1c:00:02' },
  prefix: 16,
} as const;

export const CLUSTER = {
  domain: 'cluster.local',
  serviceCIDR: '172.26.0.0/16',
  apiService: '172.26.0.1',
  dnsService: '172.26.0.10',
  webService: '172.26.80.80',
  apiPort: 6443,
  kubeletPort: 10250,
  vxlan: { vni: 1, port: 8472 },
  agentNamespace: 'netcheck-agents',
  /** The TCP port on which netcheck's own pods accept connections. */
  probePort: 7410,
} as const;

/** The most nodes a lab can have: one podCIDR each in 172.27.0.0/16 to 172.31.0.0/16. */
export const MAX_NODES = 1000;

/** The largest lab whose eth0 and pod neighbours are dynamic. The kernel's neighbour table is one for all namespaces. */
export const MAX_DYNAMIC_NODES = 20;

export const LabNode = z.strictObject({
  index: z.int(),
  name: z.string(),
  uid: z.string(),
  ip: z.string(),
  mac: z.string(),
  vtepMac: z.string(),
  podCIDR: z.string(),
  bridgeIp: z.string(),
  bridgeMac: z.string(),
  overlayIp: z.string(),
});
export type LabNode = z.infer<typeof LabNode>;

/** What a pod is for. `host` pods run in their node's own network namespace and have no process of their own. */
export const PodRole = z.enum(['web', 'client', 'probe', 'coredns', 'host']);
export type PodRole = z.infer<typeof PodRole>;

/** The part of a pod that only a pod with its own network namespace has. */
export const PodNetwork = z.strictObject({ netns: z.string(), veth: z.string(), mac: z.string() });
export type PodNetwork = z.infer<typeof PodNetwork>;

export const LabPod = z.strictObject({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  containerId: z.string(),
  node: z.string(),
  ip: z.string(),
  role: PodRole,
  owner: z.strictObject({ kind: z.enum(['DaemonSet', 'ReplicaSet']), name: z.string() }),
  container: z.string(),
  network: PodNetwork.nullable(),
});
export type LabPod = z.infer<typeof LabPod>;

export const Topology = z.strictObject({
  network: NetworkKind,
  clusterCIDR: z.string(),
  nodes: z.array(LabNode),
  pods: z.array(LabPod),
});
export type Topology = z.infer<typeof Topology>;

/** Plans a lab of `count` nodes. Names and addresses depend on `count` only; uids and namespace names are random. */
export function planTopology(count: number, network: NetworkKind = 'vxlan'): Topology {
  const nodes = Array.from({ length: count }, (_, index) => planNode(index + 1));
  return {
    network,
    clusterCIDR: count <= 255 ? '172.27.0.0/16' : '172.24.0.0/13',
    nodes,
    pods: [...nodes.flatMap((node) => planPods(node, network)), ...planDnsPods(nodes)],
  };
}

/** The pods that run on a node. */
export function podsOn(topology: Topology, node: LabNode): LabPod[] {
  return topology.pods.filter((pod) => pod.node === node.name);
}

/** The pods with this role, in the order of their nodes. */
export function podsOf(topology: Topology, role: PodRole): LabPod[] {
  return topology.pods.filter((pod) => pod.role === role);
}

/** Whether the neighbours of eth0 and of pods are learnt as in life, or set by hand because the lab is too large. */
export function hasDynamicNeighbours(topology: Topology): boolean {
  return topology.nodes.length <= MAX_DYNAMIC_NODES;
}

function planNode(index: number): LabNode {
  const host = 87 * 256 + 58 + index;
  const [high, low] = [Math.floor(host / 256), host % 256];
  const subnet = `172.${27 + Math.floor(index / 256)}.${index % 256}`;
  return {
    index,
    name: `node-${index}`,
    uid: randomUUID(),
    ip: `10.28.${high}.${low}`,
    mac: `02:00:0a:1c:${hex(high)}:${hex(low)}`,
    vtepMac: ['0e', ...(createHash('sha256').update(`vtep ${index}`).digest('hex').slice(0, 10).match(/../g) ?? [])].join(':'),
    podCIDR: `${subnet}.0/24`,
    bridgeIp: `${subnet}.1`,
    bridgeMac: podMac(`${subnet}.1`),
    overlayIp: `${subnet}.0`,
  };
}

function planPods(node: LabNode, network: NetworkKind): LabPod[] {
  const own = (host: number): string => node.bridgeIp.replace(/1$/, String(host));
  return [
    planPod(node, 'default', 'web', 'web', own(2), { kind: 'DaemonSet', name: 'web' }, 'web'),
    planPod(node, 'default', 'client', 'client', own(3), { kind: 'DaemonSet', name: 'client' }, 'client'),
    planPod(
      node,
      CLUSTER.agentNamespace,
      'netcheck-probe',
      'probe',
      own(4),
      { kind: 'DaemonSet', name: 'netcheck-probe' },
      'probe',
    ),
    planPod(
      node,
      CLUSTER.agentNamespace,
      'netcheck-agent',
      'host',
      node.ip,
      { kind: 'DaemonSet', name: 'netcheck-agent' },
      'agent',
    ),
    ...(network === 'kubenet'
      ? []
      : [
          planPod(
            node,
            'kube-flannel',
            'kube-flannel-ds',
            'host',
            node.ip,
            { kind: 'DaemonSet', name: 'kube-flannel-ds' },
            'kube-flannel',
          ),
        ]),
    planPod(node, 'kube-system', 'kube-proxy', 'host', node.ip, { kind: 'DaemonSet', name: 'kube-proxy' }, 'kube-proxy'),
  ];
}

function planDnsPods(nodes: readonly LabNode[]): LabPod[] {
  return [1, 2].flatMap((number) => {
    const node = nodes[number - 1] ?? nodes[0];
    if (node === undefined) return [];
    const pod = planPod(
      node,
      'kube-system',
      'coredns',
      'coredns',
      node.bridgeIp.replace(/1$/, String(4 + number)),
      { kind: 'ReplicaSet', name: 'coredns-7db6d8ff4d' },
      'coredns',
    );
    return [{ ...pod, name: `coredns-${number}` }];
  });
}

function planPod(
  node: LabNode,
  namespace: string,
  base: string,
  role: PodRole,
  ip: string,
  owner: LabPod['owner'],
  container: string,
): LabPod {
  const name = `${base}-${node.index}`;
  return {
    namespace,
    name,
    uid: randomUUID(),
    containerId: createHash('sha256').update(randomUUID()).digest('hex'),
    node: node.name,
    ip,
    role,
    owner,
    container,
    network:
      role === 'host'
        ? null
        : {
            netns: `cni-${randomUUID()}`,
            veth: `veth${createHash('sha1').update(`${namespace}/${base} ${ip}`).digest('hex').slice(0, 8)}`,
            mac: podMac(ip),
          },
  };
}

/** The CNI plugins' old convention: the address in the MAC. It makes a lab's captures readable. */
function podMac(ip: string): string {
  return ['0a', '58', ...ip.split('.').map((octet) => hex(Number(octet)))].join(':');
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
