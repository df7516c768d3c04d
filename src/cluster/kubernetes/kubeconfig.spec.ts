import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { temporaryFolder } from '../../../test/folder.ts';
import { createCertificates } from '../../../test/lab/api/certificates.ts';
import { object } from '../../../test/lab/api/objects.ts';
import { ADMIN_TOKEN, createSmallCluster, type SmallCluster } from '../../../test/lab/api/small-cluster.ts';
import type { ClusterResult } from '../port.ts';
import { createKubernetesCluster, type KubernetesCluster, type KubernetesClusterOptions } from './index.ts';

const directory = temporaryFolder();
let small: SmallCluster;
let users: string[] = [];

beforeAll(async () => {
  small = await createSmallCluster({
    nodes: 1,
    command: () => ['sh', '-c', 'echo ready; exec cat'],
    tokens: [
      { token: ADMIN_TOKEN, user: 'admin', groups: ['system:masters'] },
      { token: 'second', user: 'second', groups: ['system:masters'] },
    ],
    objects: [
      object(
        'rbac.authorization.k8s.io/v1',
        'ClusterRole',
        { name: 'look' },
        { rules: [{ apiGroups: [''], resources: ['nodes'], verbs: ['list'] }] },
      ),
      object(
        'rbac.authorization.k8s.io/v1',
        'ClusterRoleBinding',
        { name: 'look' },
        {
          roleRef: { kind: 'ClusterRole', name: 'look' },
          subjects: [{ kind: 'Group', name: 'lookers' }],
        },
      ),
    ],
    onRequest: ({ user }) => users.push(user),
  });
});

beforeEach(() => {
  users = [];
});

afterAll(async () => {
  await small.close();
});

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

/** A kubeconfig for the double, with changes to its parts. */
function config(change: { cluster?: object; user?: object; context?: object; top?: object } = {}): string {
  const ca = Buffer.from(small.api.ca).toString('base64');
  return JSON.stringify({
    clusters: [{ name: 'lab', cluster: { server: small.api.url, 'certificate-authority-data': ca, ...change.cluster } }],
    users: [{ name: 'me', user: change.user ?? { token: ADMIN_TOKEN } }],
    contexts: [{ name: 'here', context: { cluster: 'lab', user: 'me', ...change.context } }],
    'current-context': 'here',
    ...change.top,
  });
}

function create(options: Partial<KubernetesClusterOptions>): ClusterResult<KubernetesCluster> {
  return createKubernetesCluster({
    kubeconfig: undefined,
    env: {},
    serviceAccountDir: directory,
    log: { debug: () => {} },
    ...options,
  });
}

/** The name of the cluster after it was read and its agent was opened, or the fault that came instead. */
async function use(options: Partial<KubernetesClusterOptions>): Promise<unknown> {
  const created = create({ timeoutMs: 5000, ...options });
  if (!created.ok) return created.fault;
  const cluster = created.value;
  try {
    const inventory = await cluster.inventory(AbortSignal.timeout(5000));
    if (!inventory.ok) return inventory.fault;
    const agent = await cluster.openAgent('node-1', AbortSignal.timeout(5000));
    if (!agent.ok) return agent.fault;
    agent.value.close();
    return cluster.name;
  } finally {
    await cluster.close();
  }
}

test.each<[string, (() => string) | null, string]>([
  ['is not there', null, 'FILE: no such file; name another kubeconfig with --kubeconfig, or set KUBECONFIG'],
  ['is not YAML', () => 'clusters:\n  - name: [a\nusers: {}\n', 'FILE:3: not YAML: '],
  ['is something else', () => 'just text', 'FILE:1: the file: Invalid input: expected object, received string'],
  ['is empty', () => '', 'FILE: no current-context; choose one with --context (there is none)'],
  [
    'has a cluster without a server',
    () => 'clusters:\n- name: a\n  cluster:\n    insecure-skip-tls-verify: true\n',
    'FILE:4: clusters[0].cluster.server: write an https:// address',
  ],
  [
    'has a server that is no address',
    () => 'clusters:\n- name: a\n  cluster:\n    server: 10.0.0.1:6443\n',
    'FILE:4: clusters[0].cluster.server: write an https:// address',
  ],
  [
    'has no such context',
    () => config({ top: { 'current-context': 'hree' } }),
    "FILE: no context named 'hree', did you mean 'here'? (there is: here)",
  ],
  [
    'has no such cluster',
    () => config({ context: { cluster: 'other' } }),
    "FILE: context 'here' names the cluster 'other', which is not there (there is: lab)",
  ],
  [
    'has no such user',
    () => config({ context: { user: 'nobody' } }),
    "FILE: context 'here' names the user 'nobody', which is not there (there is: me)",
  ],
  [
    'names an authority that is not there',
    () => config({ cluster: { 'certificate-authority-data': undefined, 'certificate-authority': 'no.crt' } }),
    "FILE: cluster 'lab': certificate-authority: DIR/no.crt: no such file",
  ],
  [
    'has an authority that is none',
    () => config({ cluster: { 'certificate-authority-data': 'bm90IGEgY2VydA==' } }),
    "FILE: cluster 'lab': certificate-authority is not a PEM certificate: ",
  ],
  [
    'names a client key that is a directory',
    () => config({ user: { 'client-key': '.' } }),
    "FILE: user 'me': client-key: DIR: a directory, not a file",
  ],
  [
    'has a client certificate with the key of another',
    () => config({ user: pairOfTwo() }),
    "FILE: user 'me': client-certificate and client-key do not work together: ",
  ],
])('a kubeconfig that %s is a fault that says what to mend', async (_case, text, message) => {
  const kubeconfig = text === null ? join(directory, 'missing') : await file('broken', text());
  const created = create({ kubeconfig });
  const expected = message.replace('FILE', kubeconfig).replace('DIR', directory);
  expect(created).toEqual({ ok: false, fault: { kind: 'invalid', message: expect.stringContaining(expected) } });
});

