import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withPod } from '../../../../test/fixtures.ts';
import { kubeletProbeFailing } from './index.ts';

const inCase = (name: string) => readCase('pods/kubelet-probe-failing', name);

test('no probe fails', () => {
  expect(evaluated(kubeletProbeFailing, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a process that does not answer in time', () => {
  expect(evaluated(kubeletProbeFailing, inCase('timed-out'))).toEqual({
    findings: [
      {
        check: 'kubelet-probe-failing',
        layer: 'L7',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Event of default/web-2, kubelet',
            text: 'Unhealthy x12: Readiness probe failed: Get "http://172.27.2.2:8080/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
          },
        ],
        code: 'kubelet-probe-failing',
        entity: { kind: 'DaemonSet', namespace: 'default', name: 'web' },
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        harms: [],
        summary:
          'readiness probes (http on port 8080, 1 s every 10 s, 3 failures count) timed out 12 times within the last hour, last at 2026-11-21T06:55:55Z, in default/web-2 on node-2',
        advice:
          "The kubelet asks from the node that the pod is on, so no link between nodes is involved: look at the pod's CPU limit and throttling, at its accept queue, and whether timeoutSeconds 1 is enough.",
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const found = (bundle: ReturnType<typeof inCase>) => findingsIn(kubeletProbeFailing, bundle).map(({ summary }) => summary);

/** The case with its event changed; `ago` is how long before the objects were read it was last seen, in seconds. */
function withEvent(change: object, ago?: number) {
  const bundle = inCase('timed-out');
  const lastSeen =
    ago === undefined ? {} : { lastSeen: new Date(Date.parse(bundle.inventory.readAt) - ago * 1000).toISOString() };
  const warnings = bundle.inventory.warnings.map((warning) => ({ ...warning, ...lastSeen, ...change }));
  return { ...bundle, inventory: { ...bundle.inventory, warnings } };
}

test.for([
  ['Readiness probe failed: dial tcp 172.27.2.2:8080: i/o timeout', 'timed out'],
  [
    'Readiness probe failed: Get "http://172.27.2.2:8080/": dial tcp 172.27.2.2:8080: connect: connection refused',
    'were refused',
  ],
  [
    'Readiness probe failed: Get "http://172.27.2.2:8080/": dial tcp 172.27.2.2:8080: connect: no route to host',
    'found no route',
  ],
  ['Readiness probe failed: HTTP probe failed with statuscode: 503', 'were answered with an error'],
] as const)('%s', ([message, words]) => {
  expect(found(withEvent({ message }))).toEqual([
    expect.stringContaining(`3 failures count) ${words} 12 times within the last hour`),
  ]);
});

test.for([
  ['another reason', { reason: 'BackOff' }],
  ['another object', { kind: 'Node' }],
  ['a pod that is not there', { name: 'web-9' }],
  ['a startup probe', { message: 'Startup probe failed: dial tcp 172.27.2.2:8080: i/o timeout' }],
  ['a probe that the container does not have', { message: 'Liveness probe failed: dial tcp 172.27.2.2:8080: i/o timeout' }],
  ['a text that says nothing', { message: 'Readiness probe failed: ' }],
] as const)('%s is not told', ([, change]) => {
  expect(found(withEvent(change))).toEqual([]);
});

test('three are enough', () => {
  expect([2, 3].map((count) => found(withEvent({ count })).length)).toEqual([0, 1]);
});

test('what was last seen a quarter of an hour ago is over', () => {
  expect([900, 901].map((ago) => found(withEvent({}, ago)).length)).toEqual([1, 0]);
});

test('while a pod starts, and when it ends, its probes fail', () => {
  const bundle = withEvent({}, 60);
  const container = bundle.inventory.pods.find(({ name }) => name === 'web-2')?.containers[0];
  if (container === undefined) throw new Error('web-2 has no container');
  const started = (seconds: number) => {
    const startedAt = new Date(Date.parse(bundle.inventory.readAt) - (60 + seconds) * 1000).toISOString();
    return withPod(bundle, 'web-2', { containers: [{ ...container, startedAt }] });
  };
  expect([119, 120].map((seconds) => found(started(seconds)).length)).toEqual([0, 1]);
  expect(found(withPod(bundle, 'web-2', { terminating: true }))).toEqual([]);
  expect(found(withPod(bundle, 'web-2', { containers: [{ ...container, startedAt: null }] }))).toEqual([]);
});
