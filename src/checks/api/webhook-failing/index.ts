import { z } from 'zod';
import { type HopPattern, hostPlace, nodePlace } from '../../../model/hop.ts';
import type { Inventory, Warning, Webhook } from '../../../model/inventory.ts';
import { type Draft, defineCheck, ok } from '../../kit/check.ts';
import {
  apiServerAddresses,
  calls,
  configured,
  consequence,
  failedCalls,
  isFailing,
  listed,
  SHOWN,
  said,
  serviceEntity,
  type WebhookBackend,
  webhookBackends,
} from '../../kit/webhooks.ts';

/** N24. Source: kubernetes.io, "Dynamic Admission Control"; k8s.io/apiserver, pkg/admission/plugin/webhook, its errors. */
export const webhookFailing = defineCheck({
  id: 'webhook-failing',
  row: 'N24',
  layer: 'L4',
  scope: 'cluster',
  title: 'The API server cannot call a webhook',
  why: 'What a webhook with failurePolicy Fail is asked about can no longer be created or changed, though every node reaches every other.',
  codes: {
    'webhook-without-endpoints': 'Nobody is behind the Service of a webhook, or there is no such Service or port.',
    'webhook-call-failed': 'The API server said in an event that it could not call a webhook.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok(null),
  evaluate: (_facts, { inventory }) => {
    const failed = failedCalls(inventory);
    const at = servers(inventory);
    const without = webhookBackends(inventory)
      .filter((backend) => isWithout(backend, inventory))
      .map((backend) => ({ ...withoutEndpoints(backend, failed), at }));
    const told = new Set(without.map(({ entity }) => `${entity.namespace}/${entity.name}`));
    return [
      ...without,
      ...[...failed]
        .flatMap(([name, warnings]) => callFailed(name, warnings, inventory, told))
        .map((draft) => ({ ...draft, at })),
    ];
  },
});

/** The API servers themselves, which make the calls. */
function servers(inventory: Inventory): HopPattern[] {
  return [...apiServerAddresses(inventory)].map((ip) => {
    const node = inventory.nodes.find((candidate) => candidate.ip === ip);
    return { place: node === undefined ? hostPlace(ip) : nodePlace(node.name), point: 'socket' };
  });
}

/** Whether nobody can answer. Nothing is said where one of the lists could not be read. */
function isWithout({ endpoints }: WebhookBackend, { gaps }: Inventory): boolean {
  return endpoints.length === 0 && !gaps.some(({ what }) => what === 'services' || what === 'endpointslices');
}

function withoutEndpoints(backend: WebhookBackend, failed: ReadonlyMap<string, readonly Warning[]>): Omit<Draft, 'at'> {
  const { namespace, name, asked, service, port, webhooks } = backend;
  const what = `${namespace}/${name}`;
  const reason =
    service === null
      ? `there is no Service ${what}`
      : port === null
        ? `the Service ${what} has no port ${asked}/TCP`
        : `no endpoint of the Service ${what} is ready`;
  return {
    code: 'webhook-without-endpoints',
    entity: serviceEntity(backend),
    severity: isFailing(backend) ? 'critical' : 'warning',
    harms: [],
    summary: `${reason}: ${consequence(webhooks)}`,
    advice:
      service === null || port === null
        ? `If what it belonged to was removed, remove its configuration too: kubectl delete ${resourceOf(webhooks)}. Else mend the Service it names.`
        : `Get its pods ready again: kubectl -n ${namespace} get pods,endpointslices. If they cannot be created because of this very webhook, delete or relax it for the time being: ${resourceOf(webhooks)}.`,
    evidence: [
      ...webhooks.slice(0, SHOWN).map(configured),
      {
        where: 'Kubernetes API',
        source: service === null || port === null ? 'Services' : `EndpointSlices of ${what}`,
        text:
          service === null
            ? `no ${what}`
            : port === null
              ? `ports ${service.ports.map((one) => one.port).join(', ')}`
              : 'none ready',
      },
      ...calls(webhooks, failed),
    ],
  };
}

/** `KIND/NAME` of the configurations, as kubectl takes them. */
function resourceOf(webhooks: readonly Webhook[]): string {
  return listed([...new Set(webhooks.map(({ kind, configuration }) => `${kind}webhookconfiguration/${configuration}`))]);
}

/** What an error of a call says of its cause. */
function meaningOf(message: string, port: string): string {
  if (/x509|certificate/.test(message))
    return "It answered, with a certificate that the API server does not trust: the configuration's caBundle is out of date, and the network is not to blame.";
  if (/connection refused/.test(message)) return 'Its endpoint refuses connections: nothing listens there, the way is open.';
  if (/no endpoints available/.test(message)) return 'No endpoint of its Service was ready.';
  if (/no such host/.test(message)) return 'The API server could not resolve its name.';
  if (/deadline exceeded|i\/o timeout|no route to host|timed out/.test(message))
    return `No answer came: see that the network lets the control plane reach the nodes on ${port}, which in managed clusters is a firewall rule of your own; a webhook that hangs looks the same.`;
  return 'Its error says more.';
}

/** What events alone show; what is told of the same webhook already cites them. */
function callFailed(
  name: string,
  warnings: readonly Warning[],
  inventory: Inventory,
  told: ReadonlySet<string>,
): readonly Omit<Draft, 'at'>[] {
  const webhook = inventory.webhooks.find((candidate) => candidate.name === name);
  const [last] = warnings;
  if (last === undefined || (webhook?.service != null && told.has(`${webhook.service.namespace}/${webhook.service.name}`)))
    return [];
  const backend = webhookBackends(inventory).find(({ webhooks }) => webhooks.some((one) => one.name === name));
  const port = backend?.endpoints[0]?.port;
  const count = warnings.reduce((sum, warning) => sum + warning.count, 0);
  const where = webhook?.service ?? null;
  return [
    {
      code: 'webhook-call-failed',
      entity:
        where === null
          ? { kind: 'Cluster', name: inventory.cluster }
          : { kind: 'Service', namespace: where.namespace, name: where.name },
      severity: 'warning',
      harms: [],
      summary: `the API server could not call the webhook ${name}${where === null ? '' : ` (${where.namespace}/${where.name})`}, ${count === 1 ? 'once' : `${count} times`} within the last hour${webhook === undefined ? '' : `: ${consequence([webhook])}`}`,
      advice: meaningOf(last.message, port === undefined ? "the webhook's port" : `TCP ${port}`),
      evidence: [said(last), ...(webhook === undefined ? [] : [configured(webhook)])],
    },
  ];
}
