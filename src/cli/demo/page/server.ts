import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { type TestMessage, textOf } from '../../../../test/slack.ts';
import { messageOf } from '../../../model/text.ts';
import { readChannel } from '../channel.ts';
import { CHANNEL, PEOPLE, type Stage } from '../stage.ts';
import type { PageAnswer, PageMessage, PageState } from './state.ts';

/** How often Slack and the network are looked at while somebody watches, in milliseconds. */
const LOOK_MS = 300;

/** A click that nothing is said about is answered after so long, in milliseconds. */
const WHISPER_MS = 5000;

const LARGEST_BODY = 64 * 1024;

const By = z.enum(Object.values(PEOPLE));
const Request = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('command'), by: By, text: z.string() }),
  z.strictObject({ kind: z.literal('click'), by: By, action: z.string(), value: z.string() }),
  z.strictObject({ kind: z.literal('submit'), by: By, callback: z.string(), metadata: z.string(), text: z.string() }),
  z.strictObject({ kind: z.enum(['inject', 'heal']), fault: z.string() }),
]);

/** What netcheck opens over the channel: a form with one input, or something to read. */
const View = z.object({
  callback_id: z.string().optional(),
  private_metadata: z.string().default(''),
  title: z.object({ text: z.string() }),
  blocks: z.array(z.record(z.string(), z.unknown())),
});
const Input = z.tuple([z.object({ type: z.literal('input'), label: z.object({ text: z.string() }) })]);
const Errors = z.object({ errors: z.object({ reason: z.string() }) });

/** The page that shows the demo's channel in a browser of this machine. */
export type Page = { readonly url: string; readonly close: () => Promise<void> };

/**
 * Serves the channel on localhost: its messages as they change, a box for commands, buttons that are real signed requests
 * to the bot, and faults to put in and take out. Takes another port when the given one is taken.
 */
