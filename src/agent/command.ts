import { spawn } from 'node:child_process';
import type { Evidence } from '../model/evidence.ts';
import { createTally } from './tally.ts';

/** Bounds of one operation: milliseconds until it is killed, and bytes of output that are kept (of each stream). */
export type Bounds = { readonly deadlineMs: number; readonly maxBytes: number };

/** Keeps what ran, so that everything can be killed when the worker is gone. */
export type Processes = {
  readonly add: (pid: number) => void;
  readonly remove: (pid: number) => void;
  readonly killAll: () => void;
};

/** A register of running process groups. */
export function createProcesses(): Processes {
  const groups = new Set<number>();
  return {
    add: (pid) => groups.add(pid),
    remove: (pid) => groups.delete(pid),
    killAll() {
      for (const pid of groups) killGroup(pid);
      groups.clear();
    },
  };
}

export function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself in the meantime.
  }
}

/** Milliseconds since the agent started: the only clock of its evidence. */
export function now(): number {
  return Math.round(performance.now() * 10) / 10;
}

/**
 * Runs a command in a process group of its own, without a shell, and returns what it printed. At the deadline, or when
 * one of its streams exceeds the cap, the whole group is killed. `onOutput` sees the standard output as it comes; with
 * `tally` its lines are counted instead of kept.
 */
export function runCommand(
  argv: readonly string[],
  bounds: Bounds,
  processes: Processes,
  { onOutput, tally }: { readonly onOutput?: (text: string) => void; readonly tally?: string | undefined } = {},
): Promise<Evidence> {
  const startedMs = now();
  const [command = '', ...args] = argv;
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, LC_ALL: 'C' },
    });
    const pid = child.pid;
    if (pid !== undefined) processes.add(pid);
    const out = tally === undefined ? createCapped(bounds.maxBytes) : createTally(tally);
    const err = createCapped(bounds.maxBytes);
    let timedOut = false;
    let spawnError: NodeJS.ErrnoException | null = null;
    const timer = setTimeout(() => {
      timedOut = true;
      if (pid !== undefined) killGroup(pid);
    }, bounds.deadlineMs);

    child.stdout.on('data', (chunk: Buffer) => {
      onOutput?.(chunk.toString('utf8'));
      if (!out.push(chunk) && pid !== undefined) killGroup(pid);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (!err.push(chunk) && pid !== undefined) killGroup(pid);
    });
    child.on('error', (error) => {
      spawnError = error;
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      if (pid !== undefined) processes.remove(pid);
      const truncated = out.full() || err.full();
      resolve({
        argv: [...argv],
        exitCode: spawnError === null && !timedOut && !truncated ? code : null,
        stdout: out.text(),
        stderr: spawnError === null ? err.text() : spawnError.message,
        truncated,
        ...faultOf(spawnError, timedOut, truncated, code),
        startedMs,
        durationMs: now() - startedMs,
      });
    });
  });
}

function faultOf(
  spawnError: NodeJS.ErrnoException | null,
  timedOut: boolean,
  truncated: boolean,
  code: number | null,
): Pick<Evidence, 'fault'> {
  if (spawnError?.code === 'ENOENT') return { fault: 'not-found' };
  if (spawnError?.code === 'EACCES' || spawnError?.code === 'EPERM') return { fault: 'denied' };
  if (spawnError !== null) return { fault: 'failed' };
  if (timedOut) return { fault: 'timeout' };
  return code === null && !truncated ? { fault: 'killed' } : {};
}

/** What becomes of the bytes of a stream: `push` returns false when it takes no more, `text` is what is left of them. */
export type Collector = {
  readonly push: (chunk: Buffer) => boolean;
  readonly full: () => boolean;
  readonly text: () => string;
};

/** Collects bytes up to a cap, then drops the rest. `push` returns false from the first byte too many. */
function createCapped(maxBytes: number): Collector {
  const chunks: Buffer[] = [];
  let size = 0;
  let full = false;
  return {
    push(chunk) {
      const room = maxBytes - size;
      chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk);
      size += Math.min(chunk.length, room);
      full ||= chunk.length > room;
      return !full;
    },
    full: () => full,
    // Lossy on purpose: what is not UTF-8 becomes U+FFFD.
    text: () => Buffer.concat(chunks).toString('utf8'),
  };
}
