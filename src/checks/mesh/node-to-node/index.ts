import { nodeEntity } from '../../../model/entity.ts';
import { isWithin } from '../../kit/cidr.ts';
import { defineProbe, fromNode, oneWayToNode, type ProbeNode, pingAndTcp, probe } from '../../kit/probe.ts';

function common(source: ProbeNode, target: ProbeNode) {
  return {
    subject: nodeEntity(source.node.name),
    target: nodeEntity(target.node.name),
    from: fromNode(source),
    on: target.node.name,
    ip: target.ip,
  };
}

/**
 * Whether a node sends to another at the address of another card. It asks again with the next ARP packet between the two,
 * whoever sends it: then the fault is gone, and nobody has approved that.
 */
function isMisled({ neighbours }: ProbeNode, other: ProbeNode): boolean {
  const entry = neighbours.find(({ ip, state }) => ip === other.ip && state !== 'PERMANENT');
  const mac = other.network?.uplink?.mac ?? null;
  return entry !== undefined && entry.mac !== null && mac !== null && entry.mac !== mac;
}

/**
 * M1, M6: every node's address from every other node, by ICMP, by TCP to the kubelet and one way by UDP; by ARP where
 * nothing is answered, and not before: an ARP packet mends a stale entry, and would hide what there was to find. Where
 * such an entry is seen it is not asked by ARP at all: mending it is a remedy.
 */
export const nodeToNode = defineProbe({
  id: 'node-to-node',
  row: 'M1',
  layer: 'L3',
  title: 'Node to node',
  why: 'Everything else rests on the nodes reaching each other.',
  plan: ({ pairs, count }) =>
    pairs.flatMap(([source, target]) =>
      pingAndTcp(nodeToNode, common(source, target), { count }, { port: target.node.kubeletPort, listens: target.answers }),
    ),
  followUp(source, target) {
    const prefix = source.network?.uplink?.addresses.find((address) => address.ip === source.ip)?.prefix;
    const isOnLink = prefix !== undefined && isWithin(target.ip, `${source.ip}/${prefix}`);
    const isStale = isMisled(source, target) || isMisled(target, source);
    return isOnLink && !isStale ? [probe(nodeToNode, { ...common(source, target), method: 'arp', layer: 'L2', count: 1 })] : [];
  },
  oneWay: (source, target, { count }) => oneWayToNode(nodeToNode, common(source, target), target, count),
});
