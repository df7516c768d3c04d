import { z } from 'zod';
import { type Entity, entityName } from '../../../model/entity.ts';
import type { Container, Inventory, Pod } from '../../../model/inventory.ts';
import { type Draft, defineCheck, ok } from '../../kit/check.ts';
import { podName } from '../../kit/pods.ts';

/** P7. Source: kubernetes.io, "Pod Lifecycle", termination of Pods; "Configure Liveness, Readiness and Startup Probes". */
export const rolloutHazards = defineCheck({
  id: 'rollout-hazards',
  row: 'P7',
  layer: 'L7',
  scope: 'cluster',
  title: 'A workload that loses connections when it is updated',
  why: 'Pods get traffic before they can serve it, or after they have ended: errors with every rolling update, and only then.',
  codes: {
    'rollout-without-readiness-probe':
      'A workload behind a Service that is being rolled out, or was named, has no readinessProbe.',
    'rollout-without-pre-stop': 'A workload behind a Service that is being rolled out, or was named, has no preStop hook.',
    'grace-shorter-than-pre-stop': 'The grace period of a workload is over before its preStop hook is.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok(null),
  evaluate: (_facts, { inventory, probed }) => {
    const named = new Set(
      probed
        .filter(({ probe, result }) => probe.check === 'named-pod' && result.status !== 'unknown')
        .map(({ probe }) => entityName(probe.target)),
    );
    const workloads = Map.groupBy(
      inventory.pods.filter((pod) => pod.workload !== null && pod.containers.length > 0),
      ({ namespace, workload }) => `${workload?.kind} ${namespace}/${workload?.name}`,
    );
    return [...workloads.values()].flatMap((pods) =>
      hazards(
        pods,
        inventory,
        pods.some((pod) => named.has(podName(pod))),
      ),
    );
  },
});

/**
 * What a pod lacks is told only while pods of its workload are being replaced, or when one was named: nearly every cluster has many that lack
 * it, and most are never noticed. A hook that cannot end in time is a mistake at any time.
 */
function hazards(pods: readonly Pod[], inventory: Inventory, isNamed: boolean): readonly Draft[] {
  const [newest] = pods.toSorted((a, b) => (b.startedAt ?? '').localeCompare(a.startedAt ?? ''));
  if (newest === undefined) return [];
  const own = newest.containers.filter(({ kind }) => kind === 'container');
  const slow = own.filter(({ preStop }) => (preStop?.seconds ?? 0) >= newest.graceSeconds);
  const serves = inventory.endpoints.some(
    ({ namespace, pod }) => namespace === newest.namespace && pods.some(({ name }) => name === pod),
  );
  const isTold = serves && (isNamed || pods.some(({ terminating }) => terminating));
  return [
    ...(slow.length > 0 ? [tooShort(newest, slow)] : []),
    ...(isTold && own.every(({ readiness }) => readiness === null) ? [withoutReadiness(newest, own)] : []),
    ...(isTold && own.every(({ preStop }) => preStop === null) ? [withoutPreStop(newest, own, inventory.version)] : []),
  ];
}

function draft(pod: Pod, rest: Pick<Draft, 'code' | 'summary' | 'advice'>, text: string): Draft {
  return {
    entity: entityOf(pod),
    severity: 'info',
    at: [],
    harms: [],
    evidence: [{ where: 'Kubernetes API', source: `Pod ${podName(pod)}, spec`, text }],
    ...rest,
  };
}

function entityOf({ namespace, name, workload }: Pod): Entity {
  const { kind } = workload ?? {};
  if (workload !== null && (kind === 'Deployment' || kind === 'DaemonSet')) return { kind, namespace, name: workload.name };
  return { kind: 'Pod', namespace, name };
}

/** `kubectl patch` of the pod template; other kinds of workload than those that have one are changed where they come from. */
function patchOf({ namespace, workload, name }: Pod, spec: object): string {
  const what = workload === null ? `pod ${name}` : `${workload.kind.toLowerCase()} ${workload.name}`;
  return `kubectl -n ${namespace} patch ${what} --type=strategic -p '${JSON.stringify({ spec: { template: { spec } } })}'`;
}

function tooShort(pod: Pod, slow: readonly Container[]): Draft {
  const seconds = Math.max(...slow.map(({ preStop }) => preStop?.seconds ?? 0));
  const wanted = seconds + 30;
  return draft(
    pod,
    {
      code: 'grace-shorter-than-pre-stop',
      summary: `the preStop hook of ${slow.map(({ name }) => name).join(', ')} in ${label(pod)} takes ${seconds} s, its grace period is ${pod.graceSeconds} s: the process is killed without time to end its connections`,
      advice: patchOf(pod, { terminationGracePeriodSeconds: wanted }),
    },
    `terminationGracePeriodSeconds ${pod.graceSeconds}; preStop ${slow.map(({ name, preStop }) => `${name} ${preStop?.kind} ${preStop?.seconds} s`).join(', ')}`,
  );
}

function withoutReadiness(pod: Pod, own: readonly Container[]): Draft {
  const [first] = own;
  const port = pod.ports[0]?.port ?? 8080;
  const readinessProbe = { httpGet: { path: '/', port }, periodSeconds: 5, timeoutSeconds: 3 };
  return draft(
    pod,
    {
      code: 'rollout-without-readiness-probe',
      summary: `${label(pod)} has no readinessProbe: when it is rolled out, new pods get connections as soon as their process exists, and refuse them until it listens`,
      advice: patchOf(pod, { containers: [{ name: first?.name, readinessProbe }] }),
    },
    `containers without readinessProbe: ${own.map(({ name }) => name).join(', ')}`,
  );
}

function withoutPreStop(pod: Pod, own: readonly Container[], version: string): Draft {
  const [first] = own;
  const seconds = Math.max(5, Math.min(15, pod.graceSeconds - 15));
  // The sleep action is on by default from 1.30 on; before, the image has to have the command.
  const hasSleep = Number(/^v1\.(\d+)/.exec(version)?.[1] ?? 0) >= 30;
  const preStop = hasSleep ? { sleep: { seconds } } : { exec: { command: ['sleep', String(seconds)] } };
  return draft(
    pod,
    {
      code: 'rollout-without-pre-stop',
      summary: `${label(pod)} has no preStop hook: when it is rolled out, old pods end while nodes still send to them, and new connections are refused`,
      advice: patchOf(pod, { containers: [{ name: first?.name, lifecycle: { preStop } }] }),
    },
    `containers without preStop: ${own.map(({ name }) => name).join(', ')}; terminationGracePeriodSeconds ${pod.graceSeconds}`,
  );
}

function label({ namespace, workload, name }: Pod): string {
  return workload === null ? `the pod ${namespace}/${name}` : `the ${workload.kind} ${namespace}/${workload.name}`;
}
