import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exitStatus } from './lab/run.ts';

const MAIN = join(import.meta.dirname, '../src/cli/main.ts');

/** A command of netcheck's, running as a process of its own. */
export type NetcheckProcess = {
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Waits for output, on either stream, that matches; rejects with all there was when the process ends without. */
  readonly said: (pattern: RegExp) => Promise<RegExpExecArray>;
  /** Its exit status as a shell would give it, once it has ended and all its output has been read. */
  readonly exited: Promise<number>;
  /** Sends a signal; to the whole process group, as a terminal's Ctrl-C does, when that is asked for. */
  readonly kill: (signal: NodeJS.Signals, to?: 'process' | 'group') => void;
  /** Kills it with SIGKILL, if it still runs, and waits until it is gone. */
  readonly close: () => Promise<void>;
};

/** Starts `netcheck ARGV…`. `environment` comes on top of this process's own; undefined takes a variable away. */
export function startNetcheck(argv: readonly string[], environment: NodeJS.ProcessEnv = {}): NetcheckProcess {
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...environment },
  });
  const orphan = (): boolean => child.kill('SIGKILL');
  process.once('exit', orphan);
  const output = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
      for (const look of waiting) look();
    });
  }
  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      process.off('exit', orphan);
      resolve(exitStatus(code, signal));
    });
  });
  const kill = (signal: NodeJS.Signals, to: 'process' | 'group' = 'process'): void => {
    if (to === 'process' || child.pid === undefined) child.kill(signal);
    else process.kill(-child.pid, signal);
  };
  return {
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    said: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const match = pattern.exec(output.stdout) ?? pattern.exec(output.stderr);
          if (match === null) return;
          waiting.delete(look);
          resolve(match);
        };
        waiting.add(look);
        look();
        exited.then(
          (status) => reject(new Error(`ended with ${status} before it said ${pattern}:\n${output.stdout}${output.stderr}`)),
          reject,
        );
      }),
    exited,
    kill,
    close: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** What a command of netcheck's printed, and its exit status. */
export type NetcheckResult = { readonly status: number; readonly stdout: string; readonly stderr: string };

/** Runs `netcheck ARGV…` to its end. */
export async function runNetcheck(argv: readonly string[], environment?: NodeJS.ProcessEnv): Promise<NetcheckResult> {
  const child = startNetcheck(argv, environment);
  const status = await child.exited;
  return { status, stdout: child.stdout(), stderr: child.stderr() };
}

/** The processes, as `PID COMMAND`, whose environment contains a text. */
export function processesWith(text: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .flatMap((pid) => {
      try {
        const isOne = readFileSync(`/proc/${pid}/environ`, 'utf8').includes(text);
        return isOne ? [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`] : [];
      } catch {
        // It has ended meanwhile, or belongs to somebody else.
        return [];
      }
    });
}
