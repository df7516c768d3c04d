import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { PassThrough, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import * as k8s from '@kubernetes/client-node';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { CHANNEL, frame, toBuffer } from '../kubelet/channels.ts';
import type { Faults } from './faults.ts';
import { object } from './objects.ts';
import { ADMIN_TOKEN, agentPod, createSmallCluster, type SmallCluster } from './small-cluster.ts';

const READER = 'reader-token';
const AGENT = '/api/v1/namespaces/netcheck-agents/pods/netcheck-agent-1/exec';

let cluster: SmallCluster;

beforeAll(async () => {
  cluster = await createSmallCluster({
    nodes: 2,
    tokens: [
      { token: ADMIN_TOKEN, user: 'admin', groups: ['system:masters'] },
      { token: READER, user: 'reader', groups: [] },
    ],
    objects: [
      agentPod('node-9', 9),
      agentPod('', 8),
      object(
        'v1',
        'Pod',
        { name: 'two', namespace: 'default' },
        { spec: { nodeName: 'node-1', containers: [{ name: 'a' }, { name: 'b' }] } },
      ),
      object(
        'rbac.authorization.k8s.io/v1',
        'Role',
        { name: 'old', namespace: 'netcheck-agents' },
        {
          rules: [{ apiGroups: [''], resources: ['pods/exec'], verbs: ['get'] }],
        },
      ),
      object(
        'rbac.authorization.k8s.io/v1',
        'RoleBinding',
        { name: 'old', namespace: 'netcheck-agents' },
        {
          roleRef: { kind: 'Role', name: 'old' },
          subjects: [{ kind: 'User', name: 'reader' }],
        },
      ),
    ],
    logs: (pod, container) => (pod.name === 'netcheck-agent-1' ? `one ${container}\ntwo\nthree\n` : undefined),
  });
});

beforeEach(() => cluster.api.setFaults({}));

afterAll(() => cluster.close());

type Opened = {
  readonly socket: WebSocket;
  /** All messages of a channel, joined. */
  readonly output: (channel: number) => string;
  readonly closed: Promise<number>;
};

function execUrl(path: string, argv: readonly string[], query: Record<string, string> = {}): string {
  const parameters = new URLSearchParams({ stdin: 'true', stdout: 'true', stderr: 'true', ...query });
  for (const argument of argv) parameters.append('command', argument);
  return `${cluster.api.url}${path}?${parameters.toString()}`;
}

function open(url: string, protocols: readonly string[], token = ADMIN_TOKEN, ca = cluster.api.ca): Opened {
  const socket = new WebSocket(url, [...protocols], { ca, headers: { authorization: `Bearer ${token}` } });
  const messages: Buffer[] = [];
  socket.on('message', (data) => messages.push(toBuffer(data)));
  socket.on('error', () => {});
  const closed = new Promise<number>((resolve) => {
    socket.on('close', resolve);
  });
  const output = (channel: number) =>
    Buffer.concat(messages.filter((message) => message[0] === channel).map((message) => message.subarray(1))).toString();
  return { socket, output, closed };
}

/** The status code and the Status that an upgrade is refused with. */
async function refusal(url: string, protocols: readonly string[] = ['v5.channel.k8s.io'], token = ADMIN_TOKEN): Promise<unknown> {
  const { socket } = open(url, protocols, token);
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  const { code, reason, message } = JSON.parse(await text(response));
  return { http: response.statusCode, code, reason, message };
}

async function execByLibrary(
  argv: string[],
  input: PassThrough | null,
): Promise<{ out: string; err: string; status: k8s.V1Status }> {
  const config = new k8s.KubeConfig();
  config.loadFromString(cluster.api.kubeconfig(ADMIN_TOKEN));
  const [out, err] = [collect(), collect()];
  const status = await new Promise<k8s.V1Status>((resolve, reject) => {
    new k8s.Exec(config)
      .exec('netcheck-agents', 'netcheck-agent-1', 'agent', argv, out.stream, err.stream, input, false, resolve)
      .catch(reject);
  });
  return { out: out.text(), err: err.text(), status };
}

function collect(): { stream: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}

test('the client library runs a command and gets its output and exit status', async () => {
  const { out, err, status } = await execByLibrary(['sh', '-c', 'echo "$1"; echo oops >&2; exit 7', 'sh', 'a b&c=d'], null);
  expect({ out, err, status }).toEqual({
    out: 'a b&c=d\n',
    err: 'oops\n',
    status: {
      metadata: {},
      status: 'Failure',
      message: expect.stringContaining('command terminated with non-zero exit code'),
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: '7' }] },
    },
  });
});

