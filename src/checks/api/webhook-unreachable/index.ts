import { z } from 'zod';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace, podPlace } from '../../../model/hop.ts';
import type { Inventory, Warning } from '../../../model/inventory.ts';
import { type Draft, defineCheck, ok, type Probed } from '../../kit/check.ts';
import {
  calls,
  configured,
  consequence,
  failedCalls,
  isFailing,
  listed,
  SHOWN,
  serviceEntity,
  type WebhookBackend,
  type WebhookEndpoint,
  webhookBackends,
} from '../../kit/webhooks.ts';

/** N24. Source: kubernetes.io, "Dynamic Admission Control"; k8s.io/apiserver, pkg/util/webhook. */
export const webhookUnreachable = defineCheck({
  id: 'webhook-unreachable',
  row: 'N24',
  layer: 'L4',
  scope: 'cluster',
  title: 'The API server does not reach a webhook',
  why: 'What a webhook with failurePolicy Fail is asked about can no longer be created or changed, though every node reaches every other.',
  codes: {
    'webhook-blocked': 'A webhook answers on its own node, and not to the nodes of the API servers: something between drops it.',
    'webhook-refused': 'An endpoint of a webhook is ready, and refuses connections.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok(null),
  evaluate: (_facts, { inventory, probed }) => {
    const failed = failedCalls(inventory);
    const asked = probed.filter(({ probe, result }) => probe.check === 'api-server-to-webhook' && result.status !== 'unknown');
    return webhookBackends(inventory).flatMap((backend) => [
      ...blocked(backend, asked, failed, (server, endpoint) => isReached(server, endpoint, probed, inventory)),
      ...refused(backend, asked, failed, inventory),
    ]);
  },
});

/** The handshakes with one endpoint: from the nodes of API servers, and from its own. */
function askedAt(asked: readonly Probed[], { ip, port }: WebhookEndpoint): readonly Probed[] {
  return asked.filter(({ probe }) => probe.to.ip === ip && probe.to.port === port && probe.expect === 'reach');
}

function isSilent({ result }: Probed): boolean {
  return result.status === 'fail' && result.delivered === 0 && result.how !== 'refused' && result.how !== 'reset';
}

/** Whether an API server's node reaches others there: the pods of the endpoint's node, or the node itself. */
function isReached(server: string, { ip, node }: WebhookEndpoint, probed: readonly Probed[], { nodes }: Inventory): boolean {
  const kind = nodes.some((candidate) => candidate.ip === ip) ? 'node-to-node' : 'node-to-pod';
  return probed.some(
    ({ probe, result }) =>
      probe.check === kind && probe.from.node === server && probe.to.node === node && result.status === 'pass',
  );
}

/** Endpoints that answer on their own node and not to a node of an API server. */
function blocked(
  backend: WebhookBackend,
  asked: readonly Probed[],
  failed: ReadonlyMap<string, readonly Warning[]>,
  isNodeReached: (server: string, endpoint: WebhookEndpoint) => boolean,
): readonly Draft[] {
  const ways = backend.endpoints.flatMap((endpoint) => {
    const { node } = endpoint;
    const own = askedAt(asked, endpoint);
    const answered = own.filter(({ probe, result }) => result.delivered > 0 && probe.from.node === node);
    return node === null || answered.length === 0
      ? []
      : own
          .filter((item) => isSilent(item) && isNodeReached(item.probe.from.node, endpoint))
          .map((silent) => ({ endpoint, node, silent, answered }));
  });
  const [first] = ways;
  if (first === undefined) return [];
  const servers = [...new Set(ways.map(({ silent }) => silent.probe.from.node))];
  const ports = [...new Set(ways.map(({ endpoint }) => `TCP ${endpoint.port}`))].join(', ');
  const { namespace, name, webhooks } = backend;
  return [
    {
      code: 'webhook-blocked',
      entity: serviceEntity(backend),
      certainty: 'inferred',
      severity: isFailing(backend) ? 'critical' : 'warning',
      at: ways.flatMap(({ silent, node }) => {
        const [a, b] = [nodePlace(silent.probe.from.node), nodePlace(node)];
        return [`${a}>${b}`, `${b}>${a}`].map((via) => ({ place: 'net', point: 'wire' as const, via }));
      }),
      harms: ways.flatMap(({ endpoint: { ip, port } }) => [
        { proto: 'tcp' as const, dst: ip, dport: port },
        { proto: 'tcp' as const, src: ip, sport: port },
      ]),
      summary: `${listed(servers)}, where the API server runs, ${servers.length > 1 ? 'do' : 'does'} not reach the webhook ${namespace}/${name} at ${listed(ways.map(({ endpoint: { ip, port } }) => `${ip}:${port}`))}, which answers on its own node: ${consequence(webhooks)}`,
      advice: `Between the control plane and the nodes something drops ${ports}, and no rule on the nodes does: let it through in the firewall there (security group, firewall zone), from the control plane to all nodes that the webhook may run on.`,
      evidence: [
        ...[...new Set(ways.flatMap(({ silent, answered }) => [silent, ...answered]))].slice(0, 4).map(citation),
        ...webhooks.slice(0, SHOWN).map(configured),
        ...calls(webhooks, failed),
      ],
    },
  ];
}

function citation({ probe, result }: Probed): Citation {
  return { where: probe.from.node, source: probe.id, text: result.detail ?? result.how ?? '' };
}

/** Endpoints that refuse whoever asks. */
function refused(
  backend: WebhookBackend,
  asked: readonly Probed[],
  failed: ReadonlyMap<string, readonly Warning[]>,
  inventory: Inventory,
): readonly Draft[] {
  const { namespace, name, webhooks } = backend;
  const refusing = backend.endpoints.flatMap((endpoint) => {
    const own = askedAt(asked, endpoint);
    const isRefused = own.length > 0 && own.every(({ result }) => result.status === 'fail' && result.how === 'refused');
    return isRefused ? [{ endpoint, own }] : [];
  });
  if (refusing.length === 0) return [];
  const left = backend.endpoints.length - refusing.length;
  return [
    {
      code: 'webhook-refused',
      entity: serviceEntity(backend),
      certainty: 'inferred',
      severity: isFailing(backend) ? 'critical' : 'warning',
      at: refusing.flatMap(({ endpoint }) => {
        const place = placeOf(endpoint, inventory);
        return place === null ? [] : [{ place, point: 'socket' as const }];
      }),
      harms: refusing.map(({ endpoint: { port } }) => ({ proto: 'tcp', dport: port })),
      summary: `${listed(refusing.map(({ endpoint: { ip, port } }) => `${ip}:${port}`))}, ready behind the webhook ${namespace}/${name}, ${refusing.length > 1 ? 'refuse' : 'refuses'} connections, from its own node as from the API server: ${left > 0 ? `of ${backend.endpoints.length} endpoints ${left} ${left > 1 ? 'are' : 'is'} left; when it is picked, ` : ''}${consequence(webhooks)}`,
      advice: `Nothing listens there, so this is no firewall: look at the log of its process, and at its readiness probe, which says that it is ready.`,
      evidence: [
        ...refusing
          .flatMap(({ own }) => own)
          .slice(0, 4)
          .map(citation),
        ...webhooks.slice(0, SHOWN).map(configured),
        ...calls(webhooks, failed),
      ],
    },
  ];
}

/** Whose socket refuses: the pod's own, or the node's where the endpoint has its address. */
function placeOf({ namespace, pod, ip }: WebhookEndpoint, { nodes }: Inventory): string | null {
  const node = nodes.find((candidate) => candidate.ip === ip);
  if (node !== undefined) return nodePlace(node.name);
  return pod === null ? null : podPlace(namespace, pod);
}
