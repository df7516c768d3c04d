import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../model/text.ts';
import type { Metrics } from './metrics.ts';

/** What keeps a process from doing its work, a sentence each; nothing when it is ready. */
export type Readiness = () => Promise<readonly string[]>;

/**
 * Serves `GET /healthz` (the process is alive), `/readyz` (503 with the reasons while it is not ready) and `/metrics`
 * (Prometheus). Nothing else, and nothing that changes anything. Rejects when the port cannot be had.
 */
export async function serveOps(
  where: { readonly host: string; readonly port: number },
  { readiness, metrics }: { readonly readiness: Readiness; readonly metrics: Pick<Metrics, 'render' | 'contentType'> },
): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const answers = new Map<string, () => Promise<Answer>>([
    ['/healthz', async () => ({ status: 200, type: 'text/plain', text: 'ok\n' })],
    [
      '/readyz',
      async () => {
        const missing = await readiness();
        const text = missing.length === 0 ? 'ready\n' : `${missing.join('\n')}\n`;
        return { status: missing.length === 0 ? 200 : 503, type: 'text/plain', text };
      },
    ],
    ['/metrics', async () => ({ status: 200, type: metrics.contentType, text: await metrics.render() })],
  ]);
  const server = createServer((request, response) => {
    const answer = request.method === 'GET' ? answers.get((request.url ?? '').split('?')[0] ?? '') : undefined;
    if (answer === undefined) {
      response.writeHead(404).end();
      return;
    }
    answer().then(
      ({ status, type, text }) => response.writeHead(status, { 'content-type': type }).end(text),
      (error: unknown) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${messageOf(error)}\n`),
    );
  });
  server.listen(where.port, where.host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

type Answer = { readonly status: number; readonly type: string; readonly text: string };
