import type { IncomingMessage, ServerResponse } from 'node:http';
import { get } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import { CHANNEL, chooseProtocol, EXEC_PROTOCOLS, frame, offeredProtocols, toBuffer } from '../kubelet/channels.ts';
import type { ExecFault } from './faults.ts';
import { badRequest, type Failure, failure, internalError, throttled } from './status.ts';

/** Where a node's kubelet listens. */
export type KubeletAddress = { readonly ip: string; readonly port: number };

/** A container that a request is about, after everything about it was checked. */
type ContainerTarget = {
  readonly kubelet: KubeletAddress;
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
};

type KubeletProxyOptions = {
  readonly dialTimeoutMs?: number | undefined;
  /** The subprotocols that are spoken; servers before 1.30 know only v4. */
  readonly protocols?: readonly string[] | undefined;
};

type KubeletProxy = {
  readonly exec: (
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    target: ContainerTarget,
    query: URLSearchParams,
    fault: ExecFault | undefined,
  ) => void;
  /** Copies a container's log into the response; `fail` answers instead when the kubelet gives none. */
  readonly log: (
    target: ContainerTarget,
    query: URLSearchParams,
    response: ServerResponse,
    fail: (problem: Failure) => void,
  ) => void;
  /** How many exec connections are open, those whose upgrade is not answered yet included. */
  readonly execs: () => number;
  readonly close: () => void;
};

/** The longest that a dial may take, in milliseconds: that of a real API server, so callers need a deadline of their own. */
const DIAL_TIMEOUT_MS = 30_000;

/** How much may wait for one side of an exec before the other side is no longer read, in bytes. */
const HIGH_WATER = 1 << 20;

/**
 * The part of an API server that reaches the kubelets over the network.
 *
 * Exec follows a real server in its two ways. With v5 it accepts the upgrade first and dials afterwards (apiserver's
 * streamtranslator.go): a kubelet that cannot be reached shows as a Failure on channel 3, and one that is lost half-way
 * shows as a Success, because the error stream just ends (kubernetes/kubectl#1726). With v4 it dials first, answers 500
 * when that fails, and is a mere pipe from then on, which closes without a status when the kubelet is lost.
 */
