import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Container, Inventory } from '../../../model/inventory.ts';
import { type Draft, defineCheck, parseComplete } from '../../kit/check.ts';
import { LOCAL_PORTS } from '../../kit/readings.ts';

/** From and to, both inclusive. */
type Range = readonly [number, number];

/** `range` is what connections of the node get their ports from, but for `reserved`. */
type Facts = { readonly range: Range; readonly reserved: readonly Range[] };

/** What the API server uses without `--service-node-port-range`. */
const NODE_PORTS: Range = [30_000, 32_767];

/** N9. Source: GKE troubleshooting, known issues of networking ("custom ip-masq-agent", "overlapping ephemeral port range"). */
export const portRangesOverlap = defineCheck({
  id: 'port-ranges-overlap',
  row: 'N9',
  layer: 'L4',
  scope: 'node',
  title: "A node's own connections use the ports of NodePorts",
  why: 'A connection that gets the port of a NodePort collides with clients of the Service: connections fail now and then.',
  codes: {
    'local-ports-overlap-node-ports': 'The range that connections of a node get their ports from overlaps that of NodePorts.',
    'masquerade-overlaps-node-ports':
      'ip-masq-agent translates connections of a node to random ports, those of NodePorts among them.',
  },
  params: z.strictObject({}),
  collect: { ports: LOCAL_PORTS },
  parse: ({ ports }) => parseComplete(ports, readPorts),
  evaluate: ({ range, reserved }: Facts, { node, inventory }) => {
    // Without such a Service no port of that range means anything.
    const count = inventory.services.filter(({ type }) => type === 'NodePort' || type === 'LoadBalancer').length;
    if (count === 0) return [];
    const nodePorts = nodePortsOf(inventory);
    const common: Range = [Math.max(range[0], nodePorts[0]), Math.min(range[1], nodePorts[1])];
    const isReserved = reserved.some(([from, to]) => from <= common[0] && common[1] <= to);
    const agent = masqueradingAgent(inventory, node);
    return [
      ...(common[0] > common[1] || isReserved ? [] : [overlap(node, range, nodePorts, count)]),
      ...(agent === null ? [] : [random(node, agent, nodePorts, count)]),
    ];
  },
});

function readPorts(stdout: string): Facts {
  const [, from, to, reserved = ''] =
    /^==> \S+ip_local_port_range <==\n(\d+)\s+(\d+)\n(?:==> \S+ip_local_reserved_ports <==\n([\d,-]*)\n)?$/.exec(stdout) ?? [];
  if (from === undefined || to === undefined) throw new Error('no range of ports');
  const ranges = reserved.split(',').flatMap((text): Range[] => {
    const [first, last = first] = text.split('-').map(Number);
    return text === '' || first === undefined || last === undefined ? [] : [[first, last]];
  });
  return { range: [Number(from), Number(to)], reserved: ranges };
}

/** The ports of NodePorts as an API server's command line has them, where its pod can be seen; else the default. */
function nodePortsOf({ pods }: Inventory): Range {
  const texts = pods.flatMap(({ containers }) => containers.flatMap(({ flags }) => flags?.['service-node-port-range'] ?? []));
  const [, first, last, plus] = /^(\d+)(?:-(\d+)|\+(\d+))$/.exec(texts[0] ?? '') ?? [];
  if (first === undefined) return NODE_PORTS;
  return [Number(first), last === undefined ? Number(first) + Number(plus) : Number(last)];
}

/** The ip-masq-agent of a node, if it translates to random ports: from 2.10 on it does unless it is told not to. */
function masqueradingAgent({ pods }: Inventory, node: string): Container | null {
  const agents = pods.filter((pod) => pod.node === node && !pod.terminating).flatMap(({ containers }) => containers);
  return agents.find(({ image, flags }) => isRandom(image) && flags?.['random-fully'] !== 'false') ?? null;
}

function isRandom(image: string): boolean {
  const [, major, minor] = /(?:^|\/)ip-masq-agent(?:-[a-z0-9]+)?:v?(\d+)\.(\d+)/.exec(image) ?? [];
  return major !== undefined && (Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 10));
}

function overlap(node: string, [from, to]: Range, nodePorts: Range, count: number): Draft {
  // Above the NodePorts, where there is room; the kernel's own default begins right there.
  const wanted = nodePorts[1] + 1 < to - 1000 ? `${nodePorts[1] + 1} ${to}` : null;
  return {
    code: 'local-ports-overlap-node-ports',
    entity: nodeEntity(node),
    severity: 'warning',
    at: [{ place: nodePlace(node), point: 'output' }],
    harms: [],
    summary: `connections of ${node} get ports ${from} to ${to}, which overlap those of NodePorts, ${nodePorts[0]} to ${nodePorts[1]} (${services(count)})`,
    advice:
      'Find the sysctl file or program that sets net.ipv4.ip_local_port_range, and give it a range apart from the NodePorts.',
    evidence: [{ where: node, source: LOCAL_PORTS.files[0] ?? '', text: `${from} ${to}` }],
    ...(wanted === null ? {} : { remedy: { id: 'set-local-port-range', node, params: { range: wanted } } }),
  };
}

function random(node: string, { image }: Container, nodePorts: Range, count: number): Draft {
  return {
    code: 'masquerade-overlaps-node-ports',
    entity: nodeEntity(node),
    severity: 'warning',
    at: [{ place: nodePlace(node), point: 'postrouting' }],
    harms: [],
    summary: `ip-masq-agent on ${node} translates connections to random ports, those of NodePorts, ${nodePorts[0]} to ${nodePorts[1]}, among them (${services(count)})`,
    advice: 'From 2.11 on it takes --random-fully=false: set that in the arguments of its DaemonSet.',
    evidence: [{ where: 'API server', source: 'pods', text: `${image} without --random-fully=false` }],
  };
}

function services(count: number): string {
  return `${count} Service${count === 1 ? ' has' : 's have'} such ports`;
}
