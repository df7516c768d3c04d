import { type Entity, nodeEntity, podEntity } from '../../../model/entity.ts';
import { deniesOutbound } from '../../kit/policy.ts';
import { defineProbe, fromNode, fromPod, probe } from '../../kit/probe.ts';

/**
 * M5: a TLS handshake with the API server, through its Service and directly, from every node and through the Service
 * from netcheck's pod: what fails one way only is kube-proxy's, not the network's.
 */
export const kubernetesService = defineProbe({
  id: 'kubernetes-service',
  row: 'M5',
  layer: 'L7',
  title: 'The API server, through its Service and directly',
  why: 'Controllers and CNI agents stop working when they cannot reach the API server.',
  plan: ({ sources, inventory }) => {
    const service = inventory.services.find(({ namespace, name }) => namespace === 'default' && name === 'kubernetes');
    const servers = inventory.endpoints.filter(
      (endpoint) => endpoint.namespace === 'default' && endpoint.service === 'kubernetes' && endpoint.ready,
    );
    const name = 'kubernetes.default.svc';
    const target: Entity = { kind: 'Service', namespace: 'default', name: 'kubernetes' };
    return sources.flatMap((source) => {
      const direct = servers.flatMap((endpoint) =>
        endpoint.ports.slice(0, 1).map(({ port }) =>
          probe(kubernetesService, {
            method: 'tls',
            subject: nodeEntity(source.node.name),
            target: { kind: 'Address', name: endpoint.ip },
            from: fromNode(source),
            on: endpoint.node,
            ip: endpoint.ip,
            port,
            name,
          }),
        ),
      );
      const port = service?.ports[0]?.port;
      if (service?.clusterIP == null || port === undefined) return direct;
      const common = { method: 'tls', target, on: null, ip: service.clusterIP, port, name } as const;
      const pod = source.probePod;
      // A policy is about the server's own address: the Service's is translated before it is looked at.
      const denials =
        pod === null
          ? []
          : servers.flatMap(({ ip, ports }) =>
              ports.slice(0, 1).flatMap((to) => deniesOutbound(inventory, pod, ip, 'TCP', to.port) ?? []),
            );
      return [
        ...direct,
        probe(kubernetesService, { ...common, subject: nodeEntity(source.node.name), from: fromNode(source) }),
        ...(pod === null
          ? []
          : [
              probe(kubernetesService, {
                ...common,
                subject: podEntity(pod.namespace, pod.name),
                from: fromPod(source, pod),
                denied: denials[0] ?? null,
              }),
            ]),
      ];
    });
  },
});
