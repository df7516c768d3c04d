import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { decode, encode, RECURSION_DESIRED } from 'dns-packet';
import type { Exchange, ExchangeOutcome } from '../model/wire/agent.ts';

/** How one attempt ended: `ok`, an errno name, `TIMEOUT`, or a DNS rcode. */
type Attempt = { readonly result: string; readonly detail: string; readonly ms: number };

/** When and how often an exchange is tried; milliseconds. */
export type Pace = { readonly attempts: number; readonly everyMs: number; readonly timeoutMs: number };

/**
 * Tries each exchange, all of them at once. A further attempt, each from a fresh source port, starts every `everyMs` as
 * long as nothing has been answered: one lost SYN is not a dead path. An error that the other side or the kernel
 * answered with ends it.
 */
export function runExchanges(exchanges: readonly Exchange[], pace: Pace): Promise<readonly ExchangeOutcome[]> {
  return Promise.all(exchanges.map((exchange) => runExchange(exchange, pace)));
}

function runExchange(exchange: Exchange, pace: Pace): Promise<ExchangeOutcome> {
  return new Promise((resolve) => {
    let started = 0;
    let ended = 0;
    let last: Attempt = { result: 'TIMEOUT', detail: '', ms: pace.timeoutMs };
    let settled = false;
    let timer: NodeJS.Timeout | undefined;

    const settle = (answered: number): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      resolve({ id: exchange.id, attempts: started, answered, ...last });
    };
    const tryOnce = (): void => {
      started += 1;
      if (started < pace.attempts) timer = setTimeout(tryOnce, pace.everyMs);
      void attempt(exchange, pace.timeoutMs).then((outcome) => {
        ended += 1;
        if (settled) return;
        last = outcome;
        if (outcome.result !== 'TIMEOUT') settle(1);
        else if (ended === pace.attempts) settle(0);
      });
    };
    tryOnce();
  });
}

/** One attempt; never rejects. */
async function attempt(exchange: Exchange, timeoutMs: number): Promise<Attempt> {
  const start = performance.now();
  const { result, detail } = await METHODS[exchange.method](exchange, timeoutMs);
  return { result, detail, ms: Math.round((performance.now() - start) * 100) / 100 };
}

type Answer = { readonly result: string; readonly detail: string };
type Method = (exchange: Exchange, timeoutMs: number) => Promise<Answer>;

const METHODS: Readonly<Record<Exchange['method'], Method>> = { tcp: tryTcp, http: tryHttp, tls: tryTls, dns: tryDns };

const TIMED_OUT: Answer = { result: 'TIMEOUT', detail: '' };

function failed(error: NodeJS.ErrnoException): Answer {
  return error.code === 'ETIMEDOUT' ? TIMED_OUT : { result: error.code ?? 'ERROR', detail: error.message };
}

function tryTcp({ ip, port }: Exchange, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port });
    const finish = (answer: Answer): void => {
      clearTimeout(timer);
      // A reset, not a FIN: no TIME_WAIT stays behind on the node.
      socket.resetAndDestroy();
      resolve(answer);
    };
    const timer = setTimeout(finish, timeoutMs, TIMED_OUT);
    socket.once('connect', () => finish({ result: 'ok', detail: '' }));
    socket.once('error', (error: NodeJS.ErrnoException) => finish(failed(error)));
  });
}

function tryHttp({ ip, port, name }: Exchange, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const request = get({ host: ip, port, path: name, agent: false, headers: { connection: 'close' } });
    const finish = (answer: Answer): void => {
      clearTimeout(timer);
      request.destroy();
      resolve(answer);
    };
    const timer = setTimeout(finish, timeoutMs, TIMED_OUT);
    request.once('response', (response) => finish({ result: 'ok', detail: String(response.statusCode) }));
    request.once('error', (error: NodeJS.ErrnoException) => finish(failed(error)));
  });
}

function tryTls({ ip, port, name }: Exchange, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    // Only the handshake is of interest here; what the certificate says is another check's business.
    const socket = connectTls({ host: ip, port, servername: name, rejectUnauthorized: false });
    const finish = (answer: Answer): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(finish, timeoutMs, TIMED_OUT);
    socket.once('secureConnect', () => finish({ result: 'ok', detail: socket.getProtocol() ?? '' }));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      finish(error.code?.startsWith('ERR_SSL') ? { result: 'TLS', detail: error.message } : failed(error)),
    );
  });
}

function tryDns({ ip, port, name }: Exchange, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const id = Math.floor(Math.random() * 65_536);
    const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4');
    const finish = (answer: Answer): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(finish, timeoutMs, TIMED_OUT);
    socket.once('error', (error: NodeJS.ErrnoException) => finish(failed(error)));
    socket.on('message', (message) => {
      const answer = readAnswer(message, id);
      if (answer !== null) finish(answer);
    });
    // Connected, so that an ICMP error comes back as one and only this server can answer.
    socket.connect(port, ip, () => {
      const query = encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type: 'A', name }] });
      socket.send(query, (error) => {
        if (error !== null) finish(failed(error));
      });
    });
  });
}

function readAnswer(message: Buffer, id: number): Answer | null {
  try {
    const reply = decode(message);
    if (reply.id !== id || reply.type !== 'response') return null;
    const addresses = (reply.answers ?? []).flatMap((answer) => (answer.type === 'A' ? [answer.data] : []));
    // `rcode` is set by decode and missing from the types of dns-packet.
    const rcode = (reply as unknown as { rcode: string }).rcode;
    return { result: rcode === 'NOERROR' ? 'ok' : rcode, detail: addresses.join(' ') };
  } catch {
    return { result: 'MALFORMED', detail: '' };
  }
}
