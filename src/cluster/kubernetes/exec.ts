import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RawData, WebSocket } from 'ws';
import type { AgentFault } from '../../model/evidence.ts';
import { oneLine, shorten } from '../../model/text.ts';
import type { AgentConnection, ClusterFault } from '../port.ts';
import { urlOf, withSignal } from './api.ts';
import { faultOfAnswer, faultOfError, isDeadline, parseStatus, type Status, said } from './faults.ts';
import type { Login } from './kubeconfig.ts';
import type { ExecPath } from './rights.ts';

/*
 * pods/exec over WebSocket with `ws` itself rather than the client library's Exec: that one never calls back when the
 * connection drops, hides the answer to a refused handshake, has no deadline, and queues without limit in both
 * directions. Its login is used all the same (kubeconfig.ts).
 */

/** The channels of the protocol: one byte before the data of each message. */
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3 } as const;
const PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];

const HANDSHAKE_MS = 30_000;
/** How long the other side may take to hang up after the exec has ended. The types of ws do not know the option yet. */
const CLOSING: object = { closeTimeout: 2000 };
/** What is kept of standard error, in bytes: the end. */
const STDERR_BYTES = 4096;
/** The largest message; servers send chunks of 32 KiB. */
const MAX_MESSAGE_BYTES = 4 << 20;
/** How much output may wait to be read before the connection is no longer read. */
const OUTPUT_BYTES = 1 << 20;
/** How much input may wait to be sent before the agent is given up. */
const INPUT_BYTES = 16 << 20;
const INPUT_CHUNK_BYTES = 32 << 10;
const MAX_REFUSAL_BYTES = 64 << 10;
const MAX_RETRIES = 3;
const RETRY_MS = 500;

export type ExecTarget = {
  readonly node: string;
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly argv: readonly string[];
};

export type OpenedAgent =
  | { readonly ok: true; readonly value: AgentConnection }
  | { readonly ok: false; readonly fault: AgentFault };

/** A DNS-1123 subdomain: nothing else may get into a path, whatever an API server says a name is. */
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/**
 * Starts a command in a container and resolves when it has written its first byte, with a fault when that does not
 * happen: at the latest when the signal aborts. A server that is too busy (429, 503) is asked again until then.
 */
export async function openExec(login: Login, target: ExecTarget, signal: AbortSignal): Promise<OpenedAgent> {
  const odd = [target.namespace, target.pod, target.container].find((name) => !NAME.test(name));
  if (odd !== undefined) return fault('no-agent', `'${said(odd)}' is no name of a pod, namespace or container`);
  for (let retries = 0; ; retries += 1) {
    const opened = await attempt(login, target, signal);
    if (opened.ok || opened.retryMs === undefined || retries === MAX_RETRIES) return opened;
    try {
      await sleep(opened.retryMs, undefined, { signal });
    } catch {
      return opened;
    }
  }
}

type Attempt = OpenedAgent & { readonly retryMs?: number };

async function attempt(login: Login, target: ExecTarget, signal: AbortSignal): Promise<Attempt> {
  const authorized = await withSignal(login.authorize(), signal);
  if (authorized === null) return fault(abortKind(signal), 'there were no credentials for the API server in time');
  if (!authorized.ok) return fault(agentKind(authorized.fault.kind), authorized.fault.message);
  const { proxy, headers, ...tls } = authorized.value;
  const query = new URLSearchParams({ container: target.container, stdin: 'true', stdout: 'true', stderr: 'true' });
  for (const argument of target.argv) query.append('command', argument);
  const path: ExecPath = `/api/v1/namespaces/${target.namespace}/pods/${target.pod}/exec`;
  const url = urlOf(login.server, `${path}?${query.toString()}`);
  let socket: WebSocket;
  try {
    socket = new WebSocket(url, PROTOCOLS, {
      ...tls,
      ...(proxy === undefined ? {} : { agent: proxy }),
      headers: headers as Record<string, string>,
      handshakeTimeout: HANDSHAKE_MS,
      ...CLOSING,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
    });
  } catch (error) {
    // A header that HTTP cannot carry, such as a token with a line break in it.
    return fault('forbidden', said(String(error)));
  }
  return new Promise((resolve) => connect(socket, login, target, signal, resolve));
}

