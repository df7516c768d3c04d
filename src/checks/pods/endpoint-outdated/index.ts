import { z } from 'zod';
import { entityName, podEntity } from '../../../model/entity.ts';
import { type HopPattern, nodePlace, podPlace } from '../../../model/hop.ts';
import type { Endpoint, Inventory, Pod } from '../../../model/inventory.ts';
import type { PodState } from '../../../model/wire/agent.ts';
import { type Draft, defineCheck } from '../../kit/check.ts';
import { parsePods, podName } from '../../kit/pods.ts';
import { PODS } from '../../kit/readings.ts';

/** How long after a pod's deletion its endpoint may still be told as ready, and how long after its grace period it may be there. */
const SLICE_LAG_MS = 10_000;
const OVERDUE_MS = 60_000;

/** P6. Source: kubernetes.io, "Pod Lifecycle", termination of Pods; "EndpointSlices", conditions. */
export const endpointOutdated = defineCheck({
  id: 'endpoint-outdated',
  row: 'P6',
  layer: 'L4',
  scope: 'cluster',
  title: 'A Service sends to a pod that is gone or going',
  why: 'During a rolling update connections are refused while the old process ends, reset when it is killed, and time out or find no route once its address is gone.',
  codes: {
    'endpoint-without-pod':
      'An EndpointSlice says that an address is ready which no pod has: connections time out or find no route.',
    'endpoint-of-terminating-pod':
      'An EndpointSlice says that a pod is ready which is being deleted: connections are refused or reset.',
    'pod-overdue': 'A pod is still there though its grace period is over.',
  },
  params: z.strictObject({}),
  collect: { pods: PODS },
  parse: ({ pods }) => parsePods(pods),
  evaluate: (facts: ReadonlyMap<string, PodState>, { inventory }) => {
    const held = new Set([...facts.values()].flatMap(({ namespaces }) => namespaces.flatMap(({ addresses }) => addresses)));
    const pods = new Map(inventory.pods.map((pod) => [podName(pod), pod]));
    const endpoints = inventory.endpoints.filter(({ ready, terminating }) => ready && !terminating);
    const gone = endpoints.filter(
      ({ namespace, pod, ip }) =>
        pod !== null && !pods.has(podName({ namespace, name: pod })) && !held.has(ip) && !isHeld(ip, inventory),
    );
    const going = endpoints.flatMap((endpoint) => {
      const pod = endpoint.pod === null ? undefined : pods.get(podName({ namespace: endpoint.namespace, name: endpoint.pod }));
      return pod !== undefined && pod.ip === endpoint.ip && since(deletedAt(pod), inventory) >= SLICE_LAG_MS
        ? [{ endpoint, pod }]
        : [];
    });
    const overdue = inventory.pods.filter((pod) => pod.deleteBy !== null && since(pod.deleteBy, inventory) >= OVERDUE_MS);
    return [
      ...byService(gone).map((group) => withoutPod(group, inventory)),
      ...byService(going.map(({ endpoint }) => endpoint)).map((group) => terminating(group, inventory)),
      ...[...Map.groupBy(overdue, ({ node }) => node).values()].map((group) => late(group, inventory)),
    ];
  },
});

function isHeld(ip: string, { pods, nodes }: Inventory): boolean {
  return pods.some((pod) => pod.ip === ip) || nodes.some((node) => node.ip === ip);
}

/** When a pod's deletion was asked for: its deletionTimestamp is later by the grace period. Null when it is not. */
function deletedAt({ deleteBy, graceSeconds }: Pod): string | null {
  return deleteBy === null ? null : new Date(Date.parse(deleteBy) - graceSeconds * 1000).toISOString();
}

/** Milliseconds from a time to when the API server was asked; -1 where either is not known. */
function since(time: string | null, { readAt }: Inventory): number {
  const ms = time === null ? Number.NaN : Date.parse(readAt) - Date.parse(time);
  return Number.isNaN(ms) ? -1 : ms;
}

function byService(endpoints: readonly Endpoint[]): readonly (readonly Endpoint[])[] {
  return [...Map.groupBy(endpoints, ({ namespace, service }) => `${namespace}/${service}`).values()];
}

