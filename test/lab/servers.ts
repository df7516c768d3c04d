import { execFile, spawn } from 'node:child_process';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { z } from 'zod';
import type { KubeObject } from './api/objects.ts';
import type { Recreated } from './api/server.ts';
import { createKubelet, type Kubelet } from './kubelet/kubelet.ts';
import { enter, PROJECT } from './rack.ts';
import { exitStatus, labEnvironment } from './run.ts';
import { CLUSTER, type LabNode, type LabPod, podsOn, RACK, type Topology } from './topology.ts';

/*
 * What answers in a lab but needs no namespace of its own runs in the supervisor and is reached over Unix sockets, which
 * are the same in every namespace; in the namespaces listen socats.
 */

const run = promisify(execFile);

/** Servers that run in the supervisor. `close` ends them and every connection. */
export type Servers = { readonly close: () => Promise<void> };

/** Serves the demo pods' page and the metrics of CoreDNS, in the lab's directory. */
export async function serveHttp(directory: string): Promise<Servers> {
  const web: RequestListener = (_request, response) => void response.end('ok\n');
  const metrics: RequestListener = (request, response) => {
    const found = request.url === '/metrics';
    response.writeHead(found ? 200 : 404, { 'content-type': 'text/plain; version=0.0.4' });
    response.end(found ? METRICS : '404 page not found\n');
  };
  const servers = [createHttpServer(web), createHttpServer(metrics)];
  await Promise.all(['web.sock', 'metrics.sock'].map((name, index) => listen(servers[index], join(directory, 'run', name))));
  return { close: () => closeAll(servers) };
}

const METRICS = `# HELP coredns_build_info A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.
# TYPE coredns_build_info gauge
coredns_build_info{goversion="go1.25.2",revision="1db4568",version="1.13.1"} 1
# HELP coredns_panics_total A metrics that counts the number of panics.
# TYPE coredns_panics_total counter
coredns_panics_total 0
`;

export type KubeletsOptions = {
  readonly directory: string;
  readonly topology: Topology;
  /** The command that runs `argv` in a container. */
  readonly command: (pod: LabPod, argv: readonly string[]) => readonly string[];
  /** Whether the agents have a remedy container. */
  readonly hasRemedies: boolean;
  readonly log: (message: string) => void;
};

/** Serves each node's kubelet stand-in, on `kubelet-NODE.sock` in the lab's directory. */
export async function serveKubelets({ directory, topology, command, hasRemedies, log }: KubeletsOptions): Promise<Servers> {
  const kubelets: Kubelet[] = [];
  const servers: Server[] = [];
  await Promise.all(
    topology.nodes.map((node) => {
      const kubelet = createNodeKubelet(topology, node, command, hasRemedies, log);
      const server = createHttpServer(kubelet.request);
      server.on('upgrade', kubelet.upgrade);
      kubelets.push(kubelet);
      servers.push(server);
      return listen(server, join(directory, 'run', `kubelet-${node.name}.sock`));
    }),
  );
  return {
    async close() {
      for (const kubelet of kubelets) kubelet.close();
      await closeAll(servers);
    },
  };
}

function createNodeKubelet(
  topology: Topology,
  node: LabNode,
  command: KubeletsOptions['command'],
  hasRemedies: boolean,
  log: KubeletsOptions['log'],
): Kubelet {
  const pods = podsOn(topology, node);
  const find = (namespace: string, name: string): LabPod | undefined =>
    pods.find((pod) => pod.namespace === namespace && pod.name === name);
  return createKubelet({
    node: node.name,
    exec({ namespace, name }, container, argv) {
      const pod = find(namespace, name);
      if (pod === undefined || (container === 'remedy' && !hasRemedies)) return undefined;
      // What the DaemonSet's manifest gives that container: the bot's key as a file, and the name of the node.
      const environment = ['env', `NETCHECK_APPROVAL_KEY=/run/lab/approval-key.pub`, `NETCHECK_NODE=${node.name}`];
      // Every node of a lab has the same few CPUs; what has others in life (API server, worker) must not be starved by them.
      const args = ['-n', '10', ...command(pod, container === 'remedy' ? [...environment, ...argv] : argv)];
      // The agent's image has no compiled code either.
      const env = { ...labEnvironment(), NODE_COMPILE_CACHE: undefined };
      const child = spawn('nice', args, { stdio: ['pipe', 'pipe', 'pipe'], env });
      const exit = new Promise<number>((resolve, reject) => {
        child.on('error', reject);
        child.on('exit', (code, signal) => resolve(exitStatus(code, signal)));
      });
      return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, exit };
    },
    async logs({ namespace, name }, container, { sinceSeconds }) {
      const pod = find(namespace, name);
      if (pod === undefined) return undefined;
      const [program = '', ...args] = command(pod, ['cat', logFile(pod, container)]);
      const { stdout } = await run(program, args).catch(() => ({ stdout: '' }));
      return logText(stdout, sinceSeconds === null ? 0 : Date.now() - sinceSeconds * 1000);
    },
    log,
  });
}

