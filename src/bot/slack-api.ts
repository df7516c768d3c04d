import {
  type Logger,
  LogLevel,
  WebAPIHTTPError,
  WebAPIPlatformError,
  WebAPIRateLimitedError,
  WebAPIRequestError,
  WebClient,
} from '@slack/web-api';
import type { Meter } from '../meter.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { messageOf } from '../model/text.ts';
import type { Log } from '../store/redis.ts';

/**
 * Why a call of Slack's Web API gave no result. `refused`: Slack said no, with its error code. `rate-limited` and
 * `unsent`: it certainly had no effect. `unknown`: it may have had one.
 */
export type SlackFault =
  | { readonly kind: 'refused'; readonly error: string }
  | { readonly kind: 'rate-limited'; readonly retryAfterMs: number }
  | { readonly kind: 'unsent'; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string };

/** Calls a method of Slack's Web API once: whoever calls decides whether to try again. Never rejects. */
export type SlackCall = (method: string, parameters: Record<string, unknown>) => Promise<Result<unknown, SlackFault>>;

/** Errors with which Slack says that something went wrong on its side, so that a message may have been posted. */
const UNCERTAIN = new Set(['internal_error', 'fatal_error', 'request_timeout', 'service_unavailable', 'team_added_to_org']);

/** Makes a client for a bot token. The library's own retries are off: it would post a message several times. */
export function createSlackApi(options: {
  readonly token: string;
  readonly apiUrl: string;
  readonly timeoutMs: number;
  readonly log: Log;
  readonly meter: Pick<Meter, 'slackCall'>;
}): SlackCall {
  const client = new WebClient(options.token, clientOptions(options.apiUrl, options.timeoutMs, options.log));
  return async (method, parameters) => {
    const start = performance.now();
    const count = (result: string): void => options.meter.slackCall(method, result, (performance.now() - start) / 1000);
    try {
      const answer = await client.apiCall(method, parameters);
      count('ok');
      return ok(answer);
    } catch (error) {
      const fault = faultOf(error);
      count(fault.kind === 'refused' ? fault.error : fault.kind);
      return fail(fault);
    }
  };
}

/** Sends a file's bytes to where Slack said it takes them. Nothing is visible yet. Never rejects. */
export type SlackUpload = (url: string, bytes: Uint8Array) => Promise<Result<void, SlackFault>>;

/** Makes the way for bytes. The address comes from Slack's answer: it has to be HTTPS, or the API's own host. */
export function createUpload(apiUrl: string, timeoutMs: number): SlackUpload {
  return async (url, bytes) => {
    const to = URL.parse(url);
    if (to === null || (to.protocol !== 'https:' && to.host !== new URL(apiUrl).host))
      return fail({ kind: 'unsent', message: 'the address for the upload is not HTTPS' });
    try {
      const reply = await fetch(to, {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body: new Uint8Array(bytes),
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      });
      return reply.ok ? ok(undefined) : fail({ kind: 'unsent', message: `the upload was answered with HTTP ${reply.status}` });
    } catch (error) {
      return fail({ kind: 'unsent', message: messageOf(error) });
    }
  };
}

/** The options of every client of Slack's Web API. Never set `headers`: the first token would be written into them. */
export function clientOptions(apiUrl: string, timeoutMs: number, log: Log) {
  return {
    slackApiUrl: apiUrl,
    timeout: timeoutMs,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    logger: slackLogger(log),
  };
}

/** A logger in the form that Slack's libraries want. What they log at debug level contains requests: it is dropped. */
export function slackLogger(log: Log): Logger {
  const text = (parts: readonly unknown[]): string => parts.map((part) => messageOf(part)).join(' ');
  return {
    debug: () => undefined,
    info: () => undefined,
    warn: (...parts: unknown[]) => log.warn({}, `slack: ${text(parts)}`),
    error: (...parts: unknown[]) => log.error({}, `slack: ${text(parts)}`),
    setLevel: () => undefined,
    getLevel: () => LogLevel.WARN,
    setName: () => undefined,
  };
}

function faultOf(error: unknown): SlackFault {
  if (error instanceof WebAPIRateLimitedError) return { kind: 'rate-limited', retryAfterMs: error.retryAfter * 1_000 };
  if (error instanceof WebAPIPlatformError) {
    const code = error.data.error;
    if (code === 'ratelimited' || code === 'rate_limited') return { kind: 'rate-limited', retryAfterMs: 1_000 };
    // What is no error code is an answer that nobody could read, from a proxy for example.
    return UNCERTAIN.has(code) || !/^[a-z_]+$/.test(code)
      ? { kind: 'unknown', message: code.slice(0, 200) }
      : { kind: 'refused', error: code };
  }
  if (error instanceof WebAPIHTTPError) return { kind: 'unknown', message: `HTTP ${error.statusCode}` };
  const original = error instanceof WebAPIRequestError ? error.original : error;
  const cause = original instanceof Error && original.cause instanceof Error ? original.cause : original;
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  const message = code !== '' ? code : messageOf(cause);
  return /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(code)
    ? { kind: 'unsent', message }
    : { kind: 'unknown', message };
}