/** Follows one WebSocket from its handshake to its end. */
function connect(
  socket: WebSocket,
  login: Login,
  target: ExecTarget,
  signal: AbortSignal,
  settle: (opened: Attempt) => void,
): void {
  let state: 'opening' | 'started' | 'ended' = 'opening';
  let isAccepted = false;
  let stderr = Buffer.alloc(0);
  let status: Status | null = null;
  let broken: AgentFault | null = null;
  let finish: (outcome: AgentFault | null) => void = () => {};
  const ended = new Promise<AgentFault | null>((resolve) => {
    finish = resolve;
  });
  const output = new Readable({
    highWaterMark: OUTPUT_BYTES,
    read: () => socket.resume(),
    destroy: (error, done) => {
      // Whoever stops reading cannot go on later.
      end(fault('cancelled', 'nobody reads the agent any more').fault);
      done(error);
    },
  });

  /** Ends everything with what became of the agent; only the first call has an effect. */
  function end(outcome: AgentFault | null, retryMs?: number): void {
    if (state === 'ended') return;
    const wasOpening = state === 'opening';
    state = 'ended';
    signal.removeEventListener('abort', giveUp);
    socket.terminate();
    if (wasOpening) {
      const failed: Attempt = {
        ok: false,
        fault: outcome ?? { kind: 'no-agent', message: `the agent on ${target.node} ended without a word${tail()}` },
      };
      settle(retryMs === undefined ? failed : { ...failed, retryMs });
    }
    output.push(null);
    finish(outcome);
  }

  function tail(): string {
    const text = shorten(oneLine(stderr.toString()), 400);
    return text === '' ? '' : `: ${text}`;
  }

  function giveUp(): void {
    const how = isAccepted ? 'the API server accepted the exec, but the agent said nothing' : 'the API server did not answer';
    end({ kind: abortKind(signal), message: `the agent on ${target.node} did not start in time: ${how}` });
  }

  function hear(message: Buffer): void {
    const data = message.subarray(1);
    // Servers open each channel with an empty message.
    if (data.length === 0 || state === 'ended') return;
    switch (message[0]) {
      case CHANNEL.stdout:
        if (state === 'opening') {
          state = 'started';
          signal.removeEventListener('abort', giveUp);
          settle({ ok: true, value: { output, write, ended, close } });
        }
        if (!output.push(data)) socket.pause();
        break;
      case CHANNEL.stderr:
        stderr = Buffer.concat([stderr, data]).subarray(-STDERR_BYTES);
        break;
      case CHANNEL.status:
        status = parseStatus(data.toString());
        if (status === null) {
          broken = { kind: 'protocol', message: `the API server sent an unreadable status: ${said(data.toString())}` };
        }
        break;
      default:
      // What a later version of the protocol says beside this is not for us.
    }
  }

  function write(chunk: Uint8Array): void {
    if (state !== 'started') return;
    if (socket.bufferedAmount > INPUT_BYTES) {
      return end({ kind: 'dropped', message: `the agent on ${target.node} does not take its input` });
    }
    for (let from = 0; from < chunk.length; from += INPUT_CHUNK_BYTES) {
      const part = chunk.subarray(from, from + INPUT_CHUNK_BYTES);
      const message = Buffer.allocUnsafe(part.length + 1);
      message[0] = CHANNEL.stdin;
      message.set(part, 1);
      socket.send(message, () => {});
    }
  }

  function close(): void {
    end({ kind: 'cancelled', message: 'closed by netcheck' });
  }

  signal.addEventListener('abort', giveUp, { once: true });
  socket.on('open', () => {
    isAccepted = true;
  });
  socket.on('message', (data) => hear(toBuffer(data)));
  socket.on('error', (error: NodeJS.ErrnoException) => {
    const isProtocol = error.code?.startsWith('WS_ERR') ?? false;
    if (isProtocol) broken ??= { kind: 'protocol', message: said(error.message) };
    else if (!isAccepted) broken ??= agentFault(faultOfError(error, login.server));
    else broken ??= { kind: 'dropped', message: `the connection to the agent on ${target.node} broke: ${said(error.message)}` };
  });
  socket.on('unexpected-response', (_request, response: IncomingMessage) => {
    void bodyOf(response, signal).then((body) => {
      const code = response.statusCode ?? 0;
      const isBusy = code === 429 || code === 503;
      const seconds = Number(response.headers['retry-after'] ?? Number.NaN);
      end(refusal(code, body, target), isBusy ? (Number.isFinite(seconds) ? seconds * 1000 : RETRY_MS) : undefined);
    });
  });
  socket.on('close', (code) => {
    if (broken !== null) return end(broken);
    if (status !== null) return end(outcomeOf(status, target, state === 'started', tail()));
    end({ kind: 'dropped', message: `the connection to the agent on ${target.node} closed (${code}) before it ended${tail()}` });
  });
  if (signal.aborted) giveUp();
}

