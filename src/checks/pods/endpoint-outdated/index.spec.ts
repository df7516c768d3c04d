import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withPod, withPodNamespace } from '../../../../test/fixtures.ts';
import { endpointOutdated } from './index.ts';

const inCase = (name: string) => readCase('pods/endpoint-outdated', name);

test('every endpoint is a pod that stays', () => {
  expect(evaluated(endpointOutdated, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a pod that was to be gone', () => {
  expect(evaluated(endpointOutdated, inCase('deleted'))).toEqual({
    findings: [
      {
        check: 'endpoint-outdated',
        layer: 'L4',
        severity: 'warning',
        certainty: 'suspect',
        partial: true,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'EndpointSlices of default/web',
            text: '172.27.2.2 ready true, targetRef Pod web-2, node node-2',
          },
          {
            where: 'Kubernetes API',
            source: 'Pod default/web-2, deletionTimestamp',
            text: '2026-11-21T06:50:51Z, read at 2026-11-21T06:55:51.614Z',
          },
        ],
        entity: { kind: 'Service', namespace: 'default', name: 'web' },
        harms: [{ dst: '172.27.2.2', state: 'new' }],
        code: 'endpoint-of-terminating-pod',
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        summary:
          'the Service default/web still sends to web-2 (172.27.2.2), which is being deleted: connections there are refused once its process ends, those it has are reset',
        advice:
          'Its EndpointSlice was not updated within 10 s of the deletion: look at kube-controller-manager. A preStop hook that sleeps longer than the update takes hides the gap.',
      },
      {
        check: 'endpoint-outdated',
        layer: 'L4',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Pod default/web-2, deletionTimestamp',
            text: '2026-11-21T06:50:51Z, read at 2026-11-21T06:55:51.614Z',
          },
        ],
        code: 'pod-overdue',
        entity: { kind: 'Pod', namespace: 'default', name: 'web-2' },
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        harms: [],
        summary: 'default/web-2 on node-2 should be gone since 2026-11-21T06:50:51Z, after its grace period, and is not',
        advice:
          'See what holds it: finalizers (kubectl get pod -o yaml), a volume that cannot be unmounted, a process in uninterruptible sleep, the runtime on the node.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('an address that no pod has', () => {
  expect(evaluated(endpointOutdated, inCase('no-pod'))).toEqual({
    findings: [
      {
        check: 'endpoint-outdated',
        layer: 'L4',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'EndpointSlices of default/web',
            text: '172.27.2.77 ready true, targetRef Pod web-old, node node-2',
          },
        ],
        entity: { kind: 'Service', namespace: 'default', name: 'web' },
        harms: [{ dst: '172.27.2.77', state: 'new' }],
        code: 'endpoint-without-pod',
        at: [{ place: 'node/node-2', point: 'socket' }],
        summary:
          'the Service default/web sends to 172.27.2.77 (web-old), which no pod has any more: connections there time out or find no route',
        advice:
          'The endpoint slice controller did not take the address out: look at kube-controller-manager and its connection to the API server; whoever manages these EndpointSlices instead has to remove it.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const found = (bundle: ReturnType<typeof inCase>) => findingsIn(endpointOutdated, bundle).map(({ code }) => code);

/** The case with the endpoint at an address changed. */
function withEndpoint(name: string, ip: string, change: object) {
  const bundle = inCase(name);
  const endpoints = bundle.inventory.endpoints.map((endpoint) => (endpoint.ip === ip ? { ...endpoint, ...change } : endpoint));
  return { ...bundle, inventory: { ...bundle.inventory, endpoints } };
}

test('an address that somebody has is nobody’s business, nor is one that no pod was to have', () => {
  const held = withPodNamespace(inCase('no-pod'), '172.27.2.3', (namespace) => ({
    ...namespace,
    addresses: ['172.27.2.3', '172.27.2.77'],
  }));
  expect(found(held)).toEqual([]);
  expect(found(withPod(inCase('no-pod'), 'client-2', { ip: '172.27.2.77' }))).toEqual([]);
  expect(found(withEndpoint('no-pod', '172.27.2.77', { pod: null }))).toEqual([]);
});

test('an endpoint that is told as not ready, or as ending, is up to date', () => {
  expect(found(withEndpoint('no-pod', '172.27.2.77', { ready: false }))).toEqual([]);
  expect(found(withEndpoint('deleted', '172.27.2.2', { terminating: true }))).toEqual(['pod-overdue']);
});

test('on a node that is none it is a note', () => {
  const elsewhere = withEndpoint('no-pod', '172.27.2.77', { node: null });
  expect(findingsIn(endpointOutdated, elsewhere).map(({ severity, at, harms }) => ({ severity, at, harms }))).toEqual([
    { severity: 'info', at: [], harms: [] },
  ]);
});

/** The pod's deletion, asked for so many seconds before the objects were read. */
function deleted(seconds: number, graceSeconds = 30) {
  const bundle = inCase('healthy');
  const deleteBy = new Date(Date.parse(bundle.inventory.readAt) - (seconds - graceSeconds) * 1000).toISOString();
  return withPod(bundle, 'web-2', { terminating: true, deleteBy, graceSeconds });
}

test('slices have ten seconds, a pod a minute more than its grace period', () => {
  expect([9, 10, 89, 90].map((seconds) => found(deleted(seconds)))).toEqual([
    [],
    ['endpoint-of-terminating-pod'],
    ['endpoint-of-terminating-pod'],
    ['endpoint-of-terminating-pod', 'pod-overdue'],
  ]);
});

test('without the time at which the objects were read nothing is late', () => {
  const bundle = deleted(600);
  expect(found({ ...bundle, inventory: { ...bundle.inventory, readAt: '' } })).toEqual([]);
});

test('a node that is not ready holds its pods', () => {
  const bundle = deleted(600);
  const nodes = bundle.inventory.nodes.map((node) =>
    node.name === 'node-2'
      ? {
          ...node,
          ready: 'Unknown' as const,
          conditions: [{ type: 'Ready', status: 'Unknown', reason: 'NodeStatusUnknown', message: '', since: null }],
        }
      : node,
  );
  const summaries = findingsIn(endpointOutdated, { ...bundle, inventory: { ...bundle.inventory, nodes } }).map(
    ({ summary }) => summary,
  );
  expect(summaries[1]).toMatch(/^default\/web-2 on node-2 should be gone since .*: the node is not ready \(NodeStatusUnknown\)$/);
});
