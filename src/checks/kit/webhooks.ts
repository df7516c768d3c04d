import type { Entity } from '../../model/entity.ts';
import type { Citation } from '../../model/finding.ts';
import type { Endpoint, Inventory, Service, Warning, Webhook } from '../../model/inventory.ts';

/** An endpoint behind a webhook's Service, with the port that answers there. */
export type WebhookEndpoint = Endpoint & { readonly port: number };

/**
 * What answers webhooks: a port of a Service, the webhooks that call it, and the endpoints that are ready. `service` is null
 * where there is none of that name, `port` where it has no such port.
 */
export type WebhookBackend = {
  readonly namespace: string;
  readonly name: string;
  readonly asked: number;
  readonly webhooks: readonly Webhook[];
  readonly service: Service | null;
  readonly port: Service['ports'][number] | null;
  readonly endpoints: readonly WebhookEndpoint[];
};

/** The backends of all webhooks that are called through a Service, each once. */
export function webhookBackends({ webhooks, services, endpoints }: Inventory): readonly WebhookBackend[] {
  const byService = Map.groupBy(
    webhooks.flatMap((webhook) => (webhook.service === null ? [] : [{ ...webhook, service: webhook.service }])),
    ({ service: { namespace, name, port } }) => `${namespace}/${name}:${port}`,
  );
  return [...byService.values()].flatMap((called) => {
    const [first] = called;
    if (first === undefined) return [];
    const { namespace, name, port: asked } = first.service;
    const service = services.find((candidate) => candidate.namespace === namespace && candidate.name === name) ?? null;
    const port = service?.ports.find((candidate) => candidate.port === asked && candidate.protocol === 'TCP') ?? null;
    const ready = endpoints.flatMap((endpoint) => {
      if (endpoint.namespace !== namespace || endpoint.service !== name || !endpoint.ready || port === null) return [];
      const to = endpoint.ports.find((one) => one.name === port.name && one.protocol === 'TCP');
      return to === undefined ? [] : [{ ...endpoint, port: to.port }];
    });
    return [{ namespace, name, asked, webhooks: called, service, port, endpoints: ready }];
  });
}

/** The addresses that API servers say they are reached by. */
export function apiServerAddresses({ endpoints }: Inventory): ReadonlySet<string> {
  return new Set(
    endpoints.flatMap(({ namespace, service, ready, ip }) =>
      namespace === 'default' && service === 'kubernetes' && ready ? [ip] : [],
    ),
  );
}

/** The Service that answers a webhook. */
export function serviceEntity({ namespace, name }: Pick<WebhookBackend, 'namespace' | 'name'>): Entity {
  return { kind: 'Service', namespace, name };
}

/** What is refused, or waits, because of it. */
export function consequence(webhooks: readonly Webhook[]): string {
  const fail = webhooks.filter(({ failurePolicy }) => failurePolicy === 'Fail');
  if (fail.length > 0)
    return `the API server refuses what ${namesOf(fail)} ${fail.length > 1 ? 'are' : 'is'} asked about (failurePolicy Fail)`;
  const wait = Math.max(...webhooks.map(({ timeoutSeconds }) => timeoutSeconds));
  return `the API server goes on without ${namesOf(webhooks)} (failurePolicy Ignore), after up to ${wait} s each time`;
}

/** So many of anything are named. */
export const SHOWN = 3;

function namesOf(webhooks: readonly Webhook[]): string {
  return listed([...new Set(webhooks.map(({ name }) => name))]);
}

/** A few of many. */
export function listed(items: readonly string[]): string {
  return items.length > SHOWN ? `${items.slice(0, SHOWN).join(', ')} and ${items.length - SHOWN} more` : items.join(', ');
}

/** Whether something is refused without it. */
export function isFailing({ webhooks }: WebhookBackend): boolean {
  return webhooks.some(({ failurePolicy }) => failurePolicy === 'Fail');
}

/** A webhook as its configuration has it. */
export function configured({ kind, configuration, name, failurePolicy, timeoutSeconds }: Webhook): Citation {
  return {
    where: 'Kubernetes API',
    source: `${kind === 'mutating' ? 'Mutating' : 'Validating'}WebhookConfiguration ${configuration}`,
    text: `${name}: failurePolicy ${failurePolicy}, timeoutSeconds ${timeoutSeconds}`,
  };
}

const CALL = /failed calling webhook "([^"]+)":/;

/** Warnings of calls that failed, by the webhook's name. Source: k8s.io/apiserver, pkg/admission/plugin/webhook/errors. */
export function failedCalls({ warnings }: Inventory): ReadonlyMap<string, readonly Warning[]> {
  return Map.groupBy(
    warnings.filter(({ message }) => CALL.test(message)),
    ({ message }) => CALL.exec(message)?.[1] ?? '',
  );
}

/** What the API server said of calls to these webhooks. */
export function calls(webhooks: readonly Webhook[], failed: ReadonlyMap<string, readonly Warning[]>): readonly Citation[] {
  return webhooks.flatMap(({ name }) => (failed.get(name) ?? []).slice(0, 1).map(said)).slice(0, 2);
}

/** An event, in its own words. */
export function said({ namespace, kind, name, reason, message, count, lastSeen }: Warning): Citation {
  return {
    where: 'Kubernetes API',
    source: `Event ${reason} of ${kind} ${namespace}/${name}`,
    text: `${message} (${count === 1 ? 'once' : `${count} times`}, last ${lastSeen})`,
  };
}
