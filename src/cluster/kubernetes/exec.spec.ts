import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { type ExecTarget, type OpenedAgent, openExec } from './exec.ts';
import type { Login } from './kubeconfig.ts';

const TARGET: ExecTarget = {
  node: 'node-1',
  namespace: 'agents',
  pod: 'agent-1',
  container: 'agent',
  argv: ['collect', 'a b&c'],
};

let server: Server;
let login: Login;
let urls: string[] = [];
/** What the other side does with a connection. */
let play: (socket: WebSocket, raw: Socket) => void;

beforeEach(async () => {
  urls = [];
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, handleProtocols: () => 'v5.channel.k8s.io' });
  server = createServer();
  server.on('upgrade', (request, socket, head) => {
    urls.push(request.url ?? '');
    sockets.handleUpgrade(request, socket, head, (client) => play(client, socket as Socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/clusters/one/`);
  login = {
    cluster: 'one',
    server: url,
    authorize: async () => ({ ok: true, value: { headers: { authorization: 'Bearer x' } } }),
  };
});

afterEach(() => server.close());

const message = (channel: number, text: string): Buffer => Buffer.concat([Buffer.of(channel), Buffer.from(text)]);

function open(target = TARGET): Promise<OpenedAgent> {
  return openExec(login, target, AbortSignal.timeout(5000));
}

async function outputOf(opened: OpenedAgent): Promise<string> {
  if (!opened.ok) throw new Error(opened.fault.message);
  const parts: Buffer[] = [];
  for await (const chunk of opened.value.output) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts).toString();
}

test('arguments are escaped, and the path of a server behind a proxy is kept', async () => {
  play = (socket) => {
    socket.send(message(1, 'ready'));
    socket.send(message(3, '{"status":"Success"}'));
    socket.close(1000);
  };
  expect(await outputOf(await open())).toBe('ready');
  expect(urls).toEqual([
    '/clusters/one/api/v1/namespaces/agents/pods/agent-1/exec?container=agent&stdin=true&stdout=true&stderr=true&command=collect&command=a+b%26c',
  ]);
});

test.each(['../../secrets', 'a/b', 'a?b', '', 'A', 'a'.repeat(254)])('the pod name %j is not put into a path', async (pod) => {
  expect(await open({ ...TARGET, pod })).toMatchObject({
    ok: false,
    fault: { kind: 'no-agent', message: expect.stringContaining('is no name') },
  });
  expect(urls).toEqual([]);
});

test('empty messages, unknown channels, text messages and an early error stream are no output', async () => {
  play = (socket) => {
    for (const channel of [1, 2, 3, 4, 9, 255]) socket.send(Buffer.of(channel));
    socket.send(Buffer.alloc(0));
    socket.send(message(2, 'warning: something'));
    socket.send(message(7, 'what?'));
    socket.send('\u0001as text');
    socket.send(message(1, ' and bytes'));
    socket.send(message(3, '{"status":"Success"}'));
    socket.close(1000);
  };
  const opened = await open();
  expect(await outputOf(opened)).toBe('as text and bytes');
  expect(opened.ok && (await opened.value.ended)).toBeNull();
});

test('an agent that ends without a word has not started, and what it said on standard error is told', async () => {
  play = (socket) => {
    socket.send(message(2, 'x'.repeat(5000)));
    socket.send(message(2, 'cannot\u202e open\u0007 /proc\n'));
    socket.send(message(3, '{"status":"Success"}'));
    socket.close(1000);
  };
  const opened = await open();
  expect(opened).toMatchObject({
    ok: false,
    fault: { kind: 'no-agent', message: expect.stringMatching(/^the agent on node-1 ended without a word: x+/) },
  });
  expect(opened.ok ? '' : opened.fault.message.length).toBeLessThan(500);
});

test.each<[string, (socket: WebSocket, raw: Socket) => void, string, RegExp]>([
  [
    'a status that is not JSON',
    (socket) => socket.send(message(3, '<html>'), () => socket.close(1000)),
    'protocol',
    /unreadable status: <html>/,
  ],
  [
    'a message beyond all measure',
    (socket) => socket.send(message(1, 'x'.repeat(5 << 20))),
    'protocol',
    /Max payload size exceeded/,
  ],
  ['bytes that are no WebSocket', (_socket, raw) => raw.write('garbage\r\n\r\n'), 'protocol', /./],
  ['a reset', (_socket, raw) => raw.resetAndDestroy(), 'dropped', /broke: read ECONNRESET|closed \(1006\)/],
  ['an orderly close with a reason', (socket) => socket.close(1011, 'later'), 'dropped', /closed \(1011\) before it ended/],
  [
    'exit status 137',
    (socket) =>
      socket.send(
        message(
          3,
          '{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"137"}]}}',
        ),
        () => socket.close(1000),
      ),
    'dropped',
    /ended with status 137/,
  ],
  [
    'a node that is gone',
    (socket) =>
      socket.send(
        message(
          3,
          '{"status":"Failure","code":500,"message":"Internal error occurred: error sending request: Post \\"https://10.0.0.1:10250/exec/x\\": dial tcp 10.0.0.1:10250: i/o timeout"}',
        ),
        () => socket.close(1000),
      ),
    'unreachable',
    /^the API server cannot reach the kubelet of node-1: dial tcp 10\.0\.0\.1:10250: i\/o timeout$/,
  ],
])('%s after the agent began ends the connection as a fault', async (_case, then, kind, text) => {
  play = (socket, raw) => {
    socket.on('error', () => {});
    raw.on('error', () => {});
    socket.send(message(1, 'ready'), () => then(socket, raw));
  };
  const opened = await open();
  expect(await outputOf(opened)).toBe('ready');
  expect(opened.ok && (await opened.value.ended)).toEqual({ kind, message: expect.stringMatching(text) });
});

test.each([
  [400, 'container agent is not valid for pod agent-1', 'no-agent', 'container agent is not valid for pod agent-1'],
  [401, 'Unauthorized', 'forbidden', 'the API server does not accept the credentials: Unauthorized'],
  [403, 'pods "agent-1" is forbidden', 'forbidden', 'pods "agent-1" is forbidden'],
  [404, 'pods "agent-1" not found', 'no-agent', 'pods "agent-1" not found'],
  [
    500,
    'error dialing backend: dial tcp 10.0.0.1:10250: connect: no route to host',
    'unreachable',
    'the API server cannot reach the kubelet of node-1: dial tcp 10.0.0.1:10250: connect: no route to host',
  ],
  [
    500,
    'error dialing backend: No agent available',
    'unreachable',
    'the API server cannot reach the kubelet of node-1: error dialing backend: No agent available',
  ],
  [
    500,
    'error dialing backend: remote error: tls: internal error',
    'unreachable',
    'the API server cannot reach the kubelet of node-1: error dialing backend: remote error: tls: internal error',
  ],
  [
    500,
    'unable to upgrade connection: container not found ("agent")',
    'no-agent',
    'unable to upgrade connection: container not found ("agent")',
  ],
  [502, '', 'unreachable', 'the API server cannot reach the kubelet of node-1: the API server answered 502 without a reason'],
])('a handshake refused with %i "%s" is the fault %s', async (code, text, kind, expected) => {
  server.removeAllListeners('upgrade');
  server.on('upgrade', (_request, socket) => {
    const body = text === '' ? '<html>' : JSON.stringify({ kind: 'Status', status: 'Failure', message: text, code });
    socket.end(`HTTP/1.1 ${code} No\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
  });
  expect(await open()).toEqual({ ok: false, fault: { kind, message: expected } });
});

test('a refusal whose body never ends is given up at the deadline', async () => {
  server.removeAllListeners('upgrade');
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 403 No\r\ncontent-length: 1000\r\n\r\n{');
  });
  const opened = await openExec(login, TARGET, AbortSignal.timeout(200));
  expect(opened).toMatchObject({ ok: false, fault: { kind: 'timeout' } });
});

test('credentials that no header can carry are a fault, not an exception', async () => {
  login = { ...login, authorize: async () => ({ ok: true, value: { headers: { authorization: 'Bearer a\nb' } } }) };
  expect(await open()).toEqual({ ok: false, fault: { kind: 'forbidden', message: expect.stringContaining('ERR_INVALID_CHAR') } });
});

test('output that arrives while the connection is being closed is dropped', async () => {
  play = (socket) => {
    socket.on('error', () => {});
    for (let count = 0; count < 200; count += 1) socket.send(message(1, 'x'.repeat(1000)));
  };
  const opened = await open();
  if (!opened.ok) throw new Error(opened.fault.message);
  opened.value.close();
  expect(await opened.value.ended).toMatchObject({ kind: 'cancelled' });
  expect((await outputOf(opened)).length).toBeLessThanOrEqual(200_000);
});