test('the end of standard input reaches the process with v5', async () => {
  const input = new PassThrough();
  const ended = execByLibrary(['cat'], input);
  input.end('hello');
  expect(await ended).toMatchObject({ out: 'hello', status: { status: 'Success' } });
});

test('a command that does not exist is a Failure on the status channel', async () => {
  const { status } = await execByLibrary(['/no/such/command'], null);
  expect(status).toMatchObject({
    status: 'Failure',
    reason: 'InternalError',
    code: 500,
    message: expect.stringContaining('ENOENT'),
  });
});

test.each([
  [['v5.channel.k8s.io', 'v4.channel.k8s.io'], 'v5.channel.k8s.io'],
  [['v4.channel.k8s.io', 'v5.channel.k8s.io'], 'v4.channel.k8s.io'],
  [['v9.channel.k8s.io', 'v4.channel.k8s.io'], 'v4.channel.k8s.io'],
])('of %j it speaks %s, with an empty frame on each output channel first', async (offered, chosen) => {
  const { socket, output, closed } = open(execUrl(AGENT, ['echo', 'hi']), offered);
  const early: number[] = [];
  socket.on('message', (data) => toBuffer(data).length === 1 && early.push(toBuffer(data)[0] ?? -1));
  expect(await closed).toBe(1000);
  expect(socket.protocol).toBe(chosen);
  expect(new Set(early)).toEqual(new Set([CHANNEL.stdout, CHANNEL.stderr, CHANNEL.status]));
  expect([output(CHANNEL.stdout), JSON.parse(output(CHANNEL.status)).status]).toEqual(['hi\n', 'Success']);
});

test('64 MiB of output arrive whole at a slow reader, and are not piled up on the way', async () => {
  const { socket, closed } = open(execUrl(AGENT, ['head', '-c', String(64 << 20), '/dev/zero']), ['v5.channel.k8s.io']);
  let bytes = 0;
  let peak = 0;
  const before = process.memoryUsage().rss;
  socket.on('message', (data) => {
    const message = toBuffer(data);
    if (message[0] === CHANNEL.stdout) bytes += message.length - 1;
    peak = Math.max(peak, process.memoryUsage().rss - before);
    socket.pause();
    setImmediate(() => socket.resume());
  });
  expect(await closed).toBe(1000);
  expect(bytes).toBe(64 << 20);
  expect(peak).toBeLessThan(150 << 20);
}, 30_000);

test('a client that goes away leaves the process running with its input closed', async () => {
  const { socket } = open(execUrl(AGENT, ['sh', '-c', 'cat > /dev/null; exit 0']), ['v5.channel.k8s.io']);
  await once(socket, 'message');
  while (cluster.running() === 0) await once(socket, 'message');
  socket.terminate();
  await expect.poll(() => cluster.running()).toBe(0);
});

