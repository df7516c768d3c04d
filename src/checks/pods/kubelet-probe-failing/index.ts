import { z } from 'zod';
import type { Entity } from '../../../model/entity.ts';
import { podPlace } from '../../../model/hop.ts';
import type { Container, Inventory, Pod, ProbeSpec, Warning } from '../../../model/inventory.ts';
import { type Draft, defineCheck, ok } from '../../kit/check.ts';
import { podName } from '../../kit/pods.ts';

/** How often a probe has to have failed, how lately, and how long after its container started, to be told. */
const LEAST = 3;
const LATELY_MS = 15 * 60_000;
const STARTED_MS = 120_000;

/** How a probe failed, by what the kubelet wrote. Source: kubernetes pkg/kubelet/prober/prober.go, pkg/probe/http, tcp, grpc. */
const CLASSES = [
  {
    id: 'timeout',
    text: /deadline exceeded|timeout|timed out/i,
    words: 'timed out',
    advice: (spec: string) =>
      `The kubelet asks from the node that the pod is on, so no link between nodes is involved: look at the pod's CPU limit and throttling, at its accept queue, and whether ${spec} is enough.`,
  },
  {
    id: 'refused',
    text: /connection refused/i,
    words: 'were refused',
    advice: () =>
      'Nothing listened on the port at that moment: look at restarts of the process inside its container, and at the port of the probe.',
  },
  {
    id: 'no-route',
    text: /no route to host|network is unreachable|host is unreachable/i,
    words: 'found no route',
    advice: () => 'The node does not reach its own pod: look at the routes and the veth pair of the pod on this node.',
  },
  {
    id: 'error',
    text: /statuscode|HTTP\/\d/i,
    words: 'were answered with an error',
    advice: () => 'The process answers and says that it is not well: the network is fine, look at its log.',
  },
] as const;

type Failing = {
  readonly warning: Warning;
  readonly pod: Pod;
  readonly container: Container;
  readonly probe: 'Readiness' | 'Liveness';
  readonly kind: (typeof CLASSES)[number];
};

/** P8. */
export const kubeletProbeFailing = defineCheck({
  id: 'kubelet-probe-failing',
  row: 'P8',
  layer: 'L7',
  scope: 'cluster',
  title: "The kubelet's probes of a pod fail now and then",
  why: 'A pod that misses its readiness probe drops out of its Services, one that misses its liveness probe is restarted: errors that come and go.',
  codes: {
    'kubelet-probe-failing': 'Readiness or liveness probes of pods that have been running for a while failed lately.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok(null),
  evaluate: (_facts, { inventory }) => {
    const failing = inventory.warnings.flatMap((warning) => failureOf(warning, inventory));
    const groups = Map.groupBy(
      failing,
      ({ pod, probe, kind }) => `${pod.namespace} ${pod.workload?.kind} ${pod.workload?.name ?? pod.name} ${probe} ${kind.id}`,
    );
    return [...groups.values()].filter((group) => countOf(group) >= LEAST).map(describe);
  },
});

/** What an event says of a probe. While a pod starts, and when it ends, its probes are expected to fail. */
function failureOf(warning: Warning, { pods, readAt }: Inventory): readonly Failing[] {
  const [, probe, said = ''] = /^(Readiness|Liveness) probe (?:failed|errored)[^:]*: (.*)/s.exec(warning.message) ?? [];
  const kind = CLASSES.find(({ text }) => text.test(said));
  const pod = pods.find(({ namespace, name }) => namespace === warning.namespace && name === warning.name);
  if (warning.kind !== 'Pod' || warning.reason !== 'Unhealthy' || kind === undefined || pod === undefined || pod.terminating)
    return [];
  if (probe !== 'Readiness' && probe !== 'Liveness') return [];
  const container = pod.containers.find((candidate) => specOf(candidate, probe) !== null);
  if (container?.startedAt == null) return [];
  const seen = Date.parse(warning.lastSeen);
  const isLate = seen - Date.parse(container.startedAt) >= STARTED_MS && Date.parse(readAt) - seen <= LATELY_MS;
  return isLate ? [{ warning, pod, container, probe, kind }] : [];
}

function specOf({ readiness, liveness }: Container, probe: Failing['probe']): ProbeSpec | null {
  return probe === 'Readiness' ? readiness : liveness;
}

function countOf(group: readonly Failing[]): number {
  return group.reduce((sum, { warning }) => sum + warning.count, 0);
}

function describe(group: readonly Failing[]): Draft {
  const [first] = group;
  if (first === undefined) throw new TypeError('a group is never empty');
  const { pod, probe, kind, container } = first;
  const spec = specOf(container, probe);
  const timing = `timeoutSeconds ${spec?.timeoutSeconds}`;
  const pods = [...new Map(group.map((item) => [podName(item.pod), item.pod])).values()];
  const names = pods.slice(0, SHOWN).map((one) => `${podName(one)} on ${one.node ?? 'no node'}`);
  const nodes = new Set(pods.map(({ node }) => node));
  const where = `${names.join(', ')}${pods.length > SHOWN ? ` and ${pods.length - SHOWN} more pods` : ''}`;
  const last = group
    .map(({ warning }) => warning.lastSeen)
    .toSorted()
    .at(-1);
  return {
    code: 'kubelet-probe-failing',
    entity: entityOf(pod),
    severity: 'warning',
    at: pods.map(({ namespace, name }) => ({ place: podPlace(namespace, name), point: 'socket' })),
    harms: [],
    summary: `${probe.toLowerCase()} probes (${specText(spec)}) ${kind.words} ${countOf(group)} times within the last hour, last at ${last}, in ${where}${pods.length > 1 && nodes.size === 1 ? '; all of these pods are on one node' : ''}`,
    advice: kind.advice(timing),
    evidence: group.slice(0, SHOWN).map(({ warning }) => ({
      where: 'Kubernetes API',
      source: `Event of ${warning.namespace}/${warning.name}, ${warning.source}`,
      text: `${warning.reason} x${warning.count}: ${warning.message}`,
    })),
  };
}

const SHOWN = 3;

function entityOf({ namespace, name, workload }: Pod): Entity {
  const { kind } = workload ?? {};
  if (workload !== null && (kind === 'Deployment' || kind === 'DaemonSet')) return { kind, namespace, name: workload.name };
  return { kind: 'Pod', namespace, name };
}

function specText(spec: ProbeSpec | null): string {
  if (spec === null) return 'unknown';
  const port = spec.port === null ? '' : ` on port ${spec.port}`;
  return `${spec.kind}${port}, ${spec.timeoutSeconds} s every ${spec.periodSeconds} s, ${spec.failureThreshold} failures count`;
}
