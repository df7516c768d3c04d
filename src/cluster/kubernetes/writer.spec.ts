import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { temporaryFolder } from '../../../test/folder.ts';
import { object } from '../../../test/lab/api/objects.ts';
import { ADMIN_TOKEN, createSmallCluster, type SmallCluster } from '../../../test/lab/api/small-cluster.ts';
import type { ClusterResult, StoredObject } from '../port.ts';
import { createKubernetesCluster, type KubernetesCluster } from './index.ts';

const MAP = { group: '', version: 'v1', resource: 'configmaps', namespace: 'kube-system', name: 'kube-proxy' };

const directory = temporaryFolder();
let small: SmallCluster;
let cluster: KubernetesCluster;
let writes: string[] = [];

beforeAll(async () => {
  small = await createSmallCluster({
    nodes: 1,
    tokens: [
      { token: ADMIN_TOKEN, user: 'admin', groups: [] },
      { token: 'other', user: 'other', groups: [] },
    ],
    objects: [
      object(
        'rbac.authorization.k8s.io/v1',
        'ClusterRole',
        { name: 'some' },
        {
          rules: [
            { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'patch'] },
            { apiGroups: [''], resources: ['pods'], verbs: ['delete'] },
            { apiGroups: [''], resources: ['events'], verbs: ['create'] },
            { apiGroups: ['apps'], resources: ['daemonsets'], verbs: ['*'], resourceNames: ['kube-flannel-ds'] },
          ],
        },
      ),
      object(
        'rbac.authorization.k8s.io/v1',
        'ClusterRoleBinding',
        { name: 'admin' },
        {
          roleRef: { kind: 'ClusterRole', name: 'some' },
          subjects: [{ kind: 'User', name: 'admin' }],
        },
      ),
    ],
    onRequest: ({ method, url }) => method !== 'GET' && writes.push(`${method} ${url}`),
  });
  const kubeconfig = join(directory, 'config');
  await writeFile(kubeconfig, small.api.kubeconfig(ADMIN_TOKEN));
  const created = createKubernetesCluster({ kubeconfig, timeoutMs: 2000, log: { debug: () => {} } });
  if (!created.ok) throw new Error(created.fault.message);
  cluster = created.value;
});

beforeEach(() => {
  writes = [];
  small.api.put(
    object('v1', 'ConfigMap', { name: MAP.name, namespace: MAP.namespace, labels: { a: '1' } }, { data: { mode: 'iptables' } }),
  );
});

afterAll(async () => {
  await cluster.close();
  await small.close();
});

const soon = (): AbortSignal => AbortSignal.timeout(5000);

async function stored(result: Promise<ClusterResult<StoredObject>>): Promise<StoredObject> {
  const value = await result;
  if (!value.ok) throw new Error(value.fault.message);
  return value.value;
}

test('a patch applies to what was read', async () => {
  const before = await stored(cluster.read(MAP, soon()));
  const after = await stored(
    cluster.patch(MAP, { metadata: { annotations: { claim: 'x' } }, data: { mode: 'nftables' } }, before, soon()),
  );
  expect(after.uid).toBe(before.uid);
  expect(Number(after.resourceVersion)).toBeGreaterThan(Number(before.resourceVersion));
  expect(after.object).toMatchObject({
    metadata: { annotations: { claim: 'x' }, labels: { a: '1' } },
    data: { mode: 'nftables' },
  });
});

test('a patch to what has changed since, or is another object of that name, changes nothing', async () => {
  const before = await stored(cluster.read(MAP, soon()));
  await stored(cluster.patch(MAP, { data: { mode: 'ipvs' } }, before, soon()));
  expect(await cluster.patch(MAP, { data: { mode: 'late' } }, before, soon())).toMatchObject({
    ok: false,
    fault: { kind: 'conflict' },
  });
  const now = await stored(cluster.read(MAP, soon()));
  expect(await cluster.patch(MAP, { data: { mode: 'late' } }, { ...now, uid: 'another' }, soon())).toMatchObject({
    fault: { kind: 'conflict' },
  });
  expect(small.api.get('configmaps', MAP.namespace, MAP.name)?.['data']).toEqual({ mode: 'ipvs' });
});

