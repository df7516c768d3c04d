import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import type { Exchange } from '../model/wire/agent.ts';
import type { Answer, Dialogue } from './dialogue.ts';

type Transport = (to: Pick<Exchange, 'ip' | 'port'>, dialogue: Dialogue, timeoutMs: number) => Promise<Answer>;

export const TIMED_OUT: Answer = { result: 'TIMEOUT', detail: '' };

/** On a starved node the timer comes late, and so may the answer: what has come by then is heard first. */
function deadline(finish: (result: Answer) => void, timeoutMs: number): NodeJS.Timeout {
  return setTimeout(() => setImmediate(finish, TIMED_OUT), timeoutMs);
}

/** One attempt at a dialogue with a server, from this process's own network namespace; never rejects. */
export const attemptOnce: Transport = (to, dialogue, timeoutMs) =>
  dialogue.transport === 'tcp' ? overTcp(to, dialogue, timeoutMs) : overUdp(to, dialogue, timeoutMs);

/** Ends with a reset, not a FIN: no TIME_WAIT stays behind on the node. */
const overTcp: Transport = ({ ip, port }, { request, judge }, timeoutMs) =>
  new Promise((resolve) => {
    const socket = connect({ host: ip, port });
    let answer: Buffer = Buffer.alloc(0);
    const finish = (result: Answer): void => {
      clearTimeout(timer);
      socket.resetAndDestroy();
      resolve(result);
    };
    const timer = deadline(finish, timeoutMs);
    socket.once('connect', () => {
      if (request === null) finish({ result: 'ok', detail: '' });
      else socket.write(request);
    });
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk]);
      const result = judge(answer);
      if (result !== null) finish(result);
    });
    socket.once('end', () => finish(CLOSED));
    socket.once('error', (error: NodeJS.ErrnoException) => finish(failed(error.code ?? 'ERROR', error.message)));
  });

/** Only what a server answers, and the errors of the kernel, ICMP's among them. */
type UdpEvents = { readonly onMessage: (message: Buffer) => void; readonly onError: (error: NodeJS.ErrnoException) => void };

/** A UDP socket that is connected, so that an ICMP error comes back, and that only this server can answer. */
export function connectUdp(
  { ip, port }: Pick<Exchange, 'ip' | 'port'>,
  { onMessage, onError }: UdpEvents,
  onConnected: () => void,
): { readonly send: (message: Buffer) => void; readonly close: () => void } {
  const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', onError);
  socket.on('message', onMessage);
  // A route or a rule may forbid the very connect; the types of Node leave the error out.
  socket.connect(port, ip, (error?: Error | null) => {
    if (error) onError(error);
    else onConnected();
  });
  return {
    send: (message) =>
      socket.send(message, (problem) => {
        if (problem !== null) onError(problem);
      }),
    close: () => void socket.close(),
  };
}

const overUdp: Transport = (to, { request, judge }, timeoutMs) =>
  new Promise((resolve) => {
    let isOver = false;
    const finish = (result: Answer): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    const socket = connectUdp(
      to,
      {
        onMessage(message) {
          const result = judge(message);
          if (result !== null) finish(result);
        },
        onError: (error) => finish(failed(error.code ?? 'ERROR', error.message)),
      },
      () => {
        if (request !== null) socket.send(request);
      },
    );
    const timer = deadline(finish, timeoutMs);
  });

const CLOSED: Answer = { result: 'ECONNRESET', detail: 'closed before it answered' };

function failed(code: string, detail: string): Answer {
  return code === 'ETIMEDOUT' ? TIMED_OUT : { result: code, detail };
}
