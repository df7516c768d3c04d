import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { text as textOf } from 'node:stream/consumers';
import * as k8s from '@kubernetes/client-node';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type KubeObject, object } from './objects.ts';
import { recreateDaemonSetPods } from './server.ts';
import { ADMIN_TOKEN, createSmallCluster, type SmallCluster } from './small-cluster.ts';

const READER = 'reader-token';

let cluster: SmallCluster;
let core: k8s.CoreV1Api;

beforeAll(async () => {
  cluster = await createSmallCluster({
    nodes: 2,
    tokens: [
      { token: ADMIN_TOKEN, user: 'admin', groups: ['system:masters'] },
      { token: READER, user: 'reader', groups: ['team'] },
    ],
    objects: [
      ...Array.from({ length: 7 }, (_, index) => webPod(`web-${index}`, index % 2 === 0 ? 'node-1' : 'node-2')),
      object('apps/v1', 'DaemonSet', { name: 'netcheck-agent', namespace: 'netcheck-agents' }),
      object(
        'rbac.authorization.k8s.io/v1',
        'ClusterRole',
        { name: 'look' },
        { rules: [{ apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list'] }] },
      ),
      object(
        'rbac.authorization.k8s.io/v1',
        'ClusterRoleBinding',
        { name: 'team-looks' },
        {
          roleRef: { kind: 'ClusterRole', name: 'look' },
          subjects: [{ kind: 'Group', name: 'team' }],
        },
      ),
      object(
        'rbac.authorization.k8s.io/v1',
        'Role',
        { name: 'agents', namespace: 'netcheck-agents' },
        {
          rules: [
            { apiGroups: [''], resources: ['pods/exec'], verbs: ['get'] },
            { apiGroups: [''], resources: ['pods'], resourceNames: ['netcheck-agent-1'], verbs: ['get'] },
          ],
        },
      ),
      object(
        'rbac.authorization.k8s.io/v1',
        'RoleBinding',
        { name: 'reader', namespace: 'netcheck-agents' },
        {
          roleRef: { kind: 'Role', name: 'agents' },
          subjects: [{ kind: 'User', name: 'reader' }],
        },
      ),
    ],
    onDelete: recreateDaemonSetPods,
    historyLimit: 50,
  });
  core = client(ADMIN_TOKEN).makeApiClient(k8s.CoreV1Api);
});

beforeEach(() => cluster.api.setFaults({}));

afterAll(() => cluster.close());

function webPod(name: string, node: string): KubeObject {
  return object(
    'v1',
    'Pod',
    { name, namespace: 'default', labels: { app: 'web' } },
    {
      spec: { nodeName: node, containers: [{ name: 'web' }, { name: 'sidecar' }] },
      status: { phase: 'Running' },
    },
  );
}

function client(token: string): k8s.KubeConfig {
  const config = new k8s.KubeConfig();
  config.loadFromString(cluster.api.kubeconfig(token));
  return config;
}

/** The Status that a call fails with, or what it returned. */
async function statusOf(call: Promise<unknown>): Promise<unknown> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof k8s.ApiException) return JSON.parse(String(error.body));
    throw error;
  }
}

async function namesOf(list: Promise<{ items: { metadata?: k8s.V1ObjectMeta }[] }>): Promise<(string | undefined)[]> {
  return (await list).items.map((item) => item.metadata?.name);
}

/** A plain HTTPS request, for what a client library hides. */
function raw(
  path: string,
  options: {
    readonly method?: string;
    readonly body?: object;
    readonly headers?: Record<string, string>;
    readonly token?: string;
  } = {},
): Promise<{ code: number; headers: IncomingHttpHeaders; text: string }> {
  return new Promise((resolve, reject) => {
    const authorization = options.token === '' ? {} : { authorization: `Bearer ${options.token ?? ADMIN_TOKEN}` };
    const sent = request(
      `${cluster.api.url}${path}`,
      { method: options.method ?? 'GET', ca: cluster.api.ca, agent: false, headers: { ...authorization, ...options.headers } },
      (response) => {
        const { statusCode: code = 0, headers } = response;
        textOf(response).then((text) => resolve({ code, headers, text }), reject);
      },
    );
    sent.on('error', reject);
    sent.end(options.body === undefined ? undefined : JSON.stringify(options.body));
  });
}