export function createKubeletProxy({
  dialTimeoutMs = DIAL_TIMEOUT_MS,
  protocols = EXEC_PROTOCOLS,
}: KubeletProxyOptions): KubeletProxy {
  const clients = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: (offered) => chooseProtocol(offered, protocols) ?? false,
  });
  /** Sockets of upgrades that are not answered yet, or never will be. */
  const pending = new Set<Duplex>();
  const dialing = new Set<WebSocket>();

  function accept(request: IncomingMessage, socket: Duplex, head: Buffer, use: (client: WebSocket) => void): void {
    pending.delete(socket);
    clients.handleUpgrade(request, socket, head, (client) => {
      client.on('error', () => client.terminate());
      use(client);
    });
  }

  function dial(target: ContainerTarget, query: URLSearchParams, protocol: string, use: (kubelet: Dialled) => void): () => void {
    const url = execUrl(target, query);
    const kubelet = new WebSocket(url, [protocol], { perMessageDeflate: false, handshakeTimeout: dialTimeoutMs });
    dialing.add(kubelet);
    let settled = false;
    const settle = (dialled: Dialled): void => {
      if (settled) return;
      settled = true;
      use(dialled);
    };
    kubelet.on('close', () => dialing.delete(kubelet));
    kubelet.on('error', (error: NodeJS.ErrnoException) => {
      settle({ ok: false, code: 500, dial: dialProblem(error, target.kubelet), url });
      kubelet.terminate();
    });
    kubelet.on('unexpected-response', (_request, response: IncomingMessage) => {
      void textOf(response).then((text) => {
        settle({ ok: false, code: response.statusCode ?? 500, answer: text });
        kubelet.terminate();
      });
    });
    kubelet.on('open', () => settle({ ok: true, kubelet }));
    return () => kubelet.terminate();
  }

  return {
    exec(request, socket, head, target, query, fault) {
      socket.on('error', () => socket.destroy());
      socket.on('close', () => pending.delete(socket));
      pending.add(socket);
      const protocol = chooseProtocol(offeredProtocols(request.headers['sec-websocket-protocol']), protocols);
      if (protocol === null) return refuseUpgrade(socket, badRequest('unable to upgrade: no supported subprotocol was offered'));
      if (fault?.kind === 'hang-before-open') return;
      if (fault?.kind === 'throttled') return refuseUpgrade(socket, throttled(fault.retryAfterSeconds));
      if (fault?.kind === 'hang-after-open') {
        return accept(request, socket, head, (client) => client.send(frame(CHANNEL.stdout, '')));
      }
      if (protocol === 'v5.channel.k8s.io') {
        return accept(request, socket, head, (client) => {
          client.send(frame(CHANNEL.stdout, ''));
          const early: Buffer[] = [];
          const keep = (data: RawData): void => void early.push(toBuffer(data));
          client.on('message', keep);
          const hangUp = dial(target, query, protocol, (dialled) => {
            client.off('message', keep);
            if (!dialled.ok) return finish(client, internalError(translated(dialled)));
            for (const message of early) dialled.kubelet.send(message);
            relay(client, dialled.kubelet, true, fault);
          });
          client.on('close', hangUp);
        });
      }
      const hangUp = dial(target, query, protocol, (dialled) => {
        if (socket.destroyed) return;
        if (!dialled.ok) {
          const message = 'dial' in dialled ? `error dialing backend: ${dialled.dial}` : dialled.answer;
          return refuseUpgrade(socket, failure(dialled.code, null, message));
        }
        accept(request, socket, head, (client) => relay(client, dialled.kubelet, false, fault));
      });
      socket.on('close', hangUp);
    },
    log(target, query, response, fail) {
      const url = logUrl(target, query);
      const upstream = get(url, { timeout: dialTimeoutMs, agent: false }, (answer) => {
        if (answer.statusCode !== 200) {
          return void textOf(answer).then((text) => fail(failure(answer.statusCode ?? 500, null, text)));
        }
        response.writeHead(200, { 'content-type': 'text/plain' });
        response.flushHeaders();
        answer.on('error', () => response.destroy());
        answer.pipe(response);
      });
      upstream.on('timeout', () => upstream.destroy(Object.assign(new Error('timeout'), { code: 'TIMEOUT' })));
      upstream.on('error', (error: NodeJS.ErrnoException) => {
        if (response.headersSent) response.destroy();
        else fail(failure(500, null, `Get "${url}": ${dialProblem(error, target.kubelet)}`));
      });
      response.on('close', () => upstream.destroy());
    },
    execs: () => clients.clients.size + pending.size,
    close() {
      for (const client of clients.clients) client.terminate();
      for (const kubelet of dialing) kubelet.terminate();
      for (const socket of pending) socket.destroy();
    },
  };
}

type Dialled =
  | { readonly ok: true; readonly kubelet: WebSocket }
  | { readonly ok: false; readonly code: number; readonly dial: string; readonly url: string }
  | { readonly ok: false; readonly code: number; readonly answer: string };

function translated(dialled: Exclude<Dialled, { ok: true }>): string {
  return 'dial' in dialled
    ? `error sending request: Post "${dialled.url}": ${dialled.dial}`
    : `unable to upgrade connection: ${dialled.answer}`;
}

