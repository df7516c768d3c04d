import { nodeEntity } from '../../../model/entity.ts';
import { isWithin } from '../../kit/cidr.ts';
import { defineProbe, fromNode, oneWayToNode, type ProbeNode, probe } from '../../kit/probe.ts';

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
 * M1, M6: every node's address from every other node, by ICMP, by TCP to the kubelet and one way by UDP; by ARP where
 * nothing is answered, and not before: an ARP answer mends a stale entry, and would hide what there was to find.
 */
export const nodeToNode = defineProbe({
  id: 'node-to-node',
  row: 'M1',
  layer: 'L3',
  title: 'Node to node',
  why: 'Everything else rests on the nodes reaching each other.',
  plan: ({ pairs, count }) =>
    pairs.flatMap(([source, target]) => {
      const base = common(source, target);
      const tcp = probe(nodeToNode, {
        ...base,
        method: 'tcp',
        port: target.node.kubeletPort,
        layer: 'L4',
        listens: target.answers,
      });
      const ping = probe(nodeToNode, { ...base, method: 'ping', count, sibling: tcp.id });
      const prefix = source.network?.uplink?.addresses.find((address) => address.ip === source.ip)?.prefix;
      const onLink = prefix !== undefined && isWithin(target.ip, `${source.ip}/${prefix}`);
      return onLink
        ? [ping, tcp, probe(nodeToNode, { ...base, method: 'arp', layer: 'L2', count: 2, ifSilent: true })]
        : [ping, tcp];
    }),
  followUp(source, target) {
    const prefix = source.network?.uplink?.addresses.find((address) => address.ip === source.ip)?.prefix;
    const isOnLink = prefix !== undefined && isWithin(target.ip, `${source.ip}/${prefix}`);
    return isOnLink ? [probe(nodeToNode, { ...common(source, target), method: 'arp', layer: 'L2', count: 1 })] : [];
  },
  oneWay: (source, target, { count }) => oneWayToNode(nodeToNode, common(source, target), target, count),
});