test('a missing object is a NotFound Status in the shape of the real one', async () => {
  expect(await statusOf(core.readNamespacedPod({ namespace: 'default', name: 'gone' }))).toEqual({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: 'pods "gone" not found',
    reason: 'NotFound',
    details: { name: 'gone', kind: 'pods' },
    code: 404,
  });
});

test('a list comes in pages that show one moment, and says how much is left', async () => {
  const first = await core.listNamespacedPod({ namespace: 'default', limit: 3 });
  await core.deleteNamespacedPod({ namespace: 'default', name: 'web-6' });
  const second = await core.listNamespacedPod({ namespace: 'default', limit: 3, _continue: first.metadata?._continue ?? '' });
  const third = await core.listNamespacedPod({ namespace: 'default', limit: 3, _continue: second.metadata?._continue ?? '' });
  cluster.api.put(webPod('web-6', 'node-1'));
  expect(
    [first, second, third].map((page) => [page.items.map((pod) => pod.metadata?.name), page.metadata?.remainingItemCount]),
  ).toEqual([
    [['web-0', 'web-1', 'web-2'], 4],
    [['web-3', 'web-4', 'web-5'], 1],
    [['web-6'], undefined],
  ]);
  expect(third.metadata?._continue).toBeUndefined();
});

test('a continue token that is too old gives 410 Expired', async () => {
  const first = await core.listPodForAllNamespaces({ limit: 2 });
  await raw('/_lab/compact', { method: 'POST' });
  expect(await statusOf(core.listPodForAllNamespaces({ limit: 2, _continue: first.metadata?._continue ?? '' }))).toMatchObject({
    reason: 'Expired',
    code: 410,
  });
});

test.each([
  ['labelSelector', 'app=web', 7],
  ['labelSelector', 'app!=web', 2],
  ['labelSelector', 'app in (web, db),app', 7],
  ['labelSelector', 'app notin (web)', 2],
  ['labelSelector', '!app', 2],
  ['fieldSelector', 'spec.nodeName=node-2', 4],
  ['fieldSelector', 'metadata.namespace=default,status.phase=Running', 7],
  ['fieldSelector', 'metadata.name!=web-1', 8],
])('%s %s selects %i pods', async (kind, selector, count) => {
  expect((await core.listPodForAllNamespaces({ [kind]: selector })).items).toHaveLength(count);
});

test.each([
  ['labelSelector', 'app=='.repeat(2)],
  ['fieldSelector', 'spec.hostNetwork=true'],
])('an unsupported %s is refused', async (kind, selector) => {
  expect(await statusOf(core.listPodForAllNamespaces({ [kind]: selector }))).toMatchObject({ reason: 'BadRequest', code: 400 });
});

test('items of a list do not repeat apiVersion and kind', async () => {
  const { text } = await raw('/api/v1/nodes?limit=1');
  expect(JSON.parse(text)).toMatchObject({ kind: 'NodeList', apiVersion: 'v1', items: [{ metadata: { name: 'node-1' } }] });
  expect(JSON.parse(text).items[0]).not.toHaveProperty('kind');
});