test.each([
  ['without a command', execPath(AGENT, []), 400, 'BadRequest', 'you must specify at least 1 command'],
  [
    'for a container that is not there',
    execPath(AGENT, ['ls'], { container: 'sidecar' }),
    400,
    'BadRequest',
    'container sidecar is not valid for pod netcheck-agent-1',
  ],
  [
    'for one of two containers',
    execPath('/api/v1/namespaces/default/pods/two/exec', ['ls']),
    400,
    'BadRequest',
    'a container name must be specified for pod two, choose one of: [a b]',
  ],
  [
    'for a pod that is not there',
    execPath('/api/v1/namespaces/default/pods/gone/exec', ['ls']),
    404,
    'NotFound',
    'pods "gone" not found',
  ],
  [
    'for a pod without a node',
    execPath('/api/v1/namespaces/netcheck-agents/pods/netcheck-agent-8/exec', ['ls']),
    400,
    'BadRequest',
    'pod netcheck-agent-8 does not have a host assigned',
  ],
  [
    'for a pod on an unknown node',
    execPath('/api/v1/namespaces/netcheck-agents/pods/netcheck-agent-9/exec', ['ls']),
    404,
    'NotFound',
    'nodes "node-9" not found',
  ],
])('an exec %s is refused before the upgrade', async (_case, path, code, reason, message) => {
  expect(await refusal(`${cluster.api.url}${path}`)).toEqual({ http: code, code, reason, message });
});

function execPath(path: string, argv: readonly string[], query: Record<string, string> = {}): string {
  const parameters = new URLSearchParams({ stdout: 'true', ...query });
  for (const argument of argv) parameters.append('command', argument);
  return `${path}?${parameters.toString()}`;
}

test('an exec needs the verbs get and create, as since 1.35', async () => {
  expect(await refusal(execUrl(AGENT, ['ls']), ['v5.channel.k8s.io'], READER)).toEqual({
    http: 403,
    code: 403,
    reason: 'Forbidden',
    message:
      'pods "netcheck-agent-1" is forbidden: User "reader" cannot create resource "pods/exec" in API group "" in the namespace "netcheck-agents"',
  });
});

test('a wrong token is refused before the upgrade', async () => {
  expect(await refusal(execUrl(AGENT, ['ls']), ['v5.channel.k8s.io'], 'wrong')).toMatchObject({
    http: 401,
    message: 'Unauthorized',
  });
});

test('a plain GET of exec asks for an upgrade', async () => {
  const config = new k8s.KubeConfig();
  config.loadFromString(cluster.api.kubeconfig(ADMIN_TOKEN));
  const core = config.makeApiClient(k8s.CoreV1Api);
  await expect(
    core.connectGetNamespacedPodExec({ namespace: 'netcheck-agents', name: 'netcheck-agent-1', command: 'ls' }),
  ).rejects.toMatchObject({
    code: 400,
    body: expect.stringContaining('Upgrade request required'),
  });
});

const EXEC_FAULTS: readonly [string, Faults['exec'][number], number, string, string][] = [
  ['cut after some output', { kind: 'drop', afterBytes: 5 }, 1006, 'hello', ''],
  ['cut at once', { kind: 'drop', afterBytes: 0 }, 1006, '', ''],
  ['closed without a status', { kind: 'close-without-status' }, 1000, 'hello world\n', ''],
];

test.each(EXEC_FAULTS)('the switch %s', async (_name, fault, code, out, status) => {
  cluster.api.setFaults({ exec: [{ node: 'node-1', ...fault }] });
  const { output, closed } = open(execUrl(AGENT, ['echo', 'hello world']), ['v5.channel.k8s.io']);
  expect([await closed, output(CHANNEL.stdout), output(CHANNEL.status)]).toEqual([code, out, status]);
});

test('the switches for refusals apply to their node, as often as they say', async () => {
  cluster.api.setFaults({
    exec: [
      { node: 'node-2', kind: 'forbidden' },
      { kind: 'throttled', retryAfterSeconds: 3, times: 1 },
    ],
  });
  expect(await refusal(execUrl(AGENT, ['ls']))).toMatchObject({ http: 429, reason: 'TooManyRequests' });
  expect(await refusal(execUrl(AGENT.replace('-1/', '-2/'), ['ls']))).toMatchObject({ http: 403, reason: 'Forbidden' });
  expect(await open(execUrl(AGENT, ['true']), ['v5.channel.k8s.io']).closed).toBe(1000);
});

