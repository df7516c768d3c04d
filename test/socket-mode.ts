import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';

/*
 * Socket Mode as Slack documents it (docs.slack.dev/apis/events-api/using-socket-mode), since the emulator has none: a
 * link that is good once, `hello`, one envelope to one of the open connections, its acknowledgement within three seconds,
 * and `disconnect` when Slack renews a connection.
 */

const ACK_MS = 3_000;

const Ack = z.object({ envelope_id: z.string(), payload: z.record(z.string(), z.unknown()).optional() });

/** Makes the Socket Mode side of a Slack whose Web API is on that server. */
export function createSocketMode(server: Server, url: string) {
  const links = new Set<string>();
  const sockets = new Set<WebSocket>();
  const waiting = new Map<string, { readonly answer: (payload: unknown) => void; readonly socket: WebSocket }>();
  const wss = new WebSocketServer({ noServer: true });
  let next = 0;
  let opened = 0;

  server.on('upgrade', (request, socket, head) => {
    const ticket = (request.url ?? '').replace('/link/', '');
    if (!links.delete(ticket)) {
      socket.destroy();
      return;
    }
    wss.handleUpgrade(request, socket, head, (connection) => {
      sockets.add(connection);
      opened += 1;
      connection.on('message', (data: Buffer) => {
        const read = Ack.safeParse(JSON.parse(data.toString('utf8')));
        if (!read.success) return;
        waiting.get(read.data.envelope_id)?.answer(read.data.payload ?? {});
        waiting.delete(read.data.envelope_id);
      });
      connection.on('close', () => sockets.delete(connection));
      connection.send(JSON.stringify({ type: 'hello', num_connections: sockets.size, connection_info: { app_id: 'A1' } }));
    });
  });

  /** Sends one envelope to one of the connections, and resolves with its acknowledgement. Rejects as Slack tells the user. */
  async function deliver(
    type: 'slash_commands' | 'interactive',
    payload: object,
    envelope: string = randomUUID(),
  ): Promise<unknown> {
    const open = [...sockets];
    const socket = open[next % open.length];
    next += 1;
    if (socket === undefined) throw new Error('dispatch_failed');
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    waiting.set(envelope, { answer: resolve, socket });
    const timer = setTimeout(() => reject(new Error('operation_timeout')), ACK_MS);
    socket.send(JSON.stringify({ type, envelope_id: envelope, payload, accepts_response_payload: true }));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    /** A link for one connection. */
    link: (): string => {
      const ticket = randomUUID();
      links.add(ticket);
      return `${url.replace(/^http/, 'ws')}/link/${ticket}`;
    },
    deliver,
    /** How many connections are open, and how many have been. */
    connections: () => ({ open: sockets.size, ever: opened }),
    /** Renews the oldest connection, as Slack does every few hours: nothing more is sent by it. */
    renew: (): void => {
      const [oldest] = sockets;
      if (oldest === undefined) return;
      sockets.delete(oldest);
      oldest.send(JSON.stringify({ type: 'disconnect', reason: 'refresh_requested' }));
    },
    /** Cuts every connection without a word. */
    cut: (): void => {
      for (const socket of sockets) socket.terminate();
      sockets.clear();
    },
    close: (): void => {
      for (const socket of sockets) socket.terminate();
      wss.close();
    },
  };
}