function pairOfTwo(): object {
  const [one, two] = [createCertificates(['a'], new Date()), createCertificates(['b'], new Date())];
  return {
    'client-certificate-data': Buffer.from(one.cert).toString('base64'),
    'client-key-data': Buffer.from(two.key).toString('base64'),
  };
}

test('a context can be chosen, with names that are near when it is mistyped', async () => {
  const kubeconfig = await file(
    'two',
    config({
      top: {
        contexts: [
          { name: 'prod', context: { cluster: 'lab', user: 'me' } },
          { name: 'dev', context: { cluster: 'lab', user: 'me' } },
        ],
      },
    }),
  );
  expect(await use({ kubeconfig, context: 'prod' })).toBe('lab');
  expect(create({ kubeconfig, context: 'prd' })).toMatchObject({
    fault: { message: `${kubeconfig}: no context named 'prd', did you mean 'prod'? (there is: prod, dev)` },
  });
});

test('a cluster takes the name that it is given, else that of the kubeconfig', async () => {
  const kubeconfig = await file('plain', config());
  expect(await use({ kubeconfig })).toBe('lab');
  expect(await use({ kubeconfig, name: 'production' })).toBe('production');
});

test('a token file is read beside its kubeconfig, and again when it was replaced', async () => {
  await file('token', `${ADMIN_TOKEN}\n`);
  const kubeconfig = await file('token-file', config({ user: { tokenFile: 'token' } }));
  expect(await use({ kubeconfig })).toBe('lab');
  await file('token', 'second');
  expect(await use({ kubeconfig })).toBe('lab');
  expect([users[0], users.at(-1)]).toEqual(['admin', 'second']);
  await file('token', '\n');
  expect(await use({ kubeconfig })).toMatchObject({
    kind: 'invalid',
    message: `no nodes could be read: ${kubeconfig}: user 'me': tokenFile: ${directory}/token is empty`,
  });
});

test('a wrong token is a fault of the credentials', async () => {
  const kubeconfig = await file('wrong', config({ user: { token: 'wrong' } }));
  expect(await use({ kubeconfig })).toEqual({
    kind: 'unauthorized',
    message: 'no nodes could be read: the API server does not accept the credentials: Unauthorized',
  });
});

test('a token that no header can carry is a fault, not an exception', async () => {
  const kubeconfig = await file('odd', config({ user: { token: 'a\nb' } }));
  expect(await use({ kubeconfig })).toMatchObject({ kind: 'invalid', message: expect.stringContaining('ERR_INVALID_CHAR') });
});

test('a user can act as another, with groups', async () => {
  const user = { token: ADMIN_TOKEN, as: 'someone', 'as-groups': ['lookers', 'others'] };
  const created = create({ kubeconfig: await file('as', config({ user })) });
  if (!created.ok) throw new Error(created.fault.message);
  const inventory = await created.value.inventory(AbortSignal.timeout(5000));
  expect(inventory.ok && inventory.value.gaps).toContainEqual({
    what: 'pods',
    reason: 'pods is forbidden: User "someone" cannot list resource "pods" in API group "" at the cluster scope',
  });
  expect(await created.value.openAgent('node-1', AbortSignal.timeout(5000))).toMatchObject({
    fault: { kind: 'forbidden', message: expect.stringContaining('someone') },
  });
  await created.value.close();
});

test('a server whose certificate another authority signed is not trusted, unless that is wanted', async () => {
  const ca = Buffer.from(createCertificates(['a'], new Date()).ca).toString('base64');
  const kubeconfig = await file('untrusted', config({ cluster: { 'certificate-authority-data': ca } }));
  expect(await use({ kubeconfig })).toMatchObject({
    kind: 'invalid',
    message: expect.stringContaining('the certificate of 127.0.0.1'),
  });
  const insecure = { 'certificate-authority-data': undefined, 'insecure-skip-tls-verify': true };
  expect(await use({ kubeconfig: await file('insecure', config({ cluster: insecure })) })).toBe('lab');
});

