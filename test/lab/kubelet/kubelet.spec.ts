import { once } from 'node:events';
import { get } from 'node:http';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type RunningKubelet, startKubelet } from '../api/small-cluster.ts';
import { CHANNEL, frame, toBuffer } from './channels.ts';
import type { ExecProcess, KubeletOptions } from './kubelet.ts';

let kubelet: RunningKubelet;

afterEach(() => kubelet.stop());

async function serve(options: Partial<KubeletOptions>): Promise<void> {
  kubelet = await startKubelet({ node: 'node-1', exec: () => undefined, logs: () => undefined, log: () => {}, ...options });
}

function read(path: string): Promise<[number | undefined, string]> {
  return new Promise((resolve, reject) => {
    const sent = get({ host: kubelet.ip, port: kubelet.port, path, agent: false }, (response) => {
      text(response).then((body) => resolve([response.statusCode, body]), reject);
    });
    sent.on('error', reject);
  });
}

/** A process that is only its streams, and a way to end it. */
function puppet(): ExecProcess & {
  readonly stdin: PassThrough;
  readonly stdout: PassThrough;
  readonly stderr: PassThrough;
  readonly end: (code: number) => void;
} {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const { promise, resolve } = Promise.withResolvers<number>();
  const end = (code: number): void => {
    stdout.end();
    stderr.end();
    resolve(code);
  };
  return { stdin, stdout, stderr, exit: promise, end };
}

function exec(path: string): { socket: WebSocket; said: (channel: number) => string } {
  const socket = new WebSocket(`http://${kubelet.ip}:${kubelet.port}${path}`, ['v5.channel.k8s.io']);
  const messages: Buffer[] = [];
  socket.on('message', (data) => messages.push(toBuffer(data)));
  const said = (channel: number) =>
    Buffer.concat(messages.filter((message) => message[0] === channel).map((message) => message.subarray(1))).toString();
  return { socket, said };
}

test('it answers for its health and its pods, and for nothing that it does not know', async () => {
  await serve({ pods: () => [{ metadata: { name: 'web-1' } }] });
  expect(await read('/healthz')).toEqual([200, 'ok']);
  expect(JSON.parse((await read('/pods'))[1])).toEqual({
    kind: 'PodList',
    apiVersion: 'v1',
    metadata: {},
    items: [{ metadata: { name: 'web-1' } }],
  });
  expect(await read('/containerLogs/default/none/c')).toEqual([404, 'pod "none" not found']);
  expect((await read('/configz'))[0]).toBe(404);
  expect((await read('/containerLogs/default/%E0%A4%A/c'))[0]).toBe(500);
});

test('an exec is asked for by pod, container and argument vector', async () => {
  const asked: unknown[] = [];
  const process = puppet();
  await serve({
    exec(...call) {
      asked.push(call);
      return process;
    },
  });
  const { socket, said } = exec('/exec/agents/agent-1/agent?command=netcheck-agent&command=a%20b%26c&output=1');
  await once(socket, 'open');
  process.stdout.write('out');
  process.stderr.write('err');
  process.end(3);
  await once(socket, 'close');
  expect(asked).toEqual([[{ namespace: 'agents', name: 'agent-1' }, 'agent', ['netcheck-agent', 'a b&c']]]);
  expect([said(CHANNEL.stdout), said(CHANNEL.stderr), JSON.parse(said(CHANNEL.status)).details]).toEqual([
    'out',
    'err',
    { causes: [{ reason: 'ExitCode', message: '3' }] },
  ]);
});

test('a connection that is cut only closes the input of the process, whose output goes nowhere from then on', async () => {
  const process = puppet();
  await serve({ exec: () => process });
  const { socket } = exec('/exec/agents/agent-1/agent?command=x');
  await once(socket, 'open');
  socket.send(frame(CHANNEL.stdin, 'last words'));
  const heard = text(process.stdin);
  await once(process.stdin, 'readable');
  socket.terminate();
  expect(await heard).toBe('last words');
  expect(process.stdout.destroyed).toBe(false);
  for (let count = 0; count < 64; count += 1) {
    if (!process.stdout.write(Buffer.alloc(65_536))) await once(process.stdout, 'drain');
  }
  process.end(0);
});

test('a pod that is not on the node is refused before the upgrade', async () => {
  await serve({});
  const { socket } = exec('/exec/agents/agent-1/agent?command=x');
  const [error] = await once(socket, 'error');
  expect(String(error)).toContain('404');
});
