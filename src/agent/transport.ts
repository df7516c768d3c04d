import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import type { Exchange } from '../model/wire/agent.ts';
import { killGroup, type Processes } from './command.ts';
import type { Answer, Dialogue } from './dialogue.ts';

/** Carries one attempt at a dialogue to a server and back; never rejects. */
export type Transport = (to: Pick<Exchange, 'ip' | 'port'>, dialogue: Dialogue, timeoutMs: number) => Promise<Answer>;

export const TIMED_OUT: Answer = { result: 'TIMEOUT', detail: '' };

/** On a starved node the timer comes late, and so may the answer: what has come by then is heard first. */
function deadline(finish: (result: Answer) => void, timeoutMs: number): NodeJS.Timeout {
  return setTimeout(() => setImmediate(finish, TIMED_OUT), timeoutMs);
}

/** From this process's own network namespace. */
export const fromHere: Transport = (to, dialogue, timeoutMs) =>
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

/** A connected socket, so that an ICMP error comes back, and that only this server can answer. */
const overUdp: Transport = ({ ip, port }, { request, judge }, timeoutMs) =>
  new Promise((resolve) => {
    const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4');
    let isOver = false;
    const finish = (result: Answer): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    const fail = (error: NodeJS.ErrnoException): void => finish(failed(error.code ?? 'ERROR', error.message));
    const timer = deadline(finish, timeoutMs);
    socket.on('error', fail);
    socket.on('message', (message) => {
      const result = judge(message);
      if (result !== null) finish(result);
    });
    // A route or a rule may forbid the very connect; the types of Node leave the error out.
    socket.connect(port, ip, (error?: Error | null) => {
      if (error) fail(error);
      else if (request !== null)
        socket.send(request, (problem) => {
          if (problem !== null) fail(problem);
        });
    });
  });

/**
 * From a network namespace that this process is not in: `enter` is the command that enters it. socat(1) holds the socket
 * there and hands on what is said; starting it costs a tenth of starting this program again inside.
 */
export function fromInside(enter: readonly string[], processes: Processes): Transport {
  return ({ ip, port }, { transport, request, judge }, timeoutMs) =>
    new Promise((resolve) => {
      const address = `${transport.toUpperCase()}:${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
      const [command, ...args] = [...enter, 'socat', '-', address];
      const child = spawn(command, args, {
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
        env: { ...process.env, LC_ALL: 'C' },
      });
      const { pid } = child;
      if (pid !== undefined) processes.add(pid);
      let answer: Buffer = Buffer.alloc(0);
      let said = '';
      const finish = (result: Answer): void => {
        clearTimeout(timer);
        if (pid !== undefined) {
          killGroup(pid);
          processes.remove(pid);
        }
        resolve(result);
      };
      const timer = deadline(finish, timeoutMs);
      child.stdin.on('error', () => {});
      // With nothing to say, the end of the input makes socat close the connection that it has made, and end with 0.
      if (request === null) child.stdin.end();
      else child.stdin.write(request);
      child.stdout.on('data', (chunk: Buffer) => {
        answer = Buffer.concat([answer, chunk]);
        const result = judge(answer);
        if (result !== null) finish(result);
      });
      child.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8');
      });
      child.on('error', (error) => finish({ result: 'ERROR', detail: error.message }));
      child.on('close', (code) => {
        if (code === 0) finish(request === null ? { result: 'ok', detail: '' } : CLOSED);
        else finish(failed(errnoOf(said), said.trim().split('\n').at(-1) ?? ''));
      });
    });
}

const CLOSED: Answer = { result: 'ECONNRESET', detail: 'closed before it answered' };

function failed(code: string, detail: string): Answer {
  return code === 'ETIMEDOUT' ? TIMED_OUT : { result: code, detail };
}

/** The errno names of what strerror(3) says in the C locale. */
const ERRNO: readonly (readonly [string, string])[] = [
  ['Connection refused', 'ECONNREFUSED'],
  ['Connection reset', 'ECONNRESET'],
  ['No route to host', 'EHOSTUNREACH'],
  ['Network is unreachable', 'ENETUNREACH'],
  ['Connection timed out', 'ETIMEDOUT'],
  ['Permission denied', 'EACCES'],
  ['Operation not permitted', 'EPERM'],
  ['Invalid argument', 'EINVAL'],
];

function errnoOf(text: string): string {
  return ERRNO.find(([words]) => text.includes(words))?.[1] ?? 'ERROR';
}