test('a watch follows what enters, changes and leaves its selection, and ends with a bookmark', async () => {
  const { metadata } = await core.listNamespacedPod({ namespace: 'default' });
  cluster.api.put(webPod('watched', 'node-1'));
  await core.patchNamespacedPod(
    { namespace: 'default', name: 'watched', body: { metadata: { annotations: { a: '1' } } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
  );
  await core.patchNamespacedPod(
    { namespace: 'default', name: 'watched', body: { metadata: { labels: { app: null } } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
  );
  const query = `watch=true&labelSelector=app%3Dweb&allowWatchBookmarks=true&timeoutSeconds=0&resourceVersion=${metadata?.resourceVersion}`;
  const { text } = await raw(`/api/v1/namespaces/default/pods?${query}`);
  const events = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const latest = (await core.deleteNamespacedPod({ namespace: 'default', name: 'watched' })).metadata?.resourceVersion;
  expect(events.map((event) => [event.type, event.object.metadata.name])).toEqual([
    ['ADDED', 'watched'],
    ['MODIFIED', 'watched'],
    ['DELETED', 'watched'],
    ['BOOKMARK', undefined],
  ]);
  expect(Number(events.at(-1).object.metadata.resourceVersion)).toBe(Number(latest) - 1);
});

test('a watch from a version that is too old gets an ERROR event', async () => {
  cluster.api.compact();
  const { text } = await raw('/api/v1/pods?watch=true&resourceVersion=1');
  expect(JSON.parse(text)).toMatchObject({ type: 'ERROR', object: { reason: 'Expired', code: 410 } });
});

test('an informer of the client library lists, follows changes and recovers from a cut watch', async () => {
  const list = () => core.listNamespacedConfigMap({ namespace: 'default' });
  const informer = k8s.makeInformer(client(ADMIN_TOKEN), '/api/v1/namespaces/default/configmaps', list);
  const seen: string[] = [];
  let notify = (): void => {};
  for (const verb of ['add', 'update', 'delete'] as const) {
    informer.on(verb, (map) => {
      seen.push(`${verb} ${map.metadata?.name}`);
      notify();
    });
  }
  const until = (event: string): Promise<void> =>
    new Promise((resolve) => {
      notify = () => seen.includes(event) && resolve();
      notify();
    });
  // The library's informer is dead after an error until it is started again.
  informer.on('error', () => void informer.start());
  await informer.start();
  const map = object('v1', 'ConfigMap', { name: 'settings', namespace: 'default' }, { data: { a: '1' } });
  cluster.api.put(map);
  await until('add settings');
  cluster.api.setFaults({ watchDrop: ['configmaps'] });
  cluster.api.setFaults({});
  cluster.api.put({ ...map, data: { a: '2' } });
  await until('update settings');
  cluster.api.remove(map);
  await until('delete settings');
  await informer.stop();
  expect(seen).toEqual(['add settings', 'update settings', 'delete settings']);
});

test('creating checks the namespace, the name and the kind, and refuses what exists', async () => {
  const create = (namespace: string, body: object) =>
    raw(`/api/v1/namespaces/${namespace}/configmaps`, { method: 'POST', body }).then(({ code, text }) => [
      code,
      JSON.parse(text).message,
    ]);
  expect(await create('nowhere', { metadata: { name: 'a' } })).toEqual([404, 'namespaces "nowhere" not found']);
  expect(await create('default', { metadata: { name: 'A' } })).toEqual([422, expect.stringContaining('lowercase RFC 1123')]);
  expect(await create('default', { kind: 'Pod', metadata: { name: 'a' } })).toEqual([
    400,
    expect.stringContaining('cannot be handled as a ConfigMap'),
  ]);
  expect(await create('default', {})).toEqual([422, expect.stringContaining('name or generateName is required')]);
  expect(await create('default', { metadata: { generateName: 'gen-' } })).toEqual([201, undefined]);
  expect(await create('default', { metadata: { name: 'twice' } })).toEqual([201, undefined]);
  expect(await create('default', { metadata: { name: 'twice' } })).toEqual([409, 'configmaps "twice" already exists']);
});

test('an update with an old resource version conflicts; one that changes nothing makes no version', async () => {
  const created = cluster.api.put(object('v1', 'ConfigMap', { name: 'versions', namespace: 'default' }, { data: { a: '1' } }));
  const same = cluster.api.put(created);
  expect(same).toEqual(created);
  const newer = cluster.api.put({ ...created, data: { a: '2' } });
  expect(Number(newer.metadata.resourceVersion)).toBeGreaterThan(Number(created.metadata.resourceVersion));
  const { code, text } = await raw('/api/v1/namespaces/default/configmaps/versions', { method: 'PUT', body: created });
  expect([code, JSON.parse(text).message]).toEqual([
    409,
    'Operation cannot be fulfilled on configmaps "versions": the object has been modified; please apply your changes to the latest version and try again',
  ]);
});

test.each<[string, object, number, unknown]>([
  ['application/merge-patch+json', { data: { b: null, c: '3' } }, 200, { a: '1', c: '3' }],
  ['application/strategic-merge-patch+json', { data: { a: '9' } }, 200, { a: '9', b: '2' }],
  ['application/apply-patch+yaml', { apiVersion: 'v1', kind: 'ConfigMap', data: { d: '4' } }, 200, { a: '1', b: '2', d: '4' }],
  [
    'application/json-patch+json',
    [
      { op: 'test', path: '/data/a', value: '1' },
      { op: 'move', from: '/data/a', path: '/data/z' },
    ],
    200,
    { b: '2', z: '1' },
  ],
  [
    'application/json-patch+json',
    [
      { op: 'remove', path: '/data/b' },
      { op: 'test', path: '/data/a', value: '7' },
    ],
    422,
    undefined,
  ],
  ['application/json-patch+json', [{ op: 'replace', path: '/data/none', value: '1' }], 422, undefined],
  ['text/plain', {}, 415, undefined],
])('a patch of type %s (%j) gives %i', async (type, body, code, data) => {
  const path = '/api/v1/namespaces/default/configmaps/patched';
  cluster.api.put(object('v1', 'ConfigMap', { name: 'patched', namespace: 'default' }, { data: { a: '1', b: '2' } }));
  const answer = await raw(path, { method: 'PATCH', body, headers: { 'content-type': type } });
  expect([answer.code, JSON.parse(answer.text).data]).toEqual([code, data]);
});

test('a patch can carry a uid and a resource version that must be the stored ones', async () => {
  const stored = cluster.api.put(object('v1', 'ConfigMap', { name: 'guarded', namespace: 'default' }, { data: { a: '1' } }));
  const patch = (metadata: object) =>
    raw('/api/v1/namespaces/default/configmaps/guarded', {
      method: 'PATCH',
      body: { metadata, data: { a: '2' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    }).then(({ code }) => code);
  expect(await patch({ uid: 'another' })).toBe(409);
  expect(await patch({ resourceVersion: '1' })).toBe(409);
  expect(await patch({ uid: stored.metadata.uid, resourceVersion: stored.metadata.resourceVersion })).toBe(200);
});

test('a deletion keeps to its preconditions, and a pod of a DaemonSet comes back with a new uid', async () => {
  const before = await core.readNamespacedPod({ namespace: 'netcheck-agents', name: 'netcheck-agent-2' });
  const remove = (uid: string) =>
    core.deleteNamespacedPod({ namespace: 'netcheck-agents', name: 'netcheck-agent-2', body: { preconditions: { uid } } });
  expect(await statusOf(remove('another'))).toMatchObject({ reason: 'Conflict', code: 409 });
  expect((await remove(before.metadata?.uid ?? '')).metadata?.deletionTimestamp).toBeInstanceOf(Date);
  const after = await core.readNamespacedPod({ namespace: 'netcheck-agents', name: 'netcheck-agent-2' });
  expect(after.spec?.nodeName).toBe('node-2');
  expect(after.metadata?.uid).not.toBe(before.metadata?.uid);
});

test('no or a wrong token is 401, and only the health and version paths answer without one', async () => {
  expect(JSON.parse((await raw('/api/v1/nodes', { token: '' })).text)).toMatchObject({ message: 'Unauthorized', code: 401 });
  expect((await raw('/api/v1/nodes', { token: 'wrong' })).code).toBe(401);
  expect((await raw('/api', { token: '' })).code).toBe(401);
  expect((await raw('/readyz', { token: '' })).text).toBe('ok');
  expect(JSON.parse((await raw('/version', { token: '' })).text)).toMatchObject({ major: '1' });
});

test('RBAC allows what a binding grants and names what it does not', async () => {
  const reader = client(READER).makeApiClient(k8s.CoreV1Api);
  expect(await namesOf(reader.listNode())).toEqual(['node-1', 'node-2']);
  expect((await reader.readNamespacedPod({ namespace: 'netcheck-agents', name: 'netcheck-agent-1' })).metadata?.name).toBe(
    'netcheck-agent-1',
  );
  expect(await statusOf(reader.listPodForAllNamespaces())).toMatchObject({
    message: 'pods is forbidden: User "reader" cannot list resource "pods" in API group "" at the cluster scope',
    reason: 'Forbidden',
    details: { kind: 'pods' },
    code: 403,
  });
  expect(await statusOf(reader.readNamespacedPod({ namespace: 'netcheck-agents', name: 'netcheck-agent-2' }))).toMatchObject({
    message:
      'pods "netcheck-agent-2" is forbidden: User "reader" cannot get resource "pods" in API group "" in the namespace "netcheck-agents"',
  });
});

test.each([
  [{ verb: 'list', resource: 'nodes' }, true],
  [{ verb: 'delete', resource: 'nodes' }, false],
  [{ verb: 'get', resource: 'pods', subresource: 'exec', namespace: 'netcheck-agents' }, true],
  [{ verb: 'get', resource: 'pods', subresource: 'exec', namespace: 'default' }, false],
  [{ verb: 'get', resource: 'pods', namespace: 'netcheck-agents', name: 'netcheck-agent-1' }, true],
  [{ verb: 'get', resource: 'pods', namespace: 'netcheck-agents', name: 'netcheck-agent-2' }, false],
])('an access review of %j says %s', async (resourceAttributes, allowed) => {
  const reviews = client(READER).makeApiClient(k8s.AuthorizationV1Api);
  const { status } = await reviews.createSelfSubjectAccessReview({ body: { spec: { resourceAttributes } } });
  expect(status).toEqual({ allowed });
});

test('an administrator can impersonate, others cannot', async () => {
  const headers = { 'impersonate-user': 'nobody' };
  expect((await raw('/api/v1/nodes', { headers })).code).toBe(403);
  expect((await raw('/api/v1/nodes', { headers, token: READER })).code).toBe(200);
});

test('discovery names every group and resource', async () => {
  const groups = JSON.parse((await raw('/apis')).text).groups.map((group: { name: string }) => group.name);
  expect(groups).toEqual([
    'apps',
    'discovery.k8s.io',
    'networking.k8s.io',
    'rbac.authorization.k8s.io',
    'admissionregistration.k8s.io',
    'authorization.k8s.io',
  ]);
  const { resources } = JSON.parse((await raw('/api/v1')).text);
  expect(resources).toContainEqual({
    name: 'pods/exec',
    singularName: '',
    namespaced: true,
    kind: 'PodExecOptions',
    verbs: ['create', 'get'],
  });
  expect((await raw('/apis/apps')).code).toBe(200);
  expect((await raw('/apis/nothing/v1')).code).toBe(404);
});

test.each([
  [{ kind: 'status', code: 403 }, 403, undefined],
  [{ kind: 'status', code: 500 }, 500, undefined],
  [{ kind: 'status', code: 429, retryAfterSeconds: 7 }, 429, '7'],
  [{ kind: 'html' }, 502, undefined],
  [{ kind: 'slow', delayMs: 1 }, 200, undefined],
] as const)('the switch %j makes a list answer %i, once', async (fault, code, retryAfter) => {
  await raw('/_lab/faults', { method: 'POST', body: { reads: [{ resource: 'nodes', verb: 'list', times: 1, ...fault }] } });
  const { headers, ...answer } = await raw('/api/v1/nodes');
  expect([answer.code, headers['retry-after']]).toEqual([code, retryAfter]);
  expect((await raw('/api/v1/nodes')).code).toBe(200);
});

test('the switch `cut` breaks an answer half-way', async () => {
  cluster.api.setFaults({ reads: [{ resource: 'nodes', kind: 'cut' }] });
  await expect(raw('/api/v1/nodes')).rejects.toMatchObject({ code: 'ECONNRESET' });
});

test('the switches are for administrators and refuse what they do not know', async () => {
  expect((await raw('/_lab/faults', { method: 'POST', token: READER, body: {} })).code).toBe(403);
  const { code, text } = await raw('/_lab/faults', { method: 'POST', body: { exex: [] } });
  expect([code, JSON.parse(text).message]).toEqual([400, expect.stringContaining('"exex"')]);
});

test('an object that the server does not know is refused when it is seeded', () => {
  expect(() => cluster.api.put(object('v1', 'Secret', { name: 'a', namespace: 'default' }))).toThrow('no resource for v1 Secret');
});
