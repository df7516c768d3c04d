import { type ClientRequest, Agent as HttpAgent, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { ClusterFault, ClusterResult } from '../port.ts';
import { faultOfAnswer, faultOfError, isDeadline, said } from './faults.ts';
import type { Login } from './kubeconfig.ts';
import type { GetPath, ListPath, LogPath } from './rights.ts';

/** One request to the API server. `path` carries its query. */
type ApiCall = {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: object;
  readonly contentType?: string;
};

/**
 * A list, as far as it could be read: `unread` counts the items that were not as expected, `problem` says why; `isCut` when
 * there were more than were asked for.
 */
export type Listed<T> = {
  readonly items: readonly T[];
  readonly unread: number;
  readonly problem: string;
  readonly isCut: boolean;
};

export type Api = {
  /** Reads with retries (429, 5xx, a connection that was cut) as long as the deadline allows. */
  readonly get: <S extends z.ZodType>(path: GetPath, schema: S, signal: AbortSignal) => Promise<ClusterResult<z.output<S>>>;
  /** Reads a list page by page, up to `most` items; starts again once when its continue token has expired. */
  readonly list: <S extends z.ZodType>(
    path: ListPath,
    schema: S,
    signal: AbortSignal,
    most?: number,
  ) => Promise<ClusterResult<Listed<z.output<S>>>>;
  /** Reads text, once. */
  readonly text: (path: LogPath, signal: AbortSignal) => Promise<ClusterResult<string>>;
  /** Writes, once. */
  readonly send: <S extends z.ZodType>(call: ApiCall, schema: S, signal: AbortSignal) => Promise<ClusterResult<z.output<S>>>;
  readonly close: () => void;
};

export type ApiOptions = {
  readonly login: Login;
  /** How long one read or write may take, retries and pages included. Milliseconds. */
  readonly timeoutMs: number;
};

const MAX_SOCKETS = 6;
const PAGE = 500;
const MAX_ATTEMPTS = 4;
const FIRST_PAUSE_MS = 250;
const MAX_BODY_BYTES = 64 << 20;

const Page = z.object({
  metadata: z.object({ continue: z.string().nullish() }).nullish(),
  items: z.array(z.unknown()).nullish(),
});

type Answer = { readonly code: number; readonly retryAfter: number | null; readonly body: string };
type Failure = { readonly ok: false; readonly fault: ClusterFault };

/** A small client for the REST part of the API, over one pool of connections. */
export function createApi({ login, timeoutMs }: ApiOptions): Api {
  const isPlain = login.server.protocol === 'http:';
  // A TLS handshake costs more than most reads: a few connections that are used again beat one for each read.
  const agent = new (isPlain ? HttpAgent : HttpsAgent)({ keepAlive: true, maxSockets: MAX_SOCKETS });

  async function attempt(call: ApiCall, signal: AbortSignal): Promise<ClusterResult<Answer> & { readonly wasCut?: boolean }> {
    const authorized = await withSignal(login.authorize(), signal);
    if (authorized === null) return stopped(signal);
    if (!authorized.ok) return authorized;
    const { proxy, headers, ...tls } = authorized.value;
    const body = call.body === undefined ? '' : JSON.stringify(call.body);
    return new Promise((resolve) => {
      let sent: ClientRequest;
      const fail = (error: NodeJS.ErrnoException): void => {
        if (signal.aborted) return resolve(stopped(signal));
        const wasCut = ['ECONNRESET', 'EPIPE'].includes(error.code ?? '');
        resolve({ ok: false, fault: faultOfError(error, login.server), wasCut });
      };
      const options = {
        ...tls,
        agent: proxy ?? agent,
        method: call.method ?? 'GET',
        signal,
        headers: {
          accept: 'application/json',
          'user-agent': 'netcheck',
          ...headers,
          ...(body === ''
            ? {}
            : { 'content-type': call.contentType ?? 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
      };
      try {
        sent = (isPlain ? requestHttp : requestHttps)(urlOf(login.server, call.path), options);
      } catch (error) {
        // A header that HTTP cannot carry, such as a token with a line break in it.
        return resolve({ ok: false, fault: { kind: 'invalid', message: said(String(error)) } });
      }
      sent.on('error', fail);
      sent.on('response', (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          chunks.push(chunk);
          if (size > MAX_BODY_BYTES) response.destroy(new Error(`the answer is larger than ${MAX_BODY_BYTES >> 20} MiB`));
        });
        response.on('error', fail);
        response.on('end', () => {
          const retryAfter = /^\d+$/.test(response.headers['retry-after'] ?? '') ? Number(response.headers['retry-after']) : null;
          resolve({ ok: true, value: { code: response.statusCode ?? 0, retryAfter, body: Buffer.concat(chunks).toString() } });
        });
      });
      sent.end(body === '' ? undefined : body);
    });
  }

  function stopped(signal: AbortSignal): Failure {
    const message = isDeadline(signal)
      ? `the API server at ${login.server.host} did not answer in time`
      : 'stopped before the API server answered';
    return { ok: false, fault: { kind: 'timeout', message } };
  }

  /** Reads until there is an answer to keep. `deadline` is in the time of performance.now(). */
  async function read(
    path: string,
    signal: AbortSignal,
    deadline: number,
  ): Promise<ClusterResult<string> & { readonly isExpired?: boolean }> {
    for (let attempts = 1; ; attempts += 1) {
      const result = await attempt({ path }, signal);
      if (result.ok && result.value.code === 200) return { ok: true, value: result.value.body };
      if (result.ok && result.value.code === 410)
        return { ok: false, isExpired: true, fault: faultOfAnswer(410, result.value.body) };
      const fault = result.ok ? faultOfAnswer(result.value.code, result.value.body) : result.fault;
      const isRetried = result.ok ? [429, 500, 502, 503, 504].includes(result.value.code) : result.wasCut === true;
      const pause =
        (result.ok && result.value.retryAfter !== null ? result.value.retryAfter * 1000 : 0) ||
        FIRST_PAUSE_MS * 2 ** (attempts - 1);
      if (!isRetried || attempts === MAX_ATTEMPTS || performance.now() + pause >= deadline) return { ok: false, fault };
      try {
        await sleep(pause, undefined, { signal });
      } catch {
        return { ok: false, fault };
      }
    }
  }

  function limited(signal: AbortSignal): { readonly signal: AbortSignal; readonly deadline: number } {
    return { signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]), deadline: performance.now() + timeoutMs };
  }

  return {
    async get(path, schema, signal) {
      const limit = limited(signal);
      const result = await read(path, limit.signal, limit.deadline);
      return result.ok ? parse(result.value, schema) : result;
    },
    async list(path, schema, signal, most = Number.POSITIVE_INFINITY) {
      const limit = limited(signal);
      const items: z.output<typeof schema>[] = [];
      let unread = 0;
      let problem = '';
      let token = '';
      let hasRestarted = false;
      for (;;) {
        const query = `limit=${PAGE}${token === '' ? '' : `&continue=${encodeURIComponent(token)}`}`;
        const result = await read(`${path}${path.includes('?') ? '&' : '?'}${query}`, limit.signal, limit.deadline);
        if (!result.ok) {
          if (result.isExpired !== true || hasRestarted) return { ok: false, fault: result.fault };
          hasRestarted = true;
          items.length = 0;
          unread = 0;
          token = '';
          continue;
        }
        const page = parse(result.value, Page);
        if (!page.ok) return page;
        for (const item of page.value.items ?? []) {
          const parsed = schema.safeParse(item);
          if (parsed.success) items.push(parsed.data);
          else {
            unread += 1;
            problem ||= said(z.prettifyError(parsed.error));
          }
        }
        token = page.value.metadata?.continue ?? '';
        const isCut = token !== '' && items.length + unread >= most;
        if (token === '' || isCut) return { ok: true, value: { items, unread, problem, isCut } };
      }
    },
    async text(path, signal) {
      const result = await attempt({ path }, limited(signal).signal);
      if (!result.ok) return { ok: false, fault: result.fault };
      const { code, body } = result.value;
      return code === 200 ? { ok: true, value: body } : { ok: false, fault: faultOfAnswer(code, body) };
    },
    async send(call, schema, signal) {
      const limit = limited(signal);
      const result = await attempt(call, limit.signal);
      if (!result.ok) return { ok: false, fault: result.fault };
      const { code, body } = result.value;
      return code >= 200 && code < 300 ? parse(body, schema) : { ok: false, fault: faultOfAnswer(code, body) };
    },
    close: () => agent.destroy(),
  };
}

/** The address of a path on a server whose own address may have a path, as behind Rancher. */
export function urlOf(server: URL, path: string): URL {
  return new URL(`${server.origin}${server.pathname.replace(/\/$/, '')}${path}`);
}

/** The value, or null when the signal came first. */
export async function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | null> {
  if (signal.aborted) return null;
  let stop = (): void => {};
  const aborted = new Promise<null>((resolve) => {
    stop = () => resolve(null);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function parse<S extends z.ZodType>(body: string, schema: S): ClusterResult<z.output<S>> {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return { ok: false, fault: { kind: 'invalid', message: `the answer is not JSON: ${said(body.slice(0, 80))}` } };
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return { ok: true, value: parsed.data };
  return {
    ok: false,
    fault: { kind: 'invalid', message: `the answer is not what was asked for: ${said(z.prettifyError(parsed.error))}` },
  };
}
