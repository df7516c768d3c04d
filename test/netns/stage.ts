import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { PeerCommand, PeerEvent } from './peer.ts';

/** What a command in a namespace returned. */
export type Ran = { readonly exitCode: number | null; readonly stdout: string; readonly stderr: string };

/** A process in one namespace that sends and receives packets (see `peer.ts`). */
export type Peer = {
  readonly tell: (command: PeerCommand) => void;
  /** Everything that happened so far. */
  readonly events: readonly PeerEvent[];
  /** Resolves when an event fits, or with false when none did until the time is over (milliseconds). */
  readonly until: (fits: (event: PeerEvent) => boolean, timeoutMs: number) => Promise<boolean>;
};

/** A few network namespaces inside a user namespace of their own. */
export type Stage = {
  /** Runs a command as root in the named namespace, or in the first one (`null`); its input is given as text. */
  readonly run: (namespace: string | null, argv: readonly string[], input?: string) => Promise<Ran>;
  readonly peer: (namespace: string) => Promise<Peer>;
  /** Ends every process and namespace of the stage. */
  readonly close: () => Promise<void>;
};

/**
 * Opens a stage: a user, mount, network and process namespace in which `ip netns` works, held by one process that ends,
 * with all that is in it, when this process does. Needs util-linux and iproute2; works as an ordinary user.
 */
export async function openStage(): Promise<Stage> {
  const unshare = ['--user', '--map-root-user', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const prepare =
    'mount -t tmpfs tmpfs /run && mkdir /run/netns && mount -t sysfs sysfs /sys && ip link set lo up && echo ready && exec cat';
  const holder = spawn('unshare', [...unshare, 'sh', '-c', prepare], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(holder, 'exit');
  const first = await Promise.race([once(holder.stdout, 'data'), ended]);
  if (!String(first[0]).startsWith('ready')) throw new Error(`no namespaces here: ${await textOf(holder.stderr)}`);
  const shell = await childOf(holder.pid);
  // the namespace to enter is named by its file, which only exists inside the mount namespace: two steps
  const enter = (namespace: string | null): string[] => [
    'nsenter',
    `--target=${shell}`,
    '--user',
    '--preserve-credentials',
    '--net',
    '--mount',
    '--pid',
    ...(namespace === null ? [] : ['nsenter', `--net=/run/netns/${namespace}`]),
  ];
  return {
    run: (namespace, argv, input = '') => runCommand([...enter(namespace), ...argv], input),
    peer: (namespace) => startPeer(enter(namespace)),
    async close() {
      holder.stdin.end();
      await ended;
    },
  };
}

/** The one child of `unshare`, which is the first process of the new process namespace. */
async function childOf(pid: number | undefined): Promise<number> {
  const { stdout } = await runCommand(['cat', `/proc/${pid}/task/${pid}/children`], '');
  return Number(stdout.trim());
}

async function textOf(stream: AsyncIterable<unknown>): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

async function runCommand([command = '', ...args]: readonly string[], input: string): Promise<Ran> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => undefined).end(input);
  const [stdout, stderr, [exitCode]] = await Promise.all([textOf(child.stdout), textOf(child.stderr), once(child, 'exit')]);
  return { exitCode: typeof exitCode === 'number' ? exitCode : null, stdout, stderr };
}

async function startPeer([command = '', ...args]: readonly string[]): Promise<Peer> {
  const script = fileURLToPath(new URL('./peer.ts', import.meta.url));
  const child: ChildProcessWithoutNullStreams = spawn(command, [...args, process.execPath, script], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const events: PeerEvent[] = [];
  const waiting = new Set<(event: PeerEvent) => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const event = JSON.parse(line) as PeerEvent;
    events.push(event);
    for (const listener of waiting) listener(event);
  });
  return {
    tell: (message) => child.stdin.write(`${JSON.stringify(message)}\n`),
    events,
    async until(fits, timeoutMs) {
      if (events.some(fits)) return true;
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const listener = (event: PeerEvent): void => {
        if (fits(event)) resolve(true);
      };
      waiting.add(listener);
      const timer = setTimeout(resolve, timeoutMs, false);
      const seen = await promise;
      clearTimeout(timer);
      waiting.delete(listener);
      return seen;
    },
  };
}
