import { podEntity } from '../../../model/entity.ts';
import { deniesOutbound } from '../../kit/policy.ts';
import { defineProbe, fromPod, probe } from '../../kit/probe.ts';
import { isLinkLocal, upstreamGroup, upstreamServers } from '../../kit/upstreams.ts';

/** So many DNS servers are enough to see whether packets of pods come back from outside. */
const MAX_SERVERS = 2;

/**
 * E1, E2: from netcheck's pod on every node to what every cluster has outside its pod network: the DNS servers that its
 * nodes ask, and the API server's own address. The node asks the same targets: what fails for the pod alone is its
 * address translation, or a filter.
 */
export const podToOutside = defineProbe({
  id: 'pod-to-outside',
  row: 'E1',
  layer: 'L4',
  title: 'Pod to the outside of the cluster',
  why: 'A pod’s own address is known inside the cluster only: without translation no answer comes back.',
  plan: ({ sources, inventory }) =>
    sources.flatMap((source) => {
      const pod = source.probePod;
      if (pod === null) return [];
      const common = { subject: podEntity(pod.namespace, pod.name), from: fromPod(source, pod) } as const;
      const nodeAt = (ip: string): string | null => inventory.nodes.find((node) => node.ip === ip)?.name ?? null;
      const servers = upstreamServers(inventory, source)
        .filter(({ ip }) => !isLinkLocal(ip) && nodeAt(ip) === null)
        .slice(0, MAX_SERVERS);
      const api = inventory.endpoints.find(
        ({ namespace, service, ready }) => namespace === 'default' && service === 'kubernetes' && ready,
      );
      const apiPort = api?.ports[0]?.port;
      return [
        ...servers.map((server) =>
          probe(podToOutside, {
            ...common,
            method: 'dns',
            target: { kind: 'Address', name: server.ip },
            on: null,
            ip: server.ip,
            port: server.port,
            name: server.zone,
            denied: deniesOutbound(inventory, pod, server.ip, 'UDP', server.port),
            group: upstreamGroup(server),
          }),
        ),
        ...(api === undefined || apiPort === undefined
          ? []
          : [
              probe(podToOutside, {
                ...common,
                method: 'tls',
                target: { kind: 'Address', name: api.ip },
                on: nodeAt(api.ip),
                ip: api.ip,
                port: apiPort,
                name: 'kubernetes.default.svc',
                denied: deniesOutbound(inventory, pod, api.ip, 'TCP', apiPort),
              }),
            ]),
      ];
    }),
});