test('the hanging switches never go on: before the upgrade, or after it', async () => {
  cluster.api.setFaults({
    exec: [
      { node: 'node-1', kind: 'hang-before-open' },
      { node: 'node-2', kind: 'hang-after-open' },
    ],
  });
  const before = open(execUrl(AGENT, ['echo', 'hi']), ['v5.channel.k8s.io']);
  const after = open(execUrl(AGENT.replace('-1/', '-2/'), ['echo', 'hi']), ['v5.channel.k8s.io']);
  await once(after.socket, 'message');
  expect([before.socket.readyState, after.socket.readyState, cluster.running()]).toEqual([
    WebSocket.CONNECTING,
    WebSocket.OPEN,
    0,
  ]);
  before.socket.terminate();
  after.socket.terminate();
  await Promise.all([before.closed, after.closed]);
});

test('the connections of execs that ended in whatever way do not stay', async () => {
  let arrived = (): void => {};
  const other = await createSmallCluster({ nodes: 1, onRequest: () => arrived() });
  other.api.setFaults({
    exec: [
      { kind: 'drop', afterBytes: 0, times: 1 },
      { kind: 'drop', afterBytes: 2, times: 1 },
      { kind: 'close-without-status', times: 1 },
      { kind: 'forbidden', times: 1 },
      { kind: 'hang-before-open', times: 1 },
      { kind: 'hang-after-open', times: 1 },
    ],
  });
  for (let count = 0; count < 8; count += 1) {
    const asked = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const url = execUrl(AGENT, ['echo', 'hello']).replace(cluster.api.url, other.api.url);
    const { socket, closed } = open(url, ['v5.channel.k8s.io'], ADMIN_TOKEN, other.api.ca);
    if (count === 4 || count === 5) {
      await asked;
      socket.terminate();
    }
    await closed;
  }
  await expect.poll(async () => [await other.api.connections(), other.kubelets.get('node-1')?.connections()]).toEqual([0, 0]);
  await other.close();
});

test('a log is read through the kubelet, with its last lines and its limit', async () => {
  const config = new k8s.KubeConfig();
  config.loadFromString(cluster.api.kubeconfig(ADMIN_TOKEN));
  const core = config.makeApiClient(k8s.CoreV1Api);
  const read = (options: object) =>
    core.readNamespacedPodLog({ namespace: 'netcheck-agents', name: 'netcheck-agent-1', ...options });
  expect(await read({})).toBe('one agent\ntwo\nthree\n');
  expect(await read({ tailLines: 2 })).toBe('two\nthree\n');
  expect(await read({ limitBytes: 5 })).toBe('one a');
  await expect(core.readNamespacedPodLog({ namespace: 'netcheck-agents', name: 'netcheck-agent-2' })).rejects.toMatchObject({
    code: 404,
  });
});

test('a follower gets what is logged until the log ends', async () => {
  const log = new PassThrough();
  const other = await createSmallCluster({ nodes: 1, logs: (_pod, _container, { follow }) => (follow ? log : 'not followed') });
  const config = new k8s.KubeConfig();
  config.loadFromString(other.api.kubeconfig(ADMIN_TOKEN));
  const sink = new PassThrough();
  await new k8s.Log(config).log('netcheck-agents', 'netcheck-agent-1', 'agent', sink, { follow: true });
  log.write('first\n');
  expect(String(await once(sink, 'data'))).toBe('first\n');
  log.end('last\n');
  expect(await text(sink)).toBe('last\n');
  await other.close();
});

