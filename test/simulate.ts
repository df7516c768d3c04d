import type { Probed } from '../src/checks/kit/check.ts';
import type { Link } from '../src/checks/kit/links.ts';
import type { NodeNetwork } from '../src/checks/kit/node-network.ts';
import { createPaths, type Paths } from '../src/dataplane/paths.ts';
import { createView, type View } from '../src/dataplane/view.ts';
import { type NodeState, planSweep } from '../src/diagnosis/plan.ts';
import type { Hop, Step } from '../src/model/hop.ts';
import type { Endpoint, Inventory, Node, Pod } from '../src/model/inventory.ts';
import type { Probe, ProbeResult } from '../src/model/probe.ts';

/*
 * A cluster that exists only as an inventory, and a network that loses packets where it is told to: for tests of the
 * judgement alone, in which thousands of faults are cheap. What real networks do is tested in the lab.
 */

/** A fault of the simulated network: whether a packet is lost at a hop, and how likely (1 when absent). */
export type SimulatedFault = { readonly eats: (step: Step) => boolean; readonly rate?: number };

export type Simulation = {
  readonly inventory: Inventory;
  readonly view: View;
  readonly probes: readonly Probe[];
  readonly pathsOf: (probe: Probe) => Paths;
  /** How all probes end with these faults. Deterministic: partial loss loses its exact share of the packets. */
  readonly results: (faults: readonly SimulatedFault[]) => ReadonlyMap<string, ProbeResult>;
  readonly probed: (faults: readonly SimulatedFault[]) => readonly Probed[];
};

/**
 * Simulates a flannel cluster of so many nodes, `node-1` …, whose agents all answer, except those named. With `packets`
 * every counting probe sends so many.
 */
export function simulate(nodeCount: number, silent: readonly string[] = [], packets?: number): Simulation {
  const nodes = Array.from({ length: nodeCount }, (_, index) => createNode(index + 1));
  const inventory = createInventory(nodes);
  const networks = new Map(nodes.map((node) => [node.name, createNetwork(node)]));
  const states = new Map<string, NodeState>(
    nodes
      .filter(({ name }) => !silent.includes(name))
      .map((node) => [
        node.name,
        {
          network: networks.get(node.name) ?? null,
          listening: { node: { udp: 40_000 }, pod: { udp: 41_000 } },
          neighbours: [],
          resolvers: [],
          addresses: [],
          freeNeighbours: Number.POSITIVE_INFINITY,
          freeConntrack: Number.POSITIVE_INFINITY,
        },
      ]),
  );
  const view = createView(inventory, new Map([...networks].filter(([name]) => states.has(name))));
  const pathsOf = createPaths(view);
  const planned = planSweep(inventory, { kind: 'cluster' }, nodes, states, new Set(states.keys())).probes;
  const isCounting = (probe: Probe): boolean => probe.method === 'ping' || probe.method === 'udp';
  const probes = planned.map((probe) => (packets !== undefined && isCounting(probe) ? { ...probe, count: packets } : probe));
  const results = (faults: readonly SimulatedFault[]): ReadonlyMap<string, ProbeResult> =>
    new Map(probes.flatMap((probe) => resultOf(probe, pathsOf(probe), faults)).map((result) => [result.probe, result]));
  return {
    inventory,
    view,
    probes,
    pathsOf,
    results,
    probed(faults) {
      const ended = results(faults);
      return probes.flatMap((probe) => {
        const result = ended.get(probe.id);
        return result === undefined ? [] : [{ probe, result }];
      });
    },
  };
}

/** Every hop that the probes of a simulation pass, each once. */
export function hopsOf({ probes, pathsOf }: Simulation): readonly Hop[] {
  const hops = new Map<string, Hop>();
  for (const probe of probes) {
    const { request, reply } = pathsOf(probe);
    for (const { hop } of [...request, ...reply].flat()) hops.set(JSON.stringify(hop), hop);
  }
  return [...hops.values()];
}

function resultOf(probe: Probe, { request, reply }: Paths, faults: readonly SimulatedFault[]): readonly ProbeResult[] {
  const alternatives = request.map((path, index) => [...path, ...(reply[index] ?? [])]);
  const share = Math.max(0, ...alternatives.map((path) => passing(path, faults)));
  // What a ping has found needs no other probe.
  if (probe.ifSilent === true && faults.length === 0) return [];
  if (probe.method === 'dns-pair') {
    const [sent, isGood] = [2 * probe.count, share > 0];
    const end = isGood ? ({ status: 'pass', how: 'ok' } as const) : ({ status: 'fail', how: 'timeout' } as const);
    return [{ probe: probe.id, ...end, sent, delivered: isGood ? sent : 0 }];
  }
  if (probe.every === true) {
    const mean = alternatives.reduce((sum, path) => sum + passing(path, faults), 0) / Math.max(1, alternatives.length);
    const answered = Math.round(probe.count * mean);
    const isGood = answered === probe.count;
    return [
      {
        probe: probe.id,
        status: isGood ? 'pass' : 'fail',
        sent: probe.count,
        delivered: answered,
        how: isGood ? 'ok' : 'timeout',
      },
    ];
  }
  const isExchange = probe.method !== 'ping' && probe.method !== 'udp' && probe.method !== 'arp';
  const delivered = isExchange ? (share > 0 ? 1 : 0) : Math.round(probe.count * share);
  const sent = isExchange && delivered > 0 ? 1 : probe.count;
  const status = delivered === sent ? 'pass' : 'fail';
  return [{ probe: probe.id, status, sent, delivered, how: status === 'pass' ? 'ok' : 'timeout' }];
}

