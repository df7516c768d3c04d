import type { Inventory, InventoryGap, Warning } from '../../model/inventory.ts';
import type { ClusterResult } from '../port.ts';
import type { Api, Listed } from './api.ts';
import { readDnsLogs } from './logs.ts';
import {
  ConfigMapObject,
  EndpointSliceObject,
  NamespaceObject,
  NetworkPolicyObject,
  NodeObject,
  PodObject,
  ServiceObject,
  VersionObject,
  WarningObject,
  WebhookConfigurationObject,
} from './objects.ts';
import { CONFIG_MAPS } from './rights.ts';

const ADMISSION = '/apis/admissionregistration.k8s.io/v1';

/** Only said of the cluster, judged by nothing: no check misses it where it cannot be read. */
const DISPENSABLE = new Set(['kube-system/kubeadm-config']);

/** Warning events are read up to this many, and kept for so long and up to so many: the newest. */
const MAX_EVENTS = 5000;
const KEPT_MS = 3_600_000;
const MAX_WARNINGS = 1000;

type InventoryContext = {
  readonly api: Api;
  readonly cluster: string;
  readonly apiServer: string;
  readonly agentNamespace: string;
};

/** Reads everything at once. Fails only without Nodes; whatever else cannot be read becomes a gap with its reason. */
export async function readInventory(context: InventoryContext, signal: AbortSignal): Promise<ClusterResult<Inventory>> {
  const { api, cluster, apiServer, agentNamespace } = context;
  const gaps: InventoryGap[] = [];

  async function all<T>(what: string, reading: Promise<ClusterResult<Listed<T>>>): Promise<readonly T[]> {
    const result = await reading;
    if (!result.ok) {
      gaps.push({ what, reason: result.fault.message });
      return [];
    }
    const { items, unread, problem, isCut } = result.value;
    if (isCut) gaps.push({ what, reason: `there are more than the ${items.length + unread} that were read` });
    if (unread > 0) gaps.push({ what, reason: `${unread} of ${unread + items.length} could not be read: ${problem}` });
    return items;
  }

  const readAt = new Date();
  const nodeList = api.list('/api/v1/nodes', NodeObject, signal);
  const podList = all('pods', api.list('/api/v1/pods', PodObject, signal));
  const dnsLogs = Promise.all([nodeList, podList]).then(([listed, known]) =>
    readDnsLogs(api, known, listed.ok ? listed.value.items : [], signal),
  );
  const [nodes, pods, told, services, slices, policies, namespaces, mutating, validating, warnings, version, ...configs] =
    await Promise.all([
      nodeList,
      podList,
      dnsLogs,
      all('services', api.list('/api/v1/services', ServiceObject, signal)),
      all('endpointslices', api.list('/apis/discovery.k8s.io/v1/endpointslices', EndpointSliceObject, signal)),
      all('networkpolicies', api.list('/apis/networking.k8s.io/v1/networkpolicies', NetworkPolicyObject, signal)),
      all('namespaces', api.list('/api/v1/namespaces', NamespaceObject, signal)),
      all(
        'mutatingwebhookconfigurations',
        api.list(`${ADMISSION}/mutatingwebhookconfigurations`, WebhookConfigurationObject, signal),
      ),
      all(
        'validatingwebhookconfigurations',
        api.list(`${ADMISSION}/validatingwebhookconfigurations`, WebhookConfigurationObject, signal),
      ),
      all('events', api.list('/api/v1/events?fieldSelector=type%3DWarning', WarningObject, signal, MAX_EVENTS)),
      api.get('/version', VersionObject, signal),
      ...CONFIG_MAPS.map(async (key) => {
        const [namespace, name] = key.split('/');
        const result = await api.get(`/api/v1/namespaces/${namespace}/configmaps/${name}`, ConfigMapObject, signal);
        if (!result.ok && result.fault.kind !== 'not-found' && !DISPENSABLE.has(key))
          gaps.push({ what: `configmap ${key}`, reason: result.fault.message });
        return result.ok ? ([key, result.value] as const) : null;
      }),
    ]);

  if (!nodes.ok)
    return { ok: false, fault: { kind: nodes.fault.kind, message: `no nodes could be read: ${nodes.fault.message}` } };
  if (nodes.value.items.length === 0) {
    const reason =
      nodes.value.unread > 0 ? `${nodes.value.unread} were unreadable: ${nodes.value.problem}` : 'the cluster has none';
    return { ok: false, fault: { kind: 'invalid', message: `no nodes could be read: ${reason}` } };
  }
  const readNodes = await all('nodes', Promise.resolve(nodes));
  gaps.push(...told.gaps);
  if (!version.ok) gaps.push({ what: 'version', reason: version.fault.message });
  return {
    ok: true,
    value: {
      cluster,
      apiServer,
      version: version.ok ? version.value : 'unknown',
      agentNamespace,
      nodes: [...readNodes],
      pods: [...pods],
      services: [...services],
      endpoints: slices.flat(),
      policies: [...policies],
      namespaces: [...namespaces],
      configs: Object.fromEntries(configs.filter((entry) => entry !== null)),
      webhooks: [
        ...mutating.flat().map((webhook) => ({ kind: 'mutating' as const, ...webhook })),
        ...validating.flat().map((webhook) => ({ kind: 'validating' as const, ...webhook })),
      ],
      warnings: recent(warnings, readAt),
      logs: [...told.logs],
      readAt: readAt.toISOString(),
      gaps: gaps.sort((a, b) => (a.what < b.what ? -1 : 1)),
    },
  };
}

/** Events that were seen in the last hour, the newest first. What has no time that can be read is old. */
function recent(warnings: readonly Warning[], readAt: Date): Warning[] {
  return warnings
    .filter(({ lastSeen }) => Date.parse(lastSeen) >= readAt.getTime() - KEPT_MS)
    .sort((a, b) => Date.parse(b.lastSeen) - Date.parse(a.lastSeen))
    .slice(0, MAX_WARNINGS);
}
