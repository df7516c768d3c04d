import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startGuard } from './guard.ts';

/** A real redis-server of its own, on a free port of the loopback, with its data in a directory of its own. */
export type TestRedis = {
  readonly url: string;
  readonly port: number;
  /** Kills it with SIGKILL, as a power cut would. */
  readonly kill: () => Promise<void>;
  /** Stops it from answering without closing anything, as a partition would; `resume` ends that. */
  readonly freeze: () => void;
  readonly resume: () => void;
  /** Starts it again on the same port and data. */
  readonly restart: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Starts redis-server as netcheck asks for it: append-only, fsync at every write, nothing evicted. */
export async function startRedis(extra: readonly string[] = []): Promise<TestRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'netcheck-redis-'));
  const guard = startGuard('redis-guard', ON_DEATH, directory);
  const port = await freePort();
  let server: ChildProcess | null = await launch(directory, port, extra);

  async function kill(): Promise<void> {
    if (server === null) return;
    const dying = server;
    server = null;
    const exited = once(dying, 'exit');
    dying.kill('SIGKILL');
    await exited;
    await rm(join(directory, PID_FILE), { force: true });
  }

  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    kill,
    freeze: () => server?.kill('SIGSTOP'),
    resume: () => server?.kill('SIGCONT'),
    restart: async () => {
      server ??= await launch(directory, port, extra);
    },
    close: async () => {
      await kill();
      await rm(directory, { recursive: true, force: true });
      guard.dismiss();
    },
  };
}

const PID_FILE = 'redis.pid';

/** Kills the server and removes its data. */
const ON_DEATH = `read -r _ && exit; kill -9 "$(cat "$1/${PID_FILE}")"; rm -rf "$1"`;

async function launch(directory: string, port: number, extra: readonly string[]): Promise<ChildProcess> {
  const server = spawn(
    'redis-server',
    [
      `--port ${port} --bind 127.0.0.1 --appendonly yes --appendfsync always --maxmemory-policy noeviction`.split(' '),
      ['--dir', directory, '--pidfile', join(directory, PID_FILE), '--save', '', ...extra],
    ].flat(),
    // In a process group of its own: Ctrl-C at a terminal is for whoever started it, who then ends it in order.
    { stdio: 'ignore', detached: true },
  );
  const failed = once(server, 'error').then(([error]) => {
    throw new Error(`redis-server could not be started: ${String(error)}`);
  });
  failed.catch(() => undefined);
  await Promise.race([failed, answering(port)]);
  return server;
}

/** Waits until Redis answers PING with PONG: a port that is merely open may still be loading. */
async function answering(port: number): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    if (await pongs(port)) return;
    await delay(10);
  }
  throw new Error(`redis-server does not answer on port ${port}`);
}

function pongs(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
  socket.on('data', (chunk) => {
    resolve(chunk.toString().startsWith('+PONG'));
    socket.destroy();
  });
  socket.on('error', () => resolve(false));
  socket.on('close', () => resolve(false));
  return promise;
}

/** A TCP port that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