test('the name in the certificate can differ from the address', async () => {
  const named = (name: string) => config({ cluster: { 'tls-server-name': name } });
  expect(await use({ kubeconfig: await file('named', named('kubernetes.default.svc')) })).toBe('lab');
  expect(await use({ kubeconfig: await file('misnamed', named('elsewhere')) })).toMatchObject({ kind: 'invalid' });
});

test('a server that is not there cannot be reached', async () => {
  const kubeconfig = await file('gone', config({ cluster: { server: 'https://127.0.0.1:1' } }));
  expect(await use({ kubeconfig })).toEqual({
    kind: 'unreachable',
    message: 'no nodes could be read: the API server at 127.0.0.1:1 cannot be reached: connect ECONNREFUSED 127.0.0.1:1',
  });
});

test('an exec plugin gives the credentials', async () => {
  const credential = { apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token: 'second' } };
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: process.execPath,
    args: ['-e', `console.log(${JSON.stringify(JSON.stringify(credential))})`],
  };
  expect(await use({ kubeconfig: await file('plugin', config({ user: { exec } })) })).toBe('lab');
  expect(new Set(users)).toEqual(new Set(['second']));
});

test.each([
  ['fails', { command: 'sh', args: ['-c', 'echo log in first >&2; exit 1'] }, "user 'me': no credentials: log in first"],
  ['is not there', { command: './no-such-plugin' }, 'ENOENT'],
  ['prints something else', { command: 'echo', args: ['hello'] }, 'no credentials: '],
])('an exec plugin that %s is a fault that repeats what it said', async (_case, exec, message) => {
  const kubeconfig = await file('bad-plugin', config({ user: { exec } }));
  expect(await use({ kubeconfig })).toMatchObject({ kind: 'unauthorized', message: expect.stringContaining(message) });
});

test('an exec plugin that hangs is given up at the deadline', async () => {
  const created = create({ kubeconfig: await file('hanging-plugin', config({ user: { exec: { command: 'cat' } } })) });
  if (!created.ok) throw new Error(created.fault.message);
  expect(await created.value.inventory(AbortSignal.timeout(200))).toMatchObject({ fault: { kind: 'timeout' } });
  expect(await created.value.openAgent('node-1', AbortSignal.timeout(200))).toMatchObject({ fault: { kind: 'timeout' } });
  await created.value.close();
});

test('everything goes through the proxy of the kubeconfig', async () => {
  const tunnels: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (request, client, head) => {
    tunnels.push(request.url ?? '');
    const [host, port] = (request.url ?? '').split(':');
    const server = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      server.write(head);
      client.pipe(server).pipe(client);
    });
    server.on('error', () => client.destroy());
    client.on('error', () => server.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  expect(await use({ kubeconfig: await file('proxied', config({ cluster: { 'proxy-url': url } })) })).toBe('lab');
  expect(new Set(tunnels)).toEqual(new Set([new URL(small.api.url).host]));
  proxy.closeAllConnections();
  proxy.close();
});

test('without a file it takes KUBECONFIG, of which the first that has a name wins', async () => {
  const first = await file(
    'first',
    JSON.stringify({
      contexts: [{ name: 'mine', context: { cluster: 'lab', user: 'me' } }],
      'current-context': 'mine',
      users: [{ name: 'me', user: { token: 'second' } }],
    }),
  );
  const second = await file('second', config());
  expect(await use({ env: { KUBECONFIG: `${first}:${second}` } })).toBe('lab');
  expect(new Set(users)).toEqual(new Set(['second']));
});

test('without KUBECONFIG it takes ~/.kube/config, and says so when there is nothing at all', async () => {
  expect(create({ env: { HOME: directory } })).toMatchObject({
    fault: { message: expect.stringContaining(`${directory}/.kube/config: no such file`) },
  });
  await mkdir(join(directory, '.kube'));
  await file('.kube/config', config());
  expect(await use({ env: { HOME: directory } })).toBe('lab');
});

test('in a pod it takes the service account and the address in the environment', async () => {
  const serviceAccountDir = join(directory, 'account');
  await mkdir(serviceAccountDir);
  await file('account/token', ADMIN_TOKEN);
  await file('account/ca.crt', small.api.ca);
  const env = { HOME: '/nowhere', KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(small.api.port) };
  expect(await use({ env, serviceAccountDir })).toBe('in-cluster');
  await file('account/ca.crt', 'nothing');
  expect(create({ env, serviceAccountDir })).toMatchObject({
    fault: { message: expect.stringContaining('ca.crt is not a PEM certificate') },
  });
});