/** Where a node keeps the log of a container, in the runtime's format; one that is not there is empty. */
export function logFile({ namespace, name }: LabPod, container: string): string {
  return `/run/lab/logs/${namespace}_${name}_${container}.log`;
}

/** The lines of a log from a time on, without what the runtime adds. Source: kubernetes pkg/kubelet/kuberuntime/logs, `TIME STREAM TAG TEXT`. */
function logText(text: string, from: number): string {
  return text
    .split('\n')
    .flatMap((line) => {
      const [, time = '', told = ''] = /^(\S+) (?:stdout|stderr) [FP] (.*)$/.exec(line) ?? [];
      return Date.parse(time) >= from ? [`${told}\n`] : [];
    })
    .join('');
}

export type ApiOptions = {
  readonly directory: string;
  readonly rack: number;
  readonly topology: Topology;
  readonly objects: readonly KubeObject[];
  readonly tokens: readonly { readonly token: string; readonly user: string; readonly groups: readonly string[] }[];
  readonly nodeMonitorSeconds: number;
  /** DaemonSets whose pods start on the nodes, and who starts them. */
  readonly starting: readonly string[];
  readonly onStart: (pod: Recreated) => void;
};

/** The API server as this machine reaches it: `server` is its URL, `ca` the certificate of its authority as PEM. */
export type Api = Servers & { readonly server: string; readonly ca: string };

const Ready = z.looseObject({ ready: z.literal(true), ca: z.string() });
const Started = z.strictObject({ namespace: z.string(), name: z.string(), owner: z.string() });

/**
 * Starts the API server's double as a process of its own in the control plane's network namespace, and forwards a port
 * of 127.0.0.1 to its socket. It ends with its standard input, so with this process.
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { directory, rack, topology, objects, tokens, nodeMonitorSeconds, starting, onStart } = options;
  const [program = '', ...args] = enter(rack);
  const child = spawn(
    program,
    [...args, 'ip', 'netns', 'exec', RACK.controlPlane.name, process.execPath, join(PROJECT, 'test/lab/api/main.ts')],
    { stdio: ['pipe', 'pipe', 'pipe'], env: labEnvironment() },
  );
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4096);
  });
  child.stdin.on('error', () => {});
  const kubelets = topology.nodes.map((node) => [node.name, { ip: node.ip, port: CLUSTER.kubeletPort }]);
  child.stdin.write(
    JSON.stringify({
      listen: `0.0.0.0:${CLUSTER.apiPort}`,
      socket: '/run/lab/api.sock',
      certificateDir: '/run/lab',
      objects,
      tokens,
      kubelets: Object.fromEntries(kubelets),
      nodeMonitorSeconds,
      starting,
    }),
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const ready = new Promise<z.infer<typeof Ready>>((resolve, reject) => {
    const lines = createInterface({ input: child.stdout });
    lines.once('line', (line) => {
      resolve(Ready.parse(JSON.parse(line)));
      lines.on('line', (later) => onStart(Started.parse(JSON.parse(later))));
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`the API server double ended: ${errors.trim()}`)));
  });
  const { ca } = await ready;
  const forward = forwardTo(join(directory, 'run/api.sock'));
  await listen(forward.server, { host: '127.0.0.1', port: 0 });
  return {
    ca,
    server: `https://127.0.0.1:${(forward.server.address() as AddressInfo).port}`,
    async close() {
      await forward.close();
      child.stdin.end();
      await ended;
    },
  };
}

/** A server whose connections all go on to a Unix socket. */
function forwardTo(socketPath: string): { readonly server: NetServer; readonly close: () => Promise<void> } {
  const open = new Set<Socket>();
  const server = createNetServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ path: socketPath, allowHalfOpen: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => open.delete(from));
      from.pipe(to);
    }
  });
  return {
    server,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

function listen(server: NetServer | undefined, at: string | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server?.once('error', reject);
    server?.listen(at, () => resolve());
  });
}

async function closeAll(servers: readonly Server[]): Promise<void> {
  await Promise.all(
    servers.map((server) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    }),
  );
}