/** A cluster whose only kubelet refuses connections, and an exec there. `dial` is how Go's error says so. */
async function execWithoutKubelet(protocol: string) {
  const other = await createSmallCluster({ nodes: 1 });
  const kubelet = other.kubelets.get('node-1');
  await kubelet?.stop();
  const url = execUrl(AGENT, ['ls']).replace(cluster.api.url, other.api.url);
  const socket = new WebSocket(url, [protocol], { ca: other.api.ca, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  socket.on('error', () => {});
  const address = `127.0.0.1:${kubelet?.port}`;
  return { other, socket, address, dial: `dial tcp ${address}: connect: connection refused` };
}

test('a kubelet that refuses the connection is told before the upgrade with v4.channel.k8s.io', async () => {
  const { other, socket, dial } = await execWithoutKubelet('v4.channel.k8s.io');
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  expect(JSON.parse(await text(response))).toEqual({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: `error dialing backend: ${dial}`,
    code: 500,
  });
  socket.terminate();
  await other.close();
});

test('a kubelet that refuses the connection is told after the upgrade with v5.channel.k8s.io', async () => {
  const { other, socket, address, dial } = await execWithoutKubelet('v5.channel.k8s.io');
  const messages: Buffer[] = [];
  socket.on('message', (data) => messages.push(toBuffer(data)));
  expect((await once(socket, 'close'))[0]).toBe(1000);
  const status = messages.find((message) => message[0] === CHANNEL.status);
  const message = `error sending request: Post "http://${address}/exec/netcheck-agents/netcheck-agent-1/agent?command=ls&input=1&output=1&error=1": ${dial}`;
  expect(JSON.parse(status?.subarray(1).toString() ?? '{}')).toMatchObject({
    reason: 'InternalError',
    code: 500,
    message: `Internal error occurred: ${message}`,
  });
  await other.close();
});

test.each([
  ['v4.channel.k8s.io', 1006, ''],
  ['v5.channel.k8s.io', 1000, 'Success'],
])(
  'a kubelet that is lost half-way: %s closes with %i and the status "%s", as a real server does',
  async (protocol, code, status) => {
    const other = await createSmallCluster({ nodes: 1 });
    const url = execUrl(AGENT, ['sh', '-c', 'echo started; cat']).replace(cluster.api.url, other.api.url);
    const socket = new WebSocket(url, [protocol], { ca: other.api.ca, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    const said: string[] = [];
    socket.on('message', (data) => {
      const message = toBuffer(data);
      if (message[0] === CHANNEL.status && message.length > 1) said.push(JSON.parse(message.subarray(1).toString()).status);
      if (message[0] === CHANNEL.stdout && message.length > 1) void other.kubelets.get('node-1')?.stop();
    });
    expect([(await once(socket, 'close'))[0], said.join()]).toEqual([code, status]);
    await other.close();
  },
);

test('a kubelet that accepts and says nothing ends in a timeout of the dial', async () => {
  const silent = createNetServer(() => {});
  await new Promise<void>((resolve) => {
    silent.listen(0, '127.0.0.1', resolve);
  });
  const address = silent.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const other = await createSmallCluster({ nodes: 1, dialTimeoutMs: 50 });
  await other.close();
  const { createApiServer } = await import('./server.ts');
  const api = await createApiServer({
    listen: '127.0.0.1:0',
    objects: [agentPod('node-1', 1)],
    tokens: [{ token: ADMIN_TOKEN, user: 'admin', groups: ['system:masters'] }],
    kubelets: { 'node-1': { ip: '127.0.0.1', port } },
    dialTimeoutMs: 50,
  });
  const url = execUrl(AGENT, ['ls']).replace(cluster.api.url, api.url);
  const socket = new WebSocket(url, ['v4.channel.k8s.io'], { ca: api.ca, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  socket.on('error', () => {});
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  expect(JSON.parse(await text(response)).message).toBe(`error dialing backend: dial tcp 127.0.0.1:${port}: i/o timeout`);
  socket.terminate();
  await api.close();
  silent.close();
});

test('input sent before the kubelet answered is not lost', async () => {
  const { socket, output, closed } = open(execUrl(AGENT, ['cat']), ['v5.channel.k8s.io']);
  await once(socket, 'open');
  socket.send(frame(CHANNEL.stdin, 'early'));
  socket.send(Buffer.of(CHANNEL.close, CHANNEL.stdin));
  expect([await closed, output(CHANNEL.stdout)]).toEqual([1000, 'early']);
});