test('a pod is deleted by its uid, and only that one', async () => {
  const made = small.api.put(object('v1', 'Pod', { name: 'victim', namespace: 'default' }, { spec: {} }));
  const pod = { namespace: 'default', name: 'victim' };
  expect(await cluster.deletePod(pod, 'another', soon())).toMatchObject({
    fault: { kind: 'conflict', message: expect.stringContaining('does not match the UID') },
  });
  expect(await cluster.deletePod(pod, made.metadata.uid ?? '', soon())).toEqual({ ok: true, value: null });
  expect(await cluster.deletePod(pod, made.metadata.uid ?? '', soon())).toMatchObject({ fault: { kind: 'not-found' } });
});

test('an Event about a node is written once, where Events about nodes belong', async () => {
  const event = {
    name: 'netcheck.a1',
    node: { name: 'node-1', uid: 'uid-of-node-1' },
    isGood: false,
    reason: 'RemedyNotHealed',
    message: 'netcheck set-ip-forward: it ran, and did not heal',
  };
  expect(await cluster.writeEvent(event, soon())).toEqual({ ok: true, value: null });
  expect(await cluster.writeEvent(event, soon())).toMatchObject({ ok: false, fault: { kind: 'conflict' } });
  expect(await cluster.writeEvent({ ...event, name: 'netcheck.a2', node: null, isGood: true }, soon())).toMatchObject({
    ok: true,
  });
  const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(small.api.get('events', 'default', 'netcheck.a1')).toMatchObject({
    involvedObject: { apiVersion: 'v1', kind: 'Node', name: 'node-1', uid: 'uid-of-node-1' },
    type: 'Warning',
    reason: 'RemedyNotHealed',
    message: 'netcheck set-ip-forward: it ran, and did not heal',
    source: { component: 'netcheck' },
    count: 1,
    firstTimestamp: time,
    lastTimestamp: time,
  });
  expect(small.api.get('events', 'default', 'netcheck.a2')).toMatchObject({
    involvedObject: { kind: 'Namespace', name: 'kube-system' },
    type: 'Normal',
  });
  expect(writes).toEqual(Array.from({ length: 3 }, () => 'POST /api/v1/namespaces/default/events'));
});

test('what is not allowed is a fault that says so, and can be asked beforehand', async () => {
  const flannel = { group: 'apps', resource: 'daemonsets', namespace: 'kube-flannel', name: 'kube-flannel-ds' };
  expect(await cluster.canI({ verb: 'patch', ...flannel }, soon())).toEqual({ ok: true, value: true });
  expect(await cluster.canI({ verb: 'patch', ...flannel, name: 'other' }, soon())).toEqual({ ok: true, value: false });
  expect(await cluster.canI({ verb: 'create', group: '', resource: 'pods', subresource: 'exec' }, soon())).toEqual({
    ok: true,
    value: false,
  });
  expect(await cluster.read({ group: '', version: 'v1', resource: 'nodes', name: 'node-1' }, soon())).toMatchObject({
    fault: { kind: 'forbidden', message: expect.stringContaining('cannot get resource "nodes"') },
  });
});

test('a write is never repeated, whatever happened to it', async () => {
  const before = await stored(cluster.read(MAP, soon()));
  writes = [];
  for (const kind of ['cut', 'html', 'hang'] as const) {
    small.api.setFaults({ reads: [{ resource: 'configmaps', kind, times: 1 }] });
    const kinds = { cut: 'unreachable', html: 'unreachable', hang: 'timeout' };
    const signal = kind === 'hang' ? AbortSignal.timeout(200) : soon();
    expect(await cluster.patch(MAP, { data: { mode: kind } }, before, signal)).toMatchObject({
      ok: false,
      fault: { kind: kinds[kind] },
    });
  }
  expect(writes).toHaveLength(3);
});

test('names are escaped on their way into a path', async () => {
  expect(await cluster.read({ ...MAP, name: '../../../nodes/node-1?x=' }, soon())).toMatchObject({
    ok: false,
    fault: { kind: 'not-found' },
  });
});
