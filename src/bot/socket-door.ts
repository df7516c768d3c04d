import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { SocketModeClient } from '@slack/socket-mode';
import { WebAPIPlatformError } from '@slack/web-api';
import { z } from 'zod';
import { messageOf } from '../model/text.ts';
import type { Log } from '../store/redis.ts';
import { whisper, whyUnheard } from './front-door.ts';
import { clientOptions, slackLogger } from './slack-api.ts';

/** What Bolt gets of an envelope. `arrivedAt` is on `performance.now()`'s clock. */
export type SocketEvent = {
  readonly body: Record<string, unknown>;
  readonly ack: (answer?: unknown) => Promise<void>;
  readonly arrivedAt: number;
};

export type SocketDoorOptions = {
  readonly appToken: string;
  readonly apiUrl: string;
  readonly timeoutMs: number;
  /** Connections that are held at once: while Slack renews one, commands come by another. */
  readonly sockets: number;
  /** Pause before a connection that failed is tried again; it doubles up to thirty times as much. */
  readonly pauseMs: number;
  /** Remembers an envelope; false when it was seen before. Rejects when that cannot be found out. */
  readonly isFirstSeen: (envelope: string) => Promise<boolean>;
  /** Takes an envelope that is new. */
  readonly handle: (event: SocketEvent) => Promise<void>;
  readonly log: Log;
};

/** Takes commands and clicks over Socket Mode. `open` resolves with the first connection, and rejects when Slack refuses the token. */
export type SocketDoor = {
  readonly open: () => Promise<void>;
  readonly connected: () => number;
  readonly close: () => Promise<void>;
};

const Envelope = z.object({
  envelope_id: z.string(),
  body: z.record(z.string(), z.unknown()),
  ack: z.custom<(answer?: unknown) => Promise<void>>((value) => typeof value === 'function'),
});

/** Errors of `apps.connections.open` that no other attempt will mend. */
const REFUSED = /^(not_authed|invalid_auth|account_inactive|token_revoked|token_expired|not_allowed_token_type|missing_scope)$/;

const HELLO_MS = 10_000;

/**
 * Makes the Socket Mode side of the bot. Every connection is renewed here, not by Slack's client: that one leaves a gap of
 * five seconds, and an attempt of its own that fails would end the process.
 */
export function createSocketDoor(options: SocketDoorOptions): SocketDoor {
  const { appToken, apiUrl, timeoutMs, sockets, pauseMs, handle, log } = options;
  const ending = new AbortController();
  const live = new Set<SocketModeClient>();
  let loops: Promise<void>[] = [];

  /** Connects, and resolves with the connection once Slack has said hello. */
  async function connect(): Promise<{ readonly client: SocketModeClient; readonly ended: Promise<unknown> }> {
    const client = new SocketModeClient({
      appToken,
      autoReconnectEnabled: false,
      logger: slackLogger(log),
      clientOptions: clientOptions(apiUrl, timeoutMs, log),
    });
    client.on('slack_event', (envelope: unknown) => void receive(envelope));
    client.on('error', (error: unknown) => log.warn({ error: messageOf(error) }, 'a Socket Mode connection failed'));
    const given = new AbortController();
    const ended = once(client as unknown as EventTarget & NodeJS.EventEmitter, 'disconnected');
    ended.catch(() => undefined);
    const started = client.start();
    started.catch(() => undefined);
    try {
      const late = delay(HELLO_MS, null, { signal: given.signal }).then(() =>
        Promise.reject(new Error('Slack did not say hello')),
      );
      await Promise.race([started, late]);
    } catch (error) {
      client.disconnect().catch(() => undefined);
      throw error ?? new Error('the connection was closed');
    } finally {
      given.abort();
    }
    return { client, ended };
  }

  async function receive(envelope: unknown): Promise<void> {
    const arrivedAt = performance.now();
    const read = Envelope.safeParse(envelope);
    if (!read.success) return;
    const { envelope_id, body } = read.data;
    const ack = acknowledge(read.data.ack, body);
    try {
      const refusal = await whyUnheard(options, envelope_id);
      if (refusal === null) await handle({ body, ack, arrivedAt });
      else await refuse(refusal, body, ack);
    } catch (error) {
      log.error({ error: messageOf(error) }, 'an envelope failed');
    }
  }

  /** Answers over the connection; when that is gone, by the response URL, so that whoever typed is told all the same. */
  function acknowledge(send: (answer?: unknown) => Promise<void>, body: Record<string, unknown>): SocketEvent['ack'] {
    return async (answer) => {
      try {
        await send(answer);
      } catch (error) {
        const text = z.object({ text: z.string(), blocks: z.array(z.unknown()).optional() }).safeParse(answer);
        const url = ResponseUrl.safeParse(body);
        log.warn({ error: messageOf(error) }, 'an answer did not get through its connection');
        if (text.success && url.success) await whisper(url.data.response_url, text.data as { text: string });
      }
    };
  }

  /** One connection after another, until the end. */
  async function hold(first: PromiseWithResolvers<void>): Promise<void> {
    let pause = pauseMs;
    while (!ending.signal.aborted) {
      try {
        const { client, ended } = await connect();
        live.add(client);
        first.resolve();
        pause = pauseMs;
        await ended;
        live.delete(client);
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal !== null) first.reject(new Error(refusal));
        log.warn({ error: refusal ?? messageOf(error) }, 'no Socket Mode connection; trying again');
        await delay(pause, undefined, { signal: ending.signal }).catch(() => undefined);
        pause = Math.min(pause * 2, pauseMs * 30);
      }
    }
  }

  return {
    open: async () => {
      const first = Promise.withResolvers<void>();
      loops = Array.from({ length: sockets }, () => hold(first));
      await first.promise;
    },
    connected: () => live.size,
    close: async () => {
      ending.abort();
      await Promise.allSettled(
        [...live].map((client) => Promise.race([client.disconnect(), delay(2_000, undefined, { ref: false })])),
      );
      await Promise.race([Promise.allSettled(loops), delay(2_000, undefined, { ref: false })]);
    },
  };
}

const ResponseUrl = z.object({ response_url: z.url({ protocol: /^https?$/ }) });

/** A command is answered in place, a click through its response URL. */
async function refuse(text: string, body: Record<string, unknown>, ack: SocketEvent['ack']): Promise<void> {
  if (typeof body['command'] === 'string') return ack({ response_type: 'ephemeral', text });
  await ack();
  const url = ResponseUrl.safeParse(body);
  if (url.success) await whisper(url.data.response_url, { text });
}

function refusalOf(error: unknown): string | null {
  if (!(error instanceof WebAPIPlatformError) || !REFUSED.test(error.data.error)) return null;
  return `Slack refuses the app-level token (${error.data.error}): check NETCHECK_SLACK_APP_TOKEN; it needs the scope connections:write, and Socket Mode has to be switched on`;
}