export async function servePage(stage: Stage, port: number): Promise<Page> {
  const files = await bundle();
  const watchers = new Set<ServerResponse>();
  const closing = new AbortController();
  let busy: string | null = null;
  let latest = '';

  async function readState(): Promise<PageState> {
    const active = new Set(stage.network.active());
    return {
      channel: CHANNEL,
      people: Object.values(PEOPLE),
      names: Object.fromEntries(stage.names),
      network: stage.network.title,
      faults: stage.network.faults.map(({ name, title }) => ({ name, title, isActive: active.has(name) })),
      busy,
      threads: (await readChannel(stage)).map(({ root, replies }) => ({ root: shown(root), replies: replies.map(shown) })),
    };
  }

  /** Sends the state to everybody who watches, when it has changed. */
  async function look(): Promise<void> {
    const next = `data: ${JSON.stringify(await readState())}\n\n`;
    if (next === latest) return;
    latest = next;
    for (const watcher of watchers) watcher.write(next);
  }

  async function watch(): Promise<void> {
    while (!closing.signal.aborted) {
      if (watchers.size > 0) await look().catch(() => undefined);
      await delay(LOOK_MS, undefined, { signal: closing.signal }).catch(() => undefined);
    }
  }

  async function carryOut(request: Exclude<z.infer<typeof Request>, { kind: 'click' }>): Promise<string | null> {
    const { hands, network } = stage;
    switch (request.kind) {
      case 'command': {
        const [, text] = /^\/netcheck(?:\s+(.*))?$/s.exec(request.text.trim()) ?? [];
        if (!/^\/netcheck(\s|$)/.test(request.text.trim()))
          return 'This channel takes commands only: they begin with `/netcheck`.';
        return (await hands.command(text ?? '', { user: request.by, channel: CHANNEL })).text;
      }
      case 'submit': {
        const view = { callback_id: request.callback, private_metadata: request.metadata };
        const { text } = await hands.submit(view, request.text, { user: request.by });
        return text === '' ? null : Errors.parse(JSON.parse(text)).errors.reason;
      }
      case 'inject':
      case 'heal': {
        if (busy !== null) return `Wait: ${busy}.`;
        busy = request.kind === 'inject' ? `putting in ${request.fault}` : `taking out ${request.fault}`;
        try {
          if (request.kind === 'heal') await network.heal(request.fault);
          return request.kind === 'heal' ? `Taken out: ${request.fault}.` : `Put in: ${await network.inject(request.fault)}.`;
        } catch (error) {
          return `That did not work: ${messageOf(error)}`;
        } finally {
          busy = null;
        }
      }
    }
  }

  /** Presses a button. What that opens is there by the time at which the click is answered. */
  async function press({ by, action, value }: Extract<z.infer<typeof Request>, { kind: 'click' }>): Promise<PageAnswer> {
    const { hands, slack } = stage;
    const before = slack.views.length;
    const { said } = await hands.click({ action_id: action, value }, { user: by, channel: CHANNEL });
    if (slack.views.length === before) return { said: await said(WHISPER_MS).catch(() => null), form: null };
    const { callback_id: callback, private_metadata: metadata, title, blocks } = View.parse(slack.views[before]);
    const input = Input.safeParse(blocks);
    if (callback === undefined || !input.success) return { said: textOf({ blocks }), form: null };
    return { said: null, form: { title: title.text, label: input.data[0].label.text, callback, metadata } };
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    // Another site's page may send requests here, too: none that names this host, and none with JSON in it.
    if (!/^(localhost|127\.0\.0\.1)(:\d+)?$/.test(request.headers.host ?? '')) return end(response, 403, 'text/plain', 'no');
    if (request.method === 'POST' && pathname === '/do') {
      if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) return end(response, 415, 'text/plain', 'no');
      const read = Request.safeParse(await bodyOf(request));
      if (!read.success) return end(response, 400, 'text/plain', 'this page belongs to another version: load it again');
      const { data } = read;
      const said: PageAnswer = data.kind === 'click' ? await press(data) : { said: await carryOut(data), form: null };
      return end(response, 200, 'application/json', JSON.stringify(said));
    }
    if (request.method !== 'GET') return end(response, 405, 'text/plain', 'no');
    if (pathname === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      watchers.add(response);
      response.on('close', () => watchers.delete(response));
      response.write(`data: ${JSON.stringify(await readState())}\n\n`);
      return;
    }
    const file = files.get(pathname);
    if (file === undefined) return end(response, 404, 'text/plain', 'there is nothing here');
    end(response, 200, file.type, file.text);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => end(response, 500, 'text/plain', messageOf(error)));
  });
  await listen(server, port);
  const watching = watch();
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      closing.abort();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await Promise.all([closed, watching]);
    },
  };
}

type File = { readonly type: string; readonly text: string };

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>netcheck demo</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/app.css">
<script type="module" src="/app.js"></script>
</head>
<body><div id="app"></div></body>
</html>
`;

/** The files of the page: its program and styles are bundled when it is first served. */
async function bundle(): Promise<ReadonlyMap<string, File>> {
  const { build, stop } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, 'browser/app.tsx')],
    bundle: true,
    write: false,
    outdir: '/',
    format: 'esm',
    jsx: 'automatic',
    target: 'es2022',
    minify: true,
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'error',
  });
  await stop();
  const textOf = (ending: string): string => outputFiles.find(({ path }) => path.endsWith(ending))?.text ?? '';
  return new Map([
    ['/', { type: 'text/html; charset=utf-8', text: PAGE }],
    ['/app.js', { type: 'text/javascript; charset=utf-8', text: textOf('.js') }],
    ['/app.css', { type: 'text/css; charset=utf-8', text: textOf('.css') }],
  ]);
}

/** Listens on the port, or on any free one when somebody else has it. */
async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    if (port === 0 || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    await listen(server, 0);
  }
}

function shown({ ts, blocks }: TestMessage): PageMessage {
  return { ts, time: Number(ts) * 1000, blocks };
}

/** The JSON in a request; null for anything that is none, or too long. */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY) return null;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return null;
  }
}

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

function end(response: ServerResponse, status: number, type: string, text: string): void {
  if (response.headersSent) return void response.end();
  response.writeHead(status, { ...HEADERS, 'content-type': type }).end(text);
}
