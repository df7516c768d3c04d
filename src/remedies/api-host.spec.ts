import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { temporaryFolder } from '../../test/folder.ts';
import { type KubeObject, object } from '../../test/lab/api/objects.ts';
import { type ObjectWriter, recreateDaemonSetPods } from '../../test/lab/api/server.ts';
import { ADMIN_TOKEN, createSmallCluster, type SmallCluster } from '../../test/lab/api/small-cluster.ts';
import { createKubernetesCluster, type KubernetesCluster } from '../cluster/kubernetes/index.ts';
import { apiCommands, createApiHost } from './api-host.ts';
import type { Host } from './remedy.ts';

/*
 * The real Kubernetes client against the API server of the lab. `onDelete` plays the controller of the DaemonSet
 * `web/web`, as each test has it; its pods are one on each of three nodes.
 */

const MAP = '/api/v1/namespaces/kube-system/configmaps/settings';

const directory = temporaryFolder();
let small: SmallCluster;
let cluster: KubernetesCluster;
let onDelete: (pod: KubeObject, api: ObjectWriter) => void;
let deleted: string[];
let steps: string[];
let host: Host;

beforeAll(async () => {
  small = await createSmallCluster({
    nodes: 3,
    objects: [
      object('v1', 'Namespace', { name: 'web' }),
      object('apps/v1', 'DaemonSet', { name: 'web', namespace: 'web' }, { spec: {} }),
    ],
    onDelete: (pod, api) => {
      deleted.push(pod.metadata.name);
      onDelete(pod, api);
    },
  });
  const kubeconfig = join(directory, 'config');
  await writeFile(kubeconfig, small.api.kubeconfig(ADMIN_TOKEN));
  const created = createKubernetesCluster({ kubeconfig, timeoutMs: 5000, log: { debug: () => {} } });
  if (!created.ok) throw new Error(created.fault.message);
  cluster = created.value;
});

afterAll(async () => {
  await cluster.close();
  await small.close();
});

beforeEach(() => {
  deleted = [];
  steps = [];
  onDelete = recreateDaemonSetPods;
  small.api.put(object('v1', 'ConfigMap', { name: 'settings', namespace: 'kube-system' }, { data: { mode: 'iptables' } }));
  for (const node of ['node-2', 'node-3', 'node-1']) small.api.put(webPod(node));
  host = createApiHost(cluster, {
    signal: AbortSignal.timeout(20_000),
    onStep: (step) => void steps.push(step),
    readyMs: 800,
  });
});

/** The pod `web/web-N` of a node. */
function webPod(node: string, { ready = true, name = node.replace('node', 'web') } = {}): KubeObject {
  return object(
    'v1',
    'Pod',
    {
      name,
      namespace: 'web',
      labels: { app: 'web' },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'web', uid: 'ds', controller: true }],
    },
    {
      spec: { nodeName: node, containers: [{ name: 'web', image: 'web' }] },
      status: { phase: 'Running', podIP: '172.27.1.2', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
    },
  );
}

function uidOf(name: string): string {
  return small.api.get('pods', 'web', name)?.metadata.uid ?? 'none';
}

function forget(name: string): void {
  onDelete = () => {};
  const pod = small.api.get('pods', 'web', name);
  if (pod !== undefined) small.api.remove(pod);
}

const data = (): unknown => small.api.get('configmaps', 'kube-system', 'settings')?.['data'];

test('a pod is deleted by its uid, and its successor waited for', async () => {
  const [uid, others] = [uidOf('web-2'), [uidOf('web-1'), uidOf('web-3')]];
  await host.run(apiCommands.deletePod('web', 'web-2', uid));
  await host.run(apiCommands.waitForSuccessor);
  expect(deleted).toEqual(['web-2']);
  expect([uidOf('web-2') === uid, [uidOf('web-1'), uidOf('web-3')]]).toEqual([false, others]);
});

test('another pod of that name is not deleted', async () => {
  await expect(host.run(apiCommands.deletePod('web', 'web-2', 'another'))).rejects.toThrow(
    'there is no pod web/web-2 with the uid another any more',
  );
  // The uid of one pod under the name of another.
  await expect(host.run(apiCommands.deletePod('web', 'web-1', uidOf('web-2')))).rejects.toThrow(/does not match the UID/);
  expect(deleted).toEqual([]);
});

test('the successor may have another name; it counts once it is ready, on the same node and of the same owner', async () => {
  onDelete = (_pod, api) => {
    api.put(webPod('node-2', { name: 'web-new', ready: false }));
    setTimeout(() => api.put(webPod('node-2', { name: 'web-new' })), 300);
  };
  await host.run(apiCommands.deletePod('web', 'web-2', uidOf('web-2')));
  const from = performance.now();
  await host.run(apiCommands.waitForSuccessor);
  expect(performance.now() - from).toBeGreaterThan(250);
  forget('web-new');
});

test('another pod of the same owner that was there before is no successor', async () => {
  small.api.put(webPod('node-2', { name: 'web-old' }));
  onDelete = () => {};
  await host.run(apiCommands.deletePod('web', 'web-2', uidOf('web-2')));
  await expect(host.run(apiCommands.waitForSuccessor)).rejects.toThrow(/^no pod took the place of web\/web-2/);
  forget('web-old');
});