/** What the status at the end of an exec says of the agent; null for a clean exit. */
function outcomeOf(status: Status, target: ExecTarget, hasStarted: boolean, stderr: string): AgentFault | null {
  if (status.status === 'Success') return null;
  const exit = status.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  if (exit) {
    const how = `with status ${said(exit)}${stderr}`;
    return hasStarted
      ? { kind: 'dropped', message: `the agent on ${target.node} ended ${how}` }
      : { kind: 'no-agent', message: `the agent on ${target.node} did not start: ${target.argv[0]} ended ${how}` };
  }
  return failureOf(status.code ?? 500, status.message ?? '', target);
}

/** What an answer to the handshake other than the upgrade says. */
function refusal(code: number, body: string, target: ExecTarget): AgentFault {
  return failureOf(code, parseStatus(body)?.message ?? '', target);
}

/** Ways of API servers and of the tunnels behind them to say that they could not reach a kubelet. */
const UNREACHABLE =
  /error dialing backend|error sending request|dial tcp|i\/o timeout|connection (refused|reset)|no route to host|network is unreachable|TLS handshake|x509|No agent available|deadline exceeded|EOF/i;

function failureOf(code: number, text: string, target: ExecTarget): AgentFault {
  const message = said(text) || `the API server answered ${code} without a reason`;
  if (code === 401 || code === 403) return agentFault(faultOfAnswer(code, JSON.stringify({ message })));
  const isRefusedByKubelet = /unable to upgrade connection/i.test(message);
  if (!isRefusedByKubelet && (UNREACHABLE.test(message) || code === 502 || code === 504)) {
    // The address of the request, with the whole command in it, says less than what comes after it.
    const reason = /dial tcp .*$/.exec(message)?.[0] ?? message;
    return { kind: 'unreachable', message: `the API server cannot reach the kubelet of ${target.node}: ${reason}` };
  }
  if (code === 429 || code === 503) return { kind: 'unreachable', message };
  return { kind: 'no-agent', message };
}

function agentFault({ kind, message }: ClusterFault): AgentFault {
  return { kind: agentKind(kind), message };
}

function agentKind(kind: ClusterFault['kind']): AgentFault['kind'] {
  switch (kind) {
    case 'forbidden':
    case 'unauthorized':
      return 'forbidden';
    case 'timeout':
      return 'timeout';
    case 'not-found':
      return 'no-agent';
    default:
      return 'unreachable';
  }
}

function abortKind(signal: AbortSignal): 'timeout' | 'cancelled' {
  return isDeadline(signal) ? 'timeout' : 'cancelled';
}

function fault(kind: AgentFault['kind'], message: string): { readonly ok: false; readonly fault: AgentFault } {
  return { ok: false, fault: { kind, message } };
}

/** The body of a refusal, or what came of it; never waits longer than the signal. */
async function bodyOf(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  const read = async (): Promise<void> => {
    try {
      for await (const chunk of response) {
        chunks.push(chunk as Buffer);
        size += (chunk as Buffer).length;
        if (size > MAX_REFUSAL_BYTES) return;
      }
    } catch {
      // Cut off: the code of the answer has said enough.
    }
  };
  await withSignal(read(), signal);
  return Buffer.concat(chunks).toString();
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return data instanceof ArrayBuffer ? Buffer.from(data) : Buffer.concat(data);
}