/** The share of packets that get through a path. */
function passing(path: readonly Step[], faults: readonly SimulatedFault[]): number {
  return path.reduce(
    (share, step) => faults.reduce((left, fault) => (fault.eats(step) ? left * (1 - (fault.rate ?? 1)) : left), share),
    1,
  );
}

function createNode(index: number): Node & { readonly ip: string } {
  return {
    name: `node-${index}`,
    uid: `uid-node-${index}`,
    ip: `10.28.0.${10 + index}`,
    podCIDRs: [`172.27.${index}.0/24`],
    ready: 'True',
    os: 'linux',
    unschedulable: false,
    kubeletPort: 10_250,
    annotations: { 'flannel.alpha.coreos.com/backend-type': 'vxlan' },
    labels: {},
    providerID: null,
    conditions: [],
    kubelet: '',
    kernel: '',
    runtime: '',
  };
}

function createPod(namespace: string, name: string, node: Node, host: number, labels: Record<string, string>): Pod {
  return {
    namespace,
    name,
    uid: `uid-${name}`,
    node: node.name,
    ip: (node.podCIDRs[0] ?? '').replace(/0\/24$/, String(host)),
    hostNetwork: false,
    phase: 'Running',
    ready: true,
    terminating: false,
    labels,
    owner: null,
    ports: [{ port: 7410, protocol: 'TCP' }],
    workload: null,
    containers: [],
    conditions: [],
    startedAt: null,
    deleteBy: null,
    graceSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    dnsConfig: null,
    runtimeClass: null,
  };
}

function createInventory(nodes: readonly Node[]): Inventory {
  const coredns = nodes
    .slice(0, 2)
    .map((node, index) => createPod('kube-system', `coredns-${index + 1}`, node, 5, { 'k8s-app': 'kube-dns' }));
  const probePods = nodes.map((node) =>
    createPod('netcheck-agents', `netcheck-probe-${node.name.slice(5)}`, node, 4, { 'app.kubernetes.io/name': 'netcheck-probe' }),
  );
  const dns = [
    { name: 'dns', port: 53, protocol: 'UDP' as const },
    { name: 'metrics', port: 9153, protocol: 'TCP' as const },
  ];
  const https = [{ name: 'https', port: 6443, protocol: 'TCP' as const }];
  const endpoints: Endpoint[] = [
    {
      namespace: 'default',
      service: 'kubernetes',
      ip: '10.28.0.2',
      ports: https,
      ready: true,
      serving: true,
      terminating: false,
      node: null,
      pod: null,
    },
    ...coredns.map((pod) => ({
      namespace: 'kube-system',
      service: 'kube-dns',
      ip: pod.ip ?? '',
      ports: dns,
      ready: true,
      serving: true,
      terminating: false,
      node: pod.node,
      pod: pod.name,
    })),
  ];
  return {
    cluster: 'simulated',
    apiServer: '10.28.0.2',
    version: 'v1.33.0',
    agentNamespace: 'netcheck-agents',
    nodes: [...nodes],
    pods: [...coredns, ...probePods],
    services: [
      {
        namespace: 'default',
        name: 'kubernetes',
        type: 'ClusterIP',
        clusterIP: '172.26.0.1',
        selector: {},
        ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: 6443 }],
      },
      {
        namespace: 'kube-system',
        name: 'kube-dns',
        type: 'ClusterIP',
        clusterIP: '172.26.0.10',
        selector: { 'k8s-app': 'kube-dns' },
        ports: dns.map((port) => ({ ...port, targetPort: port.port })),
      },
    ],
    endpoints,
    policies: [],
    namespaces: [],
    configs: {},
    webhooks: [],
    warnings: [],
    logs: [],
    readAt: '',
    gaps: [],
  };
}

function createNetwork(node: Node & { readonly ip: string }): NodeNetwork {
  const index = node.name.slice(5);
  const link = (name: string, kind: string, ip: string, prefix: number, mtu: number): Link => ({
    name,
    index: null,
    peer: null,
    kind,
    up: true,
    carrier: true,
    mtu,
    mac: `02:00:00:00:00:${index.padStart(2, '0')}`,
    master: null,
    addresses: [{ family: 4, ip, prefix }],
    vxlan: kind === 'vxlan' ? { vni: 1, port: 8472, local: node.ip, dev: 'eth0' } : null,
    packets: null,
  });
  return {
    uplink: link('eth0', 'veth', node.ip, 16, 1500),
    bridge: link('cni0', 'bridge', `172.27.${index}.1`, 24, 1450),
    overlay: link('flannel.1', 'vxlan', `172.27.${index}.0`, 32, 1450),
  };
}
