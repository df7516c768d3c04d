import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** How a command ended. `exitCode` is 128 + the signal's number for one that a signal ended, as a shell says it. */
export type RunResult = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

export type RunOptions = {
  /** What the command reads from standard input; nothing without it. */
  readonly stdin?: string;
  /** After so many milliseconds the command and what it started in its process group are killed: exit code 137. */
  readonly timeoutMs?: number;
};

/** The environment of everything that runs in a lab: the programs under their cluster names come first. */
export function labEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `/run/lab/bin:${process.env['PATH']}`, HOME: '/root' };
}

/** Runs a command to its end and collects its output. Rejects only when it cannot be started. */
export function run(argv: readonly string[], { stdin, timeoutMs }: RunOptions = {}): Promise<RunResult> {
  const [command = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    // A process group of its own: nsenter forks, and killing nsenter alone would leave its child.
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true, env: labEnvironment() });
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => killGroup(child), timeoutMs);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ exitCode: exitStatus(code, signal), stdout, stderr });
    });
    // A command that ends without reading its input is none of our errors.
    child.stdin.on('error', () => {});
    child.stdin.end(stdin ?? '');
  });
}

/** The exit status of a child as a shell would give it. */
export function exitStatus(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : (SIGNALS[signal] ?? 0));
}

/** Kills a child that was started `detached`, and all in its process group. */
export function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

/** The full path of a program on PATH. Throws when there is none. */
export function programPath(name: string): string {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory.
    }
  }
  throw new Error(`${name} is not on PATH: start the command through an npm script, or with scripts/setup`);
}

const SIGNALS: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGPIPE: 13,
  SIGTERM: 15,
};
