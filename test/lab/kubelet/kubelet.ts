import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { messageOf } from '../../../src/model/text.ts';
import { CHANNEL, chooseProtocol, frame, offeredProtocols, toBuffer } from './channels.ts';

/*
 * A stand-in for the kubelet's server on port 10250: health, pods, container logs and exec over WebSocket, as the API
 * server uses them. It is a double. It leaves out TLS and the authentication of the API server, SPDY, attach,
 * port-forward, terminals (`tty` is ignored) and everything that has to do with running pods.
 */

/** A process in a container. `exit` is its exit code; it rejects when the process could not be started. */
export type ExecProcess = {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exit: Promise<number>;
};

type PodName = { readonly namespace: string; readonly name: string };

/** What is asked of the logs; `sinceSeconds` is null for all of them. */
type LogRequest = { readonly sinceSeconds: number | null; readonly follow: boolean };

export type KubeletOptions = {
  readonly node: string;
  /** Starts a command in a container; undefined when the pod is not on this node. */
  readonly exec: (
    pod: PodName,
    container: string,
    argv: readonly string[],
  ) => ExecProcess | undefined | Promise<ExecProcess | undefined>;
  /** The log of a container: text, or a stream that is copied until it ends; undefined when the pod is not on this node. */
  readonly logs: (
    pod: PodName,
    container: string,
    request: LogRequest,
  ) => string | Readable | undefined | Promise<string | Readable | undefined>;
  /** The pods of the node as API objects, for `/pods`. */
  readonly pods?: () => readonly object[];
  readonly log: (message: string) => void;
};

export type Kubelet = {
  readonly request: (request: IncomingMessage, response: ServerResponse) => void;
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Cuts every exec connection. Their processes get their standard input closed. */
  readonly close: () => void;
};

/** Handlers for the requests and upgrades of an HTTP server that plays the kubelet of one node. */
export function createKubelet(options: KubeletOptions): Kubelet {
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: (offered) => chooseProtocol(offered) ?? false,
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://kubelet');
    if (url.pathname === '/healthz') return end(response, 200, 'ok');
    if (url.pathname === '/pods') {
      response.setHeader('content-type', 'application/json');
      return end(
        response,
        200,
        JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items: options.pods?.() ?? [] }),
      );
    }
    const target = parseTarget(url.pathname, 'containerLogs');
    if (target === null) return end(response, 404, '404 page not found');
    const since = numberOf(url, 'sinceSeconds');
    const follow = url.searchParams.get('follow') === 'true';
    const log = await options.logs(target.pod, target.container, { sinceSeconds: since, follow });
    if (log === undefined) return end(response, 404, `pod "${target.pod.name}" not found`);
    response.setHeader('content-type', 'text/plain');
    if (typeof log === 'string') return end(response, 200, cutLog(log, numberOf(url, 'tailLines'), numberOf(url, 'limitBytes')));
    response.writeHead(200);
    response.flushHeaders();
    log.on('error', () => response.destroy());
    response.on('close', () => log.destroy());
    log.pipe(response);
  }

  async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://kubelet');
    const target = parseTarget(url.pathname, 'exec');
    if (target === null) return refuse(socket, 404, '404 page not found');
    const argv = url.searchParams.getAll('command');
    if (chooseProtocol(offeredProtocols(request.headers['sec-websocket-protocol'])) === null) {
      return refuse(socket, 400, 'no subprotocol of the client is supported');
    }
    socket.on('error', () => socket.destroy());
    const started = await options.exec(target.pod, target.container, argv);
    if (started === undefined) return refuse(socket, 404, 'pod does not exist');
    sockets.handleUpgrade(request, socket, head, (client) => {
      connectProcess(client, started, argv).catch((error: unknown) => {
        options.log(`kubelet ${options.node}: ${argv.join(' ')}: ${messageOf(error)}`);
        client.terminate();
      });
    });
    // A handshake that fails never hands over the socket: then nobody else would close the process's input.
    if (socket.destroyed) abandon(started);
  }

  return {
    request(request, response) {
      answer(request, response).catch((error: unknown) => end(response, 500, messageOf(error)));
    },
    upgrade(request, socket, head) {
      upgrade(request, socket, head).catch((error: unknown) => refuse(socket, 500, messageOf(error)));
    },
    close() {
      for (const client of sockets.clients) client.terminate();
    },
  };
}