test('a pod that nothing takes the place of is told, with its node and the time', async () => {
  onDelete = () => {};
  await host.run(apiCommands.deletePod('web', 'web-2', uidOf('web-2')));
  await expect(host.run(apiCommands.waitForSuccessor)).rejects.toThrow(
    'no pod took the place of web/web-2 on node-2 within 0.8 s',
  );
});

test('without a deletion there is nothing to wait for', async () => {
  await expect(host.run(apiCommands.waitForSuccessor)).rejects.toThrow('no pod was deleted');
});

test('the pods of a DaemonSet are deleted in the order of their nodes, each after the one before is back', async () => {
  let back = true;
  onDelete = (pod, api) => {
    if (!back) deleted.push('too early');
    back = false;
    setTimeout(() => {
      back = true;
      recreateDaemonSetPods(pod, api);
    }, 100);
  };
  const old = ['web-1', 'web-2', 'web-3'].map(uidOf);
  await host.run(apiCommands.roll('web', 'web'));
  expect(deleted).toEqual(['web-1', 'web-2', 'web-3']);
  expect(['web-1', 'web-2', 'web-3'].map(uidOf).some((uid) => old.includes(uid) || uid === 'none')).toBe(false);
  expect(steps).toEqual([
    'restarting web/web-1 on node-1 (1 of 3)',
    'restarting web/web-2 on node-2 (2 of 3)',
    'restarting web/web-3 on node-3 (3 of 3)',
  ]);
});

test('rolling stops at the first that does not come back', async () => {
  onDelete = (pod, api) => {
    if (pod.metadata.name !== 'web-2') recreateDaemonSetPods(pod, api);
  };
  const last = uidOf('web-3');
  await expect(host.run(apiCommands.roll('web', 'web'))).rejects.toThrow(
    'no pod took the place of web/web-2 on node-2 within 0.8 s',
  );
  expect([deleted, uidOf('web-3')]).toEqual([['web-1', 'web-2'], last]);
});

test('a DaemonSet without pods is not called restarted', async () => {
  await expect(host.run(apiCommands.roll('web', 'other'))).rejects.toThrow('the DaemonSet web/other has no pods');
  expect(deleted).toEqual([]);
});

test('an object is read as JSON; one that does not exist is null', async () => {
  const text = await host.readText(MAP);
  expect(JSON.parse(text ?? '')).toMatchObject({ metadata: { name: 'settings' }, data: { mode: 'iptables' } });
  expect(await host.readText(`${MAP}-of-nobody`)).toBeNull();
});

test('only what was read is patched, and only once for each reading or answer', async () => {
  await expect(host.run(apiCommands.patch(MAP, { data: { mode: 'x' } }))).rejects.toThrow(`${MAP} was not read before`);
  expect(data()).toEqual({ mode: 'iptables' });
  await host.readText(MAP);
  await host.run(apiCommands.patch(MAP, { data: { mode: 'nftables' } }));
  // What the first patch answered is what the second one applies to.
  await host.run(apiCommands.patch(MAP, { data: { more: '1', mode: null } }));
  expect(data()).toEqual({ more: '1' });
});

test('what has changed since it was read is not patched, and not tried again', async () => {
  await host.readText(MAP);
  small.api.put(object('v1', 'ConfigMap', { name: 'settings', namespace: 'kube-system' }, { data: { mode: 'ipvs' } }));
  await expect(host.run(apiCommands.patch(MAP, { data: { mode: 'x' } }))).rejects.toThrow(/changed|conflict|modified/i);
  await expect(host.run(apiCommands.patch(MAP, { data: { mode: 'x' } }))).rejects.toThrow(`${MAP} was not read before`);
  expect(data()).toEqual({ mode: 'ipvs' });
});

test.each(['cut', 'hang'] as const)(
  'a write of which the answer is lost is not repeated, and not called undone: %s',
  async (kind) => {
    const short = createApiHost(cluster, { signal: AbortSignal.timeout(kind === 'hang' ? 700 : 5000), onStep: () => {} });
    await short.readText(MAP);
    small.api.setFaults({ reads: [{ resource: 'configmaps', kind, times: 1 }] });
    await expect(short.run(apiCommands.patch(MAP, { data: { mode: 'x' } }))).rejects.toThrow(
      '(whether it was done is not known; it is not repeated)',
    );
    await expect(short.run(apiCommands.patch(MAP, { data: { mode: 'x' } }))).rejects.toThrow(`${MAP} was not read before`);
  },
);

test.each([
  ['POST', MAP],
  ['sysctl', '-w'],
  ['PATCH', '/api/v1/namespaces/kube-system/secrets/../configmaps/settings'],
  ['DELETE', '/api/v1/nodes/node-1'],
])('%s %s is nothing that remedies ask for', async (verb, path) => {
  await expect(host.run([verb, path, '{"preconditions":{"uid":"x"}}'])).rejects.toThrow(
    /is no request that remedies make|was not read before|is no path of an object in a namespace/,
  );
  expect([deleted, data()]).toEqual([[], { mode: 'iptables' }]);
});
