import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../folder.ts';
import { type KubeObject, listAt, textAt } from './objects.ts';
import { createApiServer } from './server.ts';
import { ADMIN_TOKEN, agentPod, createSmallCluster } from './small-cluster.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const TOKENS = [{ token: ADMIN_TOKEN, user: 'admin', groups: ['system:masters'] }];

const directory = temporaryFolder();

function start(input: string) {
  const child = spawn(process.execPath, [MAIN], { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.write(input);
  return child;
}

function versionOver(options: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ path: '/version', agent: false, ...options }, (response) => resolve(text(response)));
    sent.on('error', reject);
    sent.end();
  });
}

test('the program serves TLS on its address and its socket, and ends with its standard input', async () => {
  const socket = join(directory, 'api.sock');
  const child = start(
    JSON.stringify({ listen: '127.0.0.1:0', socket, certificateDir: directory, objects: [], tokens: TOKENS }, null, 2),
  );
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const { ready, ca } = JSON.parse(line.toString());
  expect(ready).toBe(true);
  expect(
    JSON.parse(await versionOver({ createConnection: undefined, socketPath: socket, ca, servername: 'localhost' })),
  ).toMatchObject({ major: '1' });
  child.stdin.end();
  expect((await once(child, 'exit'))[0]).toBe(0);
  await expect(once(connect(socket), 'connect')).rejects.toMatchObject({ code: 'ENOENT' });
});

test.each([
  ['{"listen": 1}', 'listen'],
  [JSON.stringify({ listen: '127.0.0.1:0', objects: [{ kind: 'Pod' }], tokens: TOKENS }), 'objects[0].apiVersion'],
  [JSON.stringify({ listen: 'nowhere', objects: [], tokens: TOKENS }), 'write ADDRESS:PORT'],
  ['not json', 'not one JSON object'],
])('bad input %s is an error that names it', async (input, named) => {
  const child = start(input);
  child.stdin.end();
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  expect([code, stderr]).toEqual([1, expect.stringContaining(named)]);
});

test('a server that is started again in the same directory is still trusted, by every name it has', async () => {
  const certificateDir = join(directory, 'kept');
  const options = { objects: [], tokens: TOKENS, kubelets: {}, certificateDir };
  const first = await createApiServer({ ...options, listen: '127.0.0.1:0' });
  await first.close();
  const second = await createApiServer({ ...options, listen: '127.0.0.1:0' });
  for (const servername of ['127.0.0.1', '::1', 'localhost', 'kubernetes.default.svc', '172.26.0.1']) {
    const isAddress = /^[\d.:]+$/.test(servername);
    const { checkServerIdentity } = await import('node:tls');
    const answer = await versionOver({
      host: '127.0.0.1',
      port: second.port,
      ca: first.ca,
      ...(isAddress
        ? {
            checkServerIdentity: (_host: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
              checkServerIdentity(servername, certificate),
          }
        : { servername }),
    });
    expect(JSON.parse(answer), servername).toMatchObject({ major: '1' });
  }
  await second.close();
});

test('a node whose kubelet falls silent becomes Unknown with its pods not ready, and comes back', async () => {
  let isAlive = true;
  const kubelet = createServer((_request, response) => (isAlive ? response.end('ok') : response.destroy()));
  kubelet.listen(0, '127.0.0.1');
  await once(kubelet, 'listening');
  const { port } = kubelet.address() as AddressInfo;
  const other = await createSmallCluster({ nodes: 1 });
  const node = other.api.get('nodes', '', 'node-1') as KubeObject;
  await other.close();
  const api = await createApiServer({
    listen: '127.0.0.1:0',
    objects: [node, agentPod('node-1', 1)].map(({ metadata: { resourceVersion: _version, ...metadata }, ...rest }) => ({
      ...rest,
      metadata,
    })),
    tokens: TOKENS,
    kubelets: { 'node-1': { ip: '127.0.0.1', port } },
    nodeMonitorSeconds: 0.1,
  });
  const state = () => {
    const current = api.get('nodes', '', 'node-1');
    const pod = api.get('pods', 'netcheck-agents', 'netcheck-agent-1');
    return {
      ready: listAt(current, 'status', 'conditions').map((condition) => [
        textAt(condition, 'status'),
        textAt(condition, 'reason'),
      ]),
      taints: listAt(current, 'spec', 'taints').map((taint) => textAt(taint, 'effect')),
      pod: listAt(pod, 'status', 'conditions').map((condition) => textAt(condition, 'status')),
    };
  };
  const healthy = state();
  isAlive = false;
  await expect.poll(state, { timeout: 10_000 }).toEqual({
    ready: [['Unknown', 'NodeStatusUnknown']],
    taints: ['NoSchedule', 'NoExecute'],
    pod: ['False'],
  });
  isAlive = true;
  await expect.poll(state, { timeout: 10_000 }).toEqual(healthy);
  await api.close();
  kubelet.close();
}, 30_000);
