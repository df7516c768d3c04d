import { nodeEntity } from '../../../model/entity.ts';
import { isWithin } from '../../kit/cidr.ts';
import { defineProbe, fromNode, probe } from '../../kit/probe.ts';

/** M1, M6: every node's address from every other node, by ICMP, by TCP to the kubelet, one way by UDP, and by ARP where ping is not answered. */
export const nodeToNode = defineProbe({
  id: 'node-to-node',
  row: 'M1',
  layer: 'L3',
  title: 'Node to node',
  why: 'Everything else rests on the nodes reaching each other.',
  plan: ({ pairs, count }) =>
    pairs.flatMap(([source, target]) => {
      const common = {
        subject: nodeEntity(source.node.name),
        target: nodeEntity(target.node.name),
        from: fromNode(source),
        on: target.node.name,
        ip: target.ip,
      };
      const tcp = probe(nodeToNode, {
        ...common,
        method: 'tcp',
        port: target.node.kubeletPort,
        layer: 'L4',
        listens: target.answers,
      });
      const ping = probe(nodeToNode, { ...common, method: 'ping', count, sibling: tcp.id });
      const prefix = source.network?.uplink?.addresses.find((address) => address.ip === source.ip)?.prefix;
      const onLink = prefix !== undefined && isWithin(target.ip, `${source.ip}/${prefix}`);
      const direct = onLink ? [ping, tcp, probe(nodeToNode, { ...common, method: 'arp', layer: 'L2', count: 2 })] : [ping, tcp];
      const { node: ports } = target.listening;
      if (ports === null) return direct;
      return [...direct, probe(nodeToNode, { ...common, method: 'udp', port: ports.udp, count, receiver: target.node.name })];
    }),
});
