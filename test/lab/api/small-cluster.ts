import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createKubelet, type KubeletOptions } from '../kubelet/kubelet.ts';
import { type KubeObject, object } from './objects.ts';
import { type ApiServer, type ApiServerOptions, createApiServer } from './server.ts';

/** A kubelet stand-in on a port of this machine. `connections` counts what is open; `stop` cuts everything. */
export type RunningKubelet = {
  readonly ip: string;
  readonly port: number;
  readonly connections: () => number;
  readonly stop: () => Promise<void>;
};

/** An API server double with nodes whose kubelets run in this process. */
export type SmallCluster = {
  readonly api: ApiServer;
  readonly kubelets: ReadonlyMap<string, RunningKubelet>;
  /** Processes that exec started and that have not ended. */
  readonly running: () => number;
  readonly close: () => Promise<void>;
};

type SmallClusterOptions = Partial<Omit<ApiServerOptions, 'kubelets' | 'listen'>> & {
  readonly nodes: number;
  /** The command that really runs for the argv of an exec; the argv itself when absent. */
  readonly command?: (argv: readonly string[]) => readonly string[];
  readonly logs?: KubeletOptions['logs'];
};

export const ADMIN_TOKEN = 'admin-token';

/**
 * A cluster without a network: nodes `node-1`…, on each a Running agent pod `netcheck-agents/netcheck-agent-N`, and
 * whatever objects are given beside them.
 */
export async function createSmallCluster(options: SmallClusterOptions): Promise<SmallCluster> {
  const names = Array.from({ length: options.nodes }, (_, index) => `node-${index + 1}`);
  const children = new Set<ChildProcess>();
  const exec: KubeletOptions['exec'] = (_pod, _container, argv) => {
    const [command = '', ...rest] = options.command?.(argv) ?? argv;
    const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
    children.add(child);
    child.on('close', () => children.delete(child));
    const exit = new Promise<number>((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 137)));
    });
    return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, exit };
  };
  const kubelets = new Map<string, RunningKubelet>();
  for (const name of names)
    kubelets.set(name, await startKubelet({ node: name, exec, logs: options.logs ?? (() => undefined), log: () => {} }));
  const api = await createApiServer({
    tokens: [{ token: ADMIN_TOKEN, user: 'admin', groups: ['system:masters'] }],
    ...options,
    listen: '127.0.0.1:0',
    objects: [
      ...['default', 'kube-system', 'netcheck-agents'].map((name) => object('v1', 'Namespace', { name })),
      ...names.flatMap((name, index) => [nodeObject(name, index + 1), agentPod(name, index + 1)]),
      ...(options.objects ?? []),
    ],
    kubelets: Object.fromEntries(kubelets),
  });
  return {
    api,
    kubelets,
    running: () => children.size,
    async close() {
      for (const child of children) child.kill('SIGKILL');
      await api.close();
      await Promise.all([...kubelets.values()].map((kubelet) => kubelet.stop()));
    },
  };
}

function nodeObject(name: string, number: number): KubeObject {
  return object(
    'v1',
    'Node',
    { name, labels: { 'kubernetes.io/hostname': name } },
    {
      spec: { podCIDR: `172.27.${number}.0/24`, podCIDRs: [`172.27.${number}.0/24`] },
      status: {
        addresses: [
          { type: 'InternalIP', address: `10.28.0.${number + 10}` },
          { type: 'Hostname', address: name },
        ],
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' }],
        daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
        nodeInfo: { operatingSystem: 'linux' },
      },
    },
  );
}

/** The agent's pod of a node, as its DaemonSet makes it. */
export function agentPod(
  node: string,
  number: number,
  changes: { readonly name?: string; readonly phase?: string } = {},
): KubeObject {
  return object(
    'v1',
    'Pod',
    {
      name: changes.name ?? `netcheck-agent-${number}`,
      namespace: 'netcheck-agents',
      labels: { 'app.kubernetes.io/name': 'netcheck-agent' },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'netcheck-agent', uid: 'ds', controller: true }],
    },
    {
      spec: { nodeName: node, hostNetwork: true, containers: [{ name: 'agent', image: 'netcheck-agent' }] },
      status: {
        phase: changes.phase ?? 'Running',
        podIP: `10.28.0.${number + 10}`,
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    },
  );
}

/** Serves a kubelet stand-in on a free port of 127.0.0.1. */
export async function startKubelet(options: KubeletOptions): Promise<RunningKubelet> {
  const kubelet = createKubelet(options);
  const open = new Set<Socket>();
  const server: Server = createServer(kubelet.request);
  server.on('upgrade', kubelet.upgrade);
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    ip: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    connections: () => open.size,
    async stop() {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