/** Passes messages both ways until one side ends. */
function relay(client: WebSocket, kubelet: WebSocket, isTranslated: boolean, fault: ExecFault | undefined): void {
  let output = 0;
  let hasStatus = false;
  let isCut = false;
  const cut = (): void => {
    client.terminate();
    kubelet.terminate();
  };
  client.on('message', (data) => pass(client, kubelet, toBuffer(data)));
  client.on('close', () => kubelet.terminate());
  kubelet.on('message', (data) => {
    if (isCut) return;
    const message = toBuffer(data);
    if (message[0] === CHANNEL.status && message.length > 1) {
      hasStatus = true;
      if (fault?.kind === 'close-without-status') return;
    }
    if (message[0] === CHANNEL.stdout && fault?.kind === 'drop') {
      const room = fault.afterBytes - output;
      output += message.length - 1;
      if (output >= fault.afterBytes) {
        isCut = true;
        return client.send(message.subarray(0, room + 1), cut);
      }
    }
    pass(kubelet, client, message);
  });
  kubelet.on('close', () => {
    if (hasStatus) client.close(1000);
    else if (isTranslated) finish(client, { metadata: {}, status: 'Success' });
    else client.terminate();
  });
  if (fault?.kind === 'drop' && fault.afterBytes === 0) cut();
}

function pass(from: WebSocket, to: WebSocket, message: Buffer): void {
  to.send(message, () => {
    if (from.isPaused && to.bufferedAmount < HIGH_WATER / 2) from.resume();
  });
  if (to.bufferedAmount > HIGH_WATER) from.pause();
}

function finish(client: WebSocket, status: object): void {
  client.send(frame(CHANNEL.status, JSON.stringify(status)));
  client.close(1000);
}

/** Answers an upgrade that is refused, with the Status as its body. */
export function refuseUpgrade(socket: Duplex, problem: Failure): void {
  const body = JSON.stringify(problem);
  const retry = problem.details?.['retryAfterSeconds'];
  const retryAfter = typeof retry === 'number' ? `retry-after: ${retry}\r\n` : '';
  socket.end(
    `HTTP/1.1 ${problem.code} ${problem.reason ?? 'Refused'}\r\ncontent-type: application/json\r\n${retryAfter}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function execUrl(target: ContainerTarget, query: URLSearchParams): string {
  const upstream = new URLSearchParams();
  for (const argument of query.getAll('command')) upstream.append('command', argument);
  for (const [name, stream] of [
    ['input', 'stdin'],
    ['output', 'stdout'],
    ['error', 'stderr'],
    ['tty', 'tty'],
  ] as const) {
    if (['true', '1'].includes(query.get(stream) ?? '')) upstream.set(name, '1');
  }
  return `${baseOf(target, 'exec')}?${upstream.toString()}`;
}

function logUrl(target: ContainerTarget, query: URLSearchParams): string {
  const upstream = new URLSearchParams();
  for (const name of ['tailLines', 'limitBytes', 'sinceSeconds', 'follow', 'timestamps', 'previous']) {
    const value = query.get(name);
    if (value !== null) upstream.set(name, value);
  }
  return `${baseOf(target, 'containerLogs')}${upstream.size === 0 ? '' : `?${upstream.toString()}`}`;
}

function baseOf({ kubelet, namespace, pod, container }: ContainerTarget, verb: string): string {
  return `http://${kubelet.ip}:${kubelet.port}/${verb}/${namespace}/${pod}/${container}`;
}

const GO_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  ETIMEDOUT: 'connect: connection timed out',
};

/** An error of a dial in the words of Go's net package. */
function dialProblem(error: NodeJS.ErrnoException, { ip, port }: KubeletAddress): string {
  const known = GO_ERRORS[error.code ?? ''];
  if (known !== undefined) return `dial tcp ${ip}:${port}: ${known}`;
  if (error.code === 'TIMEOUT' || error.message === 'Opening handshake has timed out')
    return `dial tcp ${ip}:${port}: i/o timeout`;
  return error.code === 'ECONNRESET' ? 'EOF' : error.message;
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch {
    // What arrived before the cut is all there is.
  }
  return Buffer.concat(chunks).toString();
}
