import { entityName, nodeEntity, podEntity } from '../../../model/entity.ts';
import type { Inventory, Node, Pod } from '../../../model/inventory.ts';
import type { Probe } from '../../../model/probe.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromNode, fromPod, type ProbeContext, type ProbeDraft, type ProbeNode, probe } from '../../kit/probe.ts';

/** As many TCP ports of the pod are connected to, those that Services send to first. */
const MAX_PORTS = 8;

/** The pod that somebody asked about, from its own node and every other one, from nodes and from netcheck's pods. */
export const namedPod = defineProbe({
  id: 'named-pod',
  row: 'P4, P6, P9',
  layer: 'L3',
  title: 'To the pod that was named',
  why: 'What everything else rests on may be well and this pod still be out of reach: its ports are connected to, from everywhere.',
  plan: ({ named, sources, pairs, inventory, count }: ProbeContext) => {
    if (named === null || named.phase !== 'Running') return [];
    const own = sources.filter(({ node }) => node.name === named.node);
    const peers = pairs.flatMap(([source, target]) => (target.node.name === named.node ? [source] : []));
    const ports = portsOf(named, inventory);
    return [...new Map([...own, ...peers].map((source) => [source.node.name, source])).values()].flatMap((source) => [
      ...toPod(source.node, { subject: nodeEntity(source.node.name), from: fromNode(source) }, named, ports, inventory, count),
      ...fromProbePod(source, named, ports, inventory, count),
    ]);
  },
});

type Target = Pod & { readonly ip: string };
type Aim = { readonly port: number; readonly listens: boolean };

/**
 * The TCP ports to connect to. Where a Service sends, something has to listen; what a pod only declares it need not
 * serve, and without any port the kubelet's number does: a refusal shows that the pod was reached.
 */
function portsOf(pod: Target, { endpoints, nodes }: Inventory): readonly Aim[] {
  const served = endpoints
    .filter((endpoint) => endpoint.pod === pod.name && endpoint.namespace === pod.namespace && endpoint.ip === pod.ip)
    .flatMap(({ ports }) => ports.filter(({ protocol }) => protocol === 'TCP').map(({ port }) => ({ port, listens: true })));
  const declared = pod.ports.filter(({ protocol }) => protocol === 'TCP').map(({ port }) => ({ port, listens: false }));
  const known = [...new Map([...declared, ...served].map((aim) => [aim.port, aim])).values()];
  const ordered = known.toSorted((a, b) => Number(b.listens) - Number(a.listens) || a.port - b.port).slice(0, MAX_PORTS);
  const fallback = nodes.find(({ name }) => name === pod.node)?.kubeletPort ?? 10_250;
  return ordered.length > 0 ? ordered : [{ port: fallback, listens: false }];
}

function fromProbePod(
  source: ProbeNode,
  named: Target,
  ports: readonly Aim[],
  inventory: Inventory,
  count: number,
): readonly Probe[] {
  const pod = source.probePod;
  if (pod === null || pod.uid === named.uid) return [];
  const start = { subject: podEntity(pod.namespace, pod.name), from: fromPod(source, pod) };
  return toPod(pod, start, named, ports, inventory, count);
}

function toPod(
  source: Pod | Node,
  start: Pick<ProbeDraft, 'subject' | 'from'>,
  named: Target,
  ports: readonly Aim[],
  inventory: Inventory,
  count: number,
): readonly Probe[] {
  const ends = { ...start, target: podEntity(named.namespace, named.name), on: named.node, ip: named.ip };
  const connections = ports.map(({ port, listens }) => {
    const denied = named.hostNetwork ? null : denies(inventory, source, named, 'TCP', port);
    const connection = probe(namedPod, { ...ends, method: 'tcp', layer: 'L4', port, listens, denied });
    return {
      ...connection,
      id: `${namedPod.id} tcp ${port} ${entityName(ends.subject)} > ${entityName(ends.target)} ${named.ip}`,
    };
  });
  const [first] = connections;
  const denied = named.hostNetwork ? null : denies(inventory, source, named, 'ICMP');
  const ping = probe(namedPod, { ...ends, method: 'ping', count, denied, ...(first === undefined ? {} : { sibling: first.id }) });
  return [ping, ...connections];
}
