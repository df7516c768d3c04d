import { expect, test } from 'vitest';
import { simulate } from '../../test/simulate.ts';
import type { Cluster } from '../cluster/port.ts';
import type { Inventory } from '../model/inventory.ts';
import type { RunRequest } from '../model/verdict.ts';
import { createDiagnose, type DiagnoseResult } from './diagnose.ts';

/** A run in a cluster of two nodes whose agents cannot be reached. */
function diagnose(request: RunRequest, change: (inventory: Inventory) => Inventory = (same) => same): Promise<DiagnoseResult> {
  const { inventory } = simulate(2);
  const cluster: Cluster = {
    name: 'simulated',
    inventory: async () => ({ ok: true, value: change(inventory) }),
    openAgent: async () => ({ ok: false, fault: { kind: 'unreachable', message: 'nobody answers' } }),
    close: async () => {},
  };
  const run = createDiagnose({ cluster, version: 'test', clock: Date.now });
  return run(request, { runId: 'r1', signal: new AbortController().signal, onProgress: () => {} });
}

const pod = (namespace: string, name: string): RunRequest => ({ kind: 'pod', namespace, pod: name });

test.for([
  [
    pod('kube-system', 'coredns-3'),
    'no pod "kube-system/coredns-3". Did you mean kube-system/coredns-1 or kube-system/coredns-2?',
  ],
  [pod('default', 'coredns-1'), 'no pod "default/coredns-1". Did you mean kube-system/coredns-1?'],
  [pod('default', 'web'), 'no pod "default/web". There is no pod in that namespace.'],
  [pod('kube-system', 'etcd'), 'no pod "kube-system/etcd". Its pods are coredns-1, coredns-2.'],
  [{ kind: 'node', node: 'node-3' }, 'no node "node-3". Did you mean node-1 or node-2?'],
] as const satisfies readonly (readonly [RunRequest, string])[])('%j is not there', async ([request, message]) => {
  expect(await diagnose(request)).toMatchObject({ ok: false, error: { message: `The cluster simulated has ${message}` } });
});

test('where pods cannot be read, one that is asked about may well be there', async () => {
  const result = await diagnose(pod('default', 'web'), (inventory) => ({
    ...inventory,
    pods: [],
    gaps: [{ what: 'pods', reason: 'forbidden' }],
  }));
  expect(result).toMatchObject({ ok: true, value: { verdict: { run: { request: pod('default', 'web') } } } });
  expect(result.ok && result.value.verdict.status).not.toBe('healthy');
});

test('a pod that has no address yet is told as not probed, with what it waits for', async () => {
  const waiting = {
    type: 'PodScheduled',
    status: 'False',
    reason: 'Unschedulable',
    message: '0/2 nodes are available',
    since: null,
  };
  const result = await diagnose(pod('kube-system', 'coredns-1'), (inventory) => ({
    ...inventory,
    pods: inventory.pods.map((one) =>
      one.name === 'coredns-1' ? { ...one, ip: null, node: null, phase: 'Pending', conditions: [waiting] } : one,
    ),
  }));
  expect(result.ok && result.value.verdict.notChecked).toContainEqual({
    what: 'probes to the pod',
    where: 'kube-system/coredns-1',
    reason: 'it has no address, its phase is Pending (PodScheduled: 0/2 nodes are available)',
  });
});
