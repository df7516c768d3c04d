import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { exitStatus, labEnvironment, programPath } from './run.ts';
import type { Topology } from './topology.ts';

/** The project's own directory, which labs see under the same path, read-only. */
export const PROJECT = resolve(import.meta.dirname, '../..');

/** The rack's processes, as the machine sees them. */
export type Rack = {
  /** Process 1 of the rack's namespaces. */
  readonly pid: number;
  /** Resolves when the network of gateway and control plane is there; the nodes may not be. */
  readonly wired: Promise<void>;
  /** Resolves with process 1 of each node when all of them are ready, and the resolver outside answers. */
  readonly nodes: Promise<Readonly<Record<string, number>>>;
  /** Resolves when every process of the lab is gone, whatever ended it. */
  readonly gone: Promise<void>;
  /** Ends the lab and waits for `gone`. */
  readonly stop: () => Promise<void>;
};

/**
 * Starts a lab's namespaces with all that is in them, in a user namespace of its own, also as root: what a lab sets
 * can then not be the machine's. Everything ends when this process does, however it ends: the rack's process 1 waits
 * for the end of a pipe that only this process holds, and the kernel ends all processes of a PID namespace with it.
 */
export async function startRack(directory: string, topology: Topology): Promise<Rack> {
  const namespaces = '--net --mount --pid --uts --ipc --cgroup --fork --kill-child --mount-proc';
  const child = spawn(
    programPath('unshare'),
    [
      '--user',
      'sh',
      '-c',
      `echo unshared; read -r _; exec unshare ${namespaces} sh "$@"`,
      'sh',
      join(directory, 'run/build/rack.sh'),
      directory,
      hasFullMap() ? '65533' : '0',
      ...visibleDirectories(),
    ],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: labEnvironment(),
    },
  );
  child.stdin.on('error', () => {});
  const output = watchOutput(child);
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  const fail = async (): Promise<never> => {
    await gone;
    throw new Error(
      `the lab's namespaces ended: ${output.errors().trim() || `exit ${exitStatus(child.exitCode, child.signalCode)}`}`,
    );
  };
  void output.line('failed').then(() => child.stdin.end());
  const line = (text: string): Promise<void> => Promise.race([output.line(text), fail()]);
  const stop = async (): Promise<void> => {
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(timer);
  };

  try {
    await line('unshared');
    mapUsers(child.pid ?? 0);
    child.stdin.write('go\n');
    await line('started');
  } catch (error) {
    await stop();
    throw error;
  }
  const wired = line('rack');
  const nodes = Promise.all([line('resolver'), ...topology.nodes.map((node) => line(node.name))]).then(() =>
    nodeProcesses(rackProcess(child)),
  );
  // Whoever awaits them gets the error; until then it is not unhandled.
  wired.catch(() => {});
  nodes.catch(() => {});
  return { pid: rackProcess(child), wired, nodes, gone, stop };
}

/** The arguments of nsenter that enter all namespaces of a process, keeping its user's rights in them. */
export function enter(pid: number): string[] {
  return [
    'nsenter',
    '-t',
    String(pid),
    '--user',
    '--preserve-credentials',
    '--net',
    '--mount',
    '--pid',
    '--uts',
    '--ipc',
    '--cgroup',
    '--',
  ];
}

/** Directories beside the system's own that programs in the lab are run from. */
export function visibleDirectories(): string[] {
  const node = dirname(dirname(process.execPath));
  const inside = [PROJECT, '/usr'].some((parent) => node === parent || node.startsWith(`${parent}/`));
  return inside ? [PROJECT] : [PROJECT, node];
}

function hasFullMap(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Maps users and groups of the new namespace: as root all of them, each to itself, so that programs can drop their
 * privileges there; else this user to root and no other.
 */
function mapUsers(pid: number): void {
  if (hasFullMap()) {
    writeFileSync(`/proc/${pid}/uid_map`, '0 0 4294967295');
    writeFileSync(`/proc/${pid}/gid_map`, '0 0 4294967295');
  } else {
    // user_namespaces(7): a group may be mapped without privilege only when setgroups(2) is denied for good.
    writeFileSync(`/proc/${pid}/setgroups`, 'deny');
    writeFileSync(`/proc/${pid}/uid_map`, `0 ${process.getuid?.()} 1`);
    writeFileSync(`/proc/${pid}/gid_map`, `0 ${process.getgid?.()} 1`);
  }
}

/** Process 1 of the rack: the only child of the `unshare` that made its namespaces. */
function rackProcess(child: ChildProcess): number {
  const [pid] = childrenOf(child.pid ?? 0);
  if (pid === undefined) throw new Error('the rack has no process');
  return pid;
}

/** Process 1 of every node, by the node's name: each is the child of an `unshare` that is a child of the rack's. */
function nodeProcesses(rack: number): Record<string, number> {
  const inits = childrenOf(rack)
    .filter((pid) => namespaceOf(pid, 'pid_for_children') !== namespaceOf(rack, 'pid'))
    .flatMap(childrenOf);
  return Object.fromEntries(inits.map((pid) => [readFileSync(`/proc/${pid}/root/etc/hostname`, 'utf8').trim(), pid]));
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

function namespaceOf(pid: number, kind: string): string {
  return readlinkSync(`/proc/${pid}/ns/${kind}`);
}

/** Waits for lines on standard output, which says how far the lab is, and keeps the end of standard error. */
function watchOutput(child: ChildProcess): { readonly line: (text: string) => Promise<void>; readonly errors: () => string } {
  const seen = new Set<string>();
  const waiting = new Map<string, () => void>();
  let errors = '';
  createInterface({ input: child.stdout ?? Readable.from([]) }).on('line', (text) => {
    seen.add(text);
    waiting.get(text)?.();
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4096);
  });
  return {
    line: (text) => (seen.has(text) ? Promise.resolve() : new Promise((done) => waiting.set(text, done))),
    errors: () => errors,
  };
}
