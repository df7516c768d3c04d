import { nodeEntity } from '../../../model/entity.ts';
import { defineProbe, fromNode, probe } from '../../kit/probe.ts';
import { upstreamGroup, upstreamServers } from '../../kit/upstreams.ts';

/**
 * D4: each DNS server outside that a node's resolv.conf or the Corefile names, asked by itself from every node. The
 * question is one that works in a closed network too: for the name servers of the root, or of the zone that the Corefile
 * forwards to it. Any answer shows that the server is there.
 */
export const upstreamDns = defineProbe({
  id: 'upstream-dns',
  row: 'D4',
  layer: 'DNS',
  title: 'Every DNS server outside, from every node',
  why: 'Names outside the cluster come from these servers; one that is silent makes lookups slow or fail now and then.',
  plan: ({ sources, inventory }) =>
    sources.flatMap((source) =>
      upstreamServers(inventory, source).map((server) =>
        probe(upstreamDns, {
          method: 'dns',
          subject: nodeEntity(source.node.name),
          target: { kind: 'Address', name: server.ip },
          from: fromNode(source),
          on: inventory.nodes.find(({ ip }) => ip === server.ip)?.name ?? null,
          ip: server.ip,
          port: server.port,
          name: server.zone,
          group: upstreamGroup(server),
        }),
      ),
    ),
});