/** What a finding of one Service has in common. */
function ofService(group: readonly Endpoint[]): Pick<Draft, 'entity' | 'harms' | 'evidence'> {
  const [first] = group;
  const { namespace = '', service = '' } = first ?? {};
  return {
    entity: { kind: 'Service', namespace, name: service },
    harms: group.map(({ ip }) => ({ dst: ip, state: 'new' })),
    evidence: group.slice(0, SHOWN).map(({ ip, pod, node, ready }) => ({
      where: 'Kubernetes API',
      source: `EndpointSlices of ${namespace}/${service}`,
      text: `${ip} ready ${ready}, targetRef Pod ${pod ?? 'none'}, node ${node ?? 'none'}`,
    })),
  };
}

const SHOWN = 3;

function listed(items: readonly string[]): string {
  return items.length > SHOWN ? `${items.slice(0, SHOWN).join(', ')} and ${items.length - SHOWN} more` : items.join(', ');
}

function withoutPod(group: readonly Endpoint[], inventory: Inventory): Draft {
  const common = ofService(group);
  const nodes = new Set(inventory.nodes.map(({ name }) => name));
  const at = group.flatMap(({ node }): HopPattern[] =>
    node !== null && nodes.has(node) ? [{ place: nodePlace(node), point: 'socket' }] : [],
  );
  return {
    ...common,
    code: 'endpoint-without-pod',
    ...(at.length === 0 ? { at: [], harms: [], severity: 'info' } : { at }),
    summary: `the Service ${entityName(common.entity)} sends to ${listed(group.map(({ ip, pod }) => `${ip} (${pod})`))}, which no pod has any more: connections there time out or find no route`,
    advice:
      'The endpoint slice controller did not take the address out: look at kube-controller-manager and its connection to the API server; whoever manages these EndpointSlices instead has to remove it.',
  };
}

function terminating(group: readonly Endpoint[], inventory: Inventory): Draft {
  const common = ofService(group);
  return {
    ...common,
    code: 'endpoint-of-terminating-pod',
    severity: 'warning',
    certainty: 'suspect',
    partial: true,
    at: group.map(({ namespace, pod }) => ({ place: podPlace(namespace, pod ?? ''), point: 'socket' })),
    summary: `the Service ${entityName(common.entity)} still sends to ${listed(group.map(({ ip, pod }) => `${pod} (${ip})`))}, which is being deleted: connections there are refused once its process ends, those it has are reset`,
    advice: `Its EndpointSlice was not updated within ${SLICE_LAG_MS / 1000} s of the deletion: look at kube-controller-manager. A preStop hook that sleeps longer than the update takes hides the gap.`,
    evidence: [
      ...(common.evidence ?? []),
      ...inventory.pods
        .filter((pod) => group.some(({ namespace, pod: name }) => pod.namespace === namespace && pod.name === name))
        .slice(0, SHOWN)
        .map((pod) => ({
          where: 'Kubernetes API',
          source: `Pod ${podName(pod)}, deletionTimestamp`,
          text: `${pod.deleteBy}, read at ${inventory.readAt}`,
        })),
    ],
  };
}

function late(group: readonly Pod[], inventory: Inventory): Draft {
  const [first] = group;
  const node = inventory.nodes.find(({ name }) => name === first?.node);
  const readiness = node?.conditions.find(({ type }) => type === 'Ready');
  const isNodeGone = node !== undefined && node.ready !== 'True';
  return {
    code: 'pod-overdue',
    entity: podEntity(first?.namespace ?? '', first?.name ?? ''),
    severity: 'warning',
    at: group.map(({ namespace, name }) => ({ place: podPlace(namespace, name), point: 'socket' })),
    harms: [],
    summary: `${listed(group.map(podName))} on ${first?.node ?? 'no node'} should be gone since ${first?.deleteBy}, after its grace period, and is not${isNodeGone ? `: the node is not ready (${readiness?.reason || node.ready})` : ''}`,
    advice: isNodeGone
      ? 'The kubelet cannot say that the pod has ended: mend the node, or remove it from the cluster.'
      : 'See what holds it: finalizers (kubectl get pod -o yaml), a volume that cannot be unmounted, a process in uninterruptible sleep, the runtime on the node.',
    evidence: group.slice(0, SHOWN).map((pod) => ({
      where: 'Kubernetes API',
      source: `Pod ${podName(pod)}, deletionTimestamp`,
      text: `${pod.deleteBy}, read at ${inventory.readAt}`,
    })),
  };
}
