import { type Entity, nodeEntity, podEntity } from '../../../model/entity.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromNode, type ProbeNode, probe } from '../../kit/probe.ts';
import { apiServerAddresses, type WebhookBackend, type WebhookEndpoint, webhookBackends } from '../../kit/webhooks.ts';

/** Of a Service with many endpoints a few are asked, and of so many Services. */
const MAX_ENDPOINTS = 3;
const MAX_BACKENDS = 32;

/**
 * N24: a TLS handshake with what answers webhooks, from the nodes that API servers run on: through the Service, and with its
 * endpoints. Beside it from each endpoint's own node, which no policy may keep from it: what answers there and not to the
 * API server is blocked between the two.
 */
export const apiServerToWebhook = defineProbe({
  id: 'api-server-to-webhook',
  row: 'N24',
  layer: 'L7',
  title: 'API server to every webhook',
  why: 'What a webhook with failurePolicy Fail is asked about cannot be created or changed while the API server does not reach it.',
  plan: ({ sources, targets, inventory }) => {
    const addresses = apiServerAddresses(inventory);
    const isServer = (one: ProbeNode): boolean => [one.ip, ...one.addresses].some((ip) => addresses.has(ip));
    if (!targets.some(isServer)) return [];
    const backends = webhookBackends(inventory).slice(0, MAX_BACKENDS);
    return sources.flatMap((source) =>
      backends.flatMap((backend) => [
        ...(isServer(source) ? throughService(source, backend, inventory) : []),
        ...backend.endpoints
          .slice(0, MAX_ENDPOINTS)
          .filter(({ node }) => isServer(source) || node === source.node.name)
          .map((endpoint) => direct(source, backend, endpoint, inventory)),
      ]),
    );
  },
});

/** What no endpoint is ready to answer is no way to be probed. */
function throughService(source: ProbeNode, backend: WebhookBackend, inventory: Inventory) {
  const { namespace, name, asked, service, endpoints } = backend;
  if (service?.clusterIP == null || endpoints.length === 0) return [];
  const target: Entity = { kind: 'Service', namespace, name };
  return [
    probe(apiServerToWebhook, {
      ...handshake(source, { namespace, name }),
      target,
      on: null,
      ip: service.clusterIP,
      port: asked,
      // It may be led to any of them.
      denied: endpoints.map((endpoint) => denial(source, endpoint, inventory)).find((one) => one !== null) ?? null,
    }),
  ];
}

function podOf({ namespace, pod }: WebhookEndpoint, { pods }: Inventory) {
  return pods.find((candidate) => candidate.namespace === namespace && candidate.name === pod);
}

function denial({ node }: ProbeNode, endpoint: WebhookEndpoint, inventory: Inventory) {
  const pod = podOf(endpoint, inventory);
  return pod === undefined || pod.hostNetwork ? null : denies(inventory, node, pod, 'TCP', endpoint.port);
}

function direct(source: ProbeNode, backend: WebhookBackend, endpoint: WebhookEndpoint, inventory: Inventory) {
  const pod = podOf(endpoint, inventory);
  const node = inventory.nodes.find(({ name, ip }) => name === endpoint.node || ip === endpoint.ip);
  return probe(apiServerToWebhook, {
    ...handshake(source, backend),
    target: pod === undefined ? { kind: 'Address', name: `${endpoint.ip}:${endpoint.port}` } : podEntity(pod.namespace, pod.name),
    on: node?.name ?? null,
    ip: endpoint.ip,
    port: endpoint.port,
    denied: denial(source, endpoint, inventory),
  });
}

function handshake(source: ProbeNode, { namespace, name }: Pick<WebhookBackend, 'namespace' | 'name'>) {
  return {
    method: 'tls',
    subject: nodeEntity(source.node.name),
    from: fromNode(source),
    name: `${name}.${namespace}.svc`,
  } as const;
}
