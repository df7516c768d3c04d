import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { messageOf } from '../model/text.ts';
import { type Log, redisTrouble } from '../store/redis.ts';

/** Where Slack sends commands and clicks. */
export const ENDPOINT = '/slack/events';

const LARGEST_BODY = 512 * 1024;
const SKEW_SECONDS = 300;

export type FrontDoorOptions = {
  readonly signingSecret: string;
  /** Remembers a signature; false when it was seen before. Rejects when that cannot be found out. */
  readonly isFirstSeen: (signature: string) => Promise<boolean>;
  /** Takes a request that is genuine and new. */
  readonly handle: (request: GenuineRequest, response: ServerResponse) => void;
  readonly log: Log;
  readonly now: () => number;
};

/** A request with its body as received, and when it came, on `performance.now()`'s clock. */
export type GenuineRequest = IncomingMessage & { readonly rawBody: Buffer; readonly arrivedAt: number };

/**
 * Makes the HTTP server that stands before Bolt. It lets a request through only once and only when Slack signed it
 * within the last five minutes (Bolt itself accepts replays, and timestamps from the future). `GET /healthz` answers
 * `ok`.
 */
export function createFrontDoor(options: FrontDoorOptions): Server {
  const key = createSecretKey(options.signingSecret, 'utf8');
  const server = createServer(
    { connectionsCheckingInterval: 2_000, requestTimeout: 5_000, headersTimeout: 5_000 },
    (request, response) => {
      void receive(options, key, request, response).catch((error: unknown) => {
        options.log.error({ error: messageOf(error) }, 'a request failed');
        if (!response.headersSent) refuse(response, 500);
      });
    },
  );
  return server;
}

async function receive(
  options: FrontDoorOptions,
  key: KeyObject,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const arrivedAt = performance.now();
  const path = (request.url ?? '').split('?')[0];
  if (request.method === 'GET' && path === '/healthz') {
    response.writeHead(200, { 'content-type': 'text/plain' }).end('ok\n');
    return;
  }
  if (path !== ENDPOINT) return refuse(response, 404);
  if (request.method !== 'POST') return refuse(response, 405);
  const signature = headerOf(request, 'x-slack-signature');
  const timestamp = headerOf(request, 'x-slack-request-timestamp');
  if (!/^v0=[0-9a-f]{64}$/.test(signature) || !/^\d{9,11}$/.test(timestamp)) return refuse(response, 401);
  if (Math.abs(options.now() / 1_000 - Number(timestamp)) > SKEW_SECONDS) {
    options.log.warn({ timestamp }, 'a request whose time is more than five minutes off was refused');
    return refuse(response, 401);
  }
  const body = await bodyOf(request);
  if (body === null) {
    response.setHeader('connection', 'close');
    return refuse(response, 413);
  }
  const expected = createHmac('sha256', key).update(`v0:${timestamp}:`).update(body).digest();
  if (!timingSafeEqual(expected, Buffer.from(signature.slice(3), 'hex'))) {
    options.log.warn({}, 'a request with a wrong signature was refused');
    return refuse(response, 401);
  }
  const refusal = await whyUnheard(options, signature);
  if (refusal !== null) return say(response, body, refusal);
  options.handle(Object.assign(request, { rawBody: body, arrivedAt }), response);
}

const TWICE = 'This request reached netcheck twice and was carried out once. If nothing appears, send it again.';
const REMEMBERED_WITHIN_MS = 1_500;

/** What somebody is told whose request goes no further; null for a request that is seen for the first time. */
export async function whyUnheard(
  { isFirstSeen, log }: Pick<FrontDoorOptions, 'isFirstSeen' | 'log'>,
  signature: string,
): Promise<string | null> {
  const { promise: late, resolve } = Promise.withResolvers<'late'>();
  const timer = setTimeout(() => resolve('late'), REMEMBERED_WITHIN_MS);
  try {
    const first = await Promise.race([isFirstSeen(signature), late]);
    if (first === 'late') return notRemembered('Redis does not answer');
    return first ? null : TWICE;
  } catch (error) {
    log.error({ error: messageOf(error) }, 'a request was refused, because Redis did not remember it');
    return notRemembered(redisTrouble(error) ?? 'Redis cannot be used');
  } finally {
    clearTimeout(timer);
  }
}

function notRemembered(why: string): string {
  return `Not accepted: ${why}, so netcheck can neither queue nor remember anything. Nothing was started.`;
}

/** Reads a body up to the largest size that Slack could mean; null when it is larger or does not come whole. */
function bodyOf(request: IncomingMessage): Promise<Buffer | null> {
  const { promise, resolve } = Promise.withResolvers<Buffer | null>();
  const chunks: Buffer[] = [];
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= LARGEST_BODY) chunks.push(chunk);
    else resolve(null);
  });
  request.on('end', () => resolve(size <= LARGEST_BODY ? Buffer.concat(chunks) : null));
  request.on('error', () => resolve(null));
  request.on('close', () => resolve(null));
  return promise;
}

const Interaction = z.object({ response_url: z.url({ protocol: /^https?$/ }) });

/** Answers whoever sent it, by the way that kind of request has: a command in place, a click through its response URL. */
function say(response: ServerResponse, body: Buffer, text: string): void {
  const payload = new URLSearchParams(body.toString('utf8')).get('payload');
  if (payload === null) {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ response_type: 'ephemeral', text }));
    return;
  }
  response.writeHead(200).end();
  const url = responseUrlOf(payload);
  if (url !== null) void whisper(url, { text });
}

function responseUrlOf(payload: string): string | null {
  try {
    const read = Interaction.safeParse(JSON.parse(payload));
    return read.success ? read.data.response_url : null;
  } catch {
    return null;
  }
}

/**
 * Tells one person something, through the response URL that came with their click. Best effort: returns whether Slack
 * took it. The URL is from a request that Slack signed.
 */
export async function whisper(
  url: string,
  message: { readonly text: string; readonly blocks?: readonly unknown[]; readonly replace_original?: boolean },
): Promise<boolean> {
  try {
    const reply = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ response_type: 'ephemeral', replace_original: false, ...message }),
      redirect: 'error',
      signal: AbortSignal.timeout(5_000),
    });
    return reply.ok;
  } catch {
    return false;
  }
}

function headerOf(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === 'string' ? value : '';
}

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status).end();
}
