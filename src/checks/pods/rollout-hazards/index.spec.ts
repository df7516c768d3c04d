import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withPod } from '../../../../test/fixtures.ts';
import { rolloutHazards } from './index.ts';

const inCase = (name: string) => readCase('pods/rollout-hazards', name);

test('nothing is being rolled out', () => {
  expect(evaluated(rolloutHazards, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a grace period that is shorter than the hook', () => {
  expect(evaluated(rolloutHazards, inCase('grace'))).toEqual({
    findings: [
      {
        check: 'rollout-hazards',
        layer: 'L7',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Pod default/web-1, spec',
            text: 'terminationGracePeriodSeconds 30; preStop web exec 45 s',
          },
        ],
        entity: { kind: 'DaemonSet', namespace: 'default', name: 'web' },
        at: [],
        harms: [],
        code: 'grace-shorter-than-pre-stop',
        summary:
          'the preStop hook of web in the DaemonSet default/web takes 45 s, its grace period is 30 s: the process is killed without time to end its connections',
        advice:
          'kubectl -n default patch daemonset web --type=strategic -p \'{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":75}}}}\'',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a workload of which a pod was named', () => {
  expect(evaluated(rolloutHazards, inCase('named'))).toEqual({
    findings: [
      {
        check: 'rollout-hazards',
        layer: 'L7',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'Kubernetes API', source: 'Pod default/web-1, spec', text: 'containers without readinessProbe: web' },
        ],
        entity: { kind: 'DaemonSet', namespace: 'default', name: 'web' },
        at: [],
        harms: [],
        code: 'rollout-without-readiness-probe',
        summary:
          'the DaemonSet default/web has no readinessProbe: when it is rolled out, new pods get connections as soon as their process exists, and refuse them until it listens',
        advice:
          'kubectl -n default patch daemonset web --type=strategic -p \'{"spec":{"template":{"spec":{"containers":[{"name":"web","readinessProbe":{"httpGet":{"path":"/","port":8080},"periodSeconds":5,"timeoutSeconds":3}}]}}}}\'',
      },
      {
        check: 'rollout-hazards',
        layer: 'L7',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Pod default/web-1, spec',
            text: 'containers without preStop: web; terminationGracePeriodSeconds 30',
          },
        ],
        entity: { kind: 'DaemonSet', namespace: 'default', name: 'web' },
        at: [],
        harms: [],
        code: 'rollout-without-pre-stop',
        summary:
          'the DaemonSet default/web has no preStop hook: when it is rolled out, old pods end while nodes still send to them, and new connections are refused',
        advice:
          'kubectl -n default patch daemonset web --type=strategic -p \'{"spec":{"template":{"spec":{"containers":[{"name":"web","lifecycle":{"preStop":{"sleep":{"seconds":15}}}}]}}}}\'',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a rollout without probe and hook', () => {
  expect(evaluated(rolloutHazards, inCase('rolling'))).toEqual({
    findings: [
      {
        check: 'rollout-hazards',
        layer: 'L7',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'Kubernetes API', source: 'Pod default/web-1, spec', text: 'containers without readinessProbe: web' },
        ],
        entity: { kind: 'DaemonSet', namespace: 'default', name: 'web' },
        at: [],
        harms: [],
        code: 'rollout-without-readiness-probe',
        summary:
          'the DaemonSet default/web has no readinessProbe: when it is rolled out, new pods get connections as soon as their process exists, and refuse them until it listens',
        advice:
          'kubectl -n default patch daemonset web --type=strategic -p \'{"spec":{"template":{"spec":{"containers":[{"name":"web","readinessProbe":{"httpGet":{"path":"/","port":8080},"periodSeconds":5,"timeoutSeconds":3}}]}}}}\'',
      },
      {
        check: 'rollout-hazards',
        layer: 'L7',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Pod default/web-1, spec',
            text: 'containers without preStop: web; terminationGracePeriodSeconds 30',
          },
        ],
        entity: { kind: 'DaemonSet', namespace: 'default', name: 'web' },
        at: [],
        harms: [],
        code: 'rollout-without-pre-stop',
        summary:
          'the DaemonSet default/web has no preStop hook: when it is rolled out, old pods end while nodes still send to them, and new connections are refused',
        advice:
          'kubectl -n default patch daemonset web --type=strategic -p \'{"spec":{"template":{"spec":{"containers":[{"name":"web","lifecycle":{"preStop":{"sleep":{"seconds":15}}}}]}}}}\'',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const found = (bundle: ReturnType<typeof inCase>) => findingsIn(rolloutHazards, bundle).map(({ code }) => code);
const PROBE = { kind: 'tcp', port: 8080, path: null, timeoutSeconds: 1, periodSeconds: 10, failureThreshold: 3 } as const;

/** The case with the containers of every web pod changed. */
function withContainers(name: string, change: object, graceSeconds = 30) {
  const bundle = inCase(name);
  const pods = bundle.inventory.pods.map((pod) =>
    pod.labels['app'] === 'web'
      ? { ...pod, graceSeconds, containers: pod.containers.map((container) => ({ ...container, ...change })) }
      : pod,
  );
  return { ...bundle, inventory: { ...bundle.inventory, pods } };
}

test('what it has it does not lack', () => {
  expect(found(withContainers('rolling', { readiness: PROBE }))).toEqual(['rollout-without-pre-stop']);
  expect(found(withContainers('rolling', { preStop: { kind: 'http', seconds: null } }))).toEqual([
    'rollout-without-readiness-probe',
  ]);
});

test('a workload that no Service sends to may come and go', () => {
  const bundle = inCase('rolling');
  expect(found({ ...bundle, inventory: { ...bundle.inventory, endpoints: [] } })).toEqual([]);
});

test('a bare pod is no rollout', () => {
  expect(found(withPod(inCase('rolling'), 'web-2', { workload: null }))).toEqual([]);
});

test('a hook has to end before the grace period', () => {
  const sleeping = (seconds: number) => withContainers('healthy', { preStop: { kind: 'sleep', seconds } });
  expect([29, 30].map((seconds) => found(sleeping(seconds)))).toEqual([[], ['grace-shorter-than-pre-stop']]);
});

test('other kinds of workloads are named by a pod of theirs', () => {
  const bundle = withContainers('healthy', { preStop: { kind: 'sleep', seconds: 60 } });
  const pods = bundle.inventory.pods.map((pod) =>
    pod.labels['app'] === 'web' ? { ...pod, workload: { kind: 'StatefulSet', name: 'web' } } : pod,
  );
  expect(
    findingsIn(rolloutHazards, { ...bundle, inventory: { ...bundle.inventory, pods } }).map(({ entity, summary }) => ({
      entity,
      summary,
    })),
  ).toEqual([
    {
      entity: { kind: 'Pod', namespace: 'default', name: 'web-1' },
      summary:
        'the preStop hook of web in the StatefulSet default/web takes 60 s, its grace period is 30 s: the process is killed without time to end its connections',
    },
  ]);
});

test('before 1.30 the hook has to be a command', () => {
  const bundle = inCase('rolling');
  const old = { ...bundle, inventory: { ...bundle.inventory, version: 'v1.29.4' } };
  expect(findingsIn(rolloutHazards, old)[1]?.advice).toContain('{"preStop":{"exec":{"command":["sleep","15"]}}}');
});