/** Connects a process with a socket until both are done. When the socket goes first, the process only loses its input. */
async function connectProcess(client: WebSocket, started: ExecProcess, argv: readonly string[]): Promise<void> {
  client.on('error', () => client.terminate());
  client.on('close', () => abandon(started));
  started.stdin.on('error', () => started.stdin.destroy());
  started.stdin.on('drain', () => client.resume());
  client.on('message', (data) => {
    const message = toBuffer(data);
    if (message[0] === CHANNEL.stdin && !started.stdin.writableEnded) {
      if (!started.stdin.write(message.subarray(1))) client.pause();
    } else if (message[0] === CHANNEL.close && message[1] === CHANNEL.stdin) {
      started.stdin.end();
    }
  });

  for (const channel of [CHANNEL.stdout, CHANNEL.stderr, CHANNEL.status]) await send(client, frame(channel, ''));
  const [exit] = await Promise.all([
    started.exit.then(
      (code) => exitStatus(code, argv),
      (error: unknown) => startFailure(messageOf(error)),
    ),
    copy(started.stdout, client, CHANNEL.stdout),
    copy(started.stderr, client, CHANNEL.stderr),
  ]);
  await send(client, frame(CHANNEL.status, JSON.stringify(exit)));
  client.close(1000);
}

function abandon(started: ExecProcess): void {
  started.stdin.end();
  // As a container runtime does: what the process still writes is read and thrown away, so that it cannot block on it.
  started.stdout.resume();
  started.stderr.resume();
}

/** One chunk is on its way at a time: a slow reader slows the process down and nothing piles up here. */
async function copy(stream: Readable, client: WebSocket, channel: number): Promise<void> {
  for await (const chunk of stream) await send(client, frame(channel, chunk as Buffer));
}

function send(client: WebSocket, message: Buffer): Promise<void> {
  return new Promise((resolve) => {
    // A closed socket is no failure of the copy: the rest of the output is read and dropped.
    client.send(message, () => resolve());
  });
}

/** The Status at the end of an exec, as the kubelet writes it. */
function exitStatus(code: number, argv: readonly string[]): object {
  if (code === 0) return { metadata: {}, status: 'Success' };
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: error executing command [${argv.join(' ')}], exit code ${code}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  };
}

function startFailure(reason: string): object {
  const message = `error executing command in container: ${reason}`;
  return {
    metadata: {},
    status: 'Failure',
    message: `Internal error occurred: ${message}`,
    reason: 'InternalError',
    details: { causes: [{ message }] },
    code: 500,
  };
}

function parseTarget(path: string, verb: 'exec' | 'containerLogs'): { pod: PodName; container: string } | null {
  const [, first, namespace, name, container, ...rest] = path.split('/').map(decodeURIComponent);
  if (first !== verb || !namespace || !name || !container || rest.length > 0) return null;
  return { pod: { namespace, name }, container };
}

function cutLog(log: string, tailLines: number | null, limitBytes: number | null): string {
  let text = log;
  if (tailLines !== null) {
    const lines = text.split('\n');
    const last = lines.at(-1) === '' ? 1 : 0;
    text = tailLines === 0 ? '' : lines.slice(-(tailLines + last)).join('\n');
  }
  return limitBytes === null ? text : Buffer.from(text).subarray(0, limitBytes).toString();
}

function numberOf(url: URL, name: string): number | null {
  const value = url.searchParams.get(name);
  return value !== null && /^\d+$/.test(value) ? Number(value) : null;
}

function end(response: ServerResponse, code: number, body: string): void {
  response.writeHead(code);
  response.end(body);
}

function refuse(socket: Duplex, code: number, body: string): void {
  socket.end(
    `HTTP/1.1 ${code} Refused\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
