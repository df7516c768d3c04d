import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Config } from '../../src/config.ts';

/** A part of netcheck in a process of its own, that can be killed. */
export type Child = {
  /** What it said when it was ready: its port, for a bot. */
  readonly said: string;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly exited: Promise<void>;
  /** Kills it with SIGKILL and waits until it is gone. */
  readonly close: () => Promise<void>;
};

/** Starts `bot-process.ts` or `worker-process.ts`, and resolves when it is ready. `settings` is for that script. */
export async function startChild(script: 'bot' | 'worker', config: Config, settings: object): Promise<Child> {
  const process_: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, `${script}-process.ts`)], {
    env: { ...process.env, NETCHECK_TEST_CONFIG: JSON.stringify(config), NETCHECK_TEST_SETTINGS: JSON.stringify(settings) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const orphan = (): boolean => process_.kill('SIGKILL');
  process.once('exit', orphan);
  const exited = once(process_, 'exit').then(() => {
    process.off('exit', orphan);
  });
  if (process_.stdout === null) throw new Error('the child has no output');
  const ready = once(createInterface(process_.stdout), 'line').then(([line]) => String(line));
  const said = await Promise.race([
    ready,
    exited.then(() => {
      throw new Error(`${script}-process ended before it was ready`);
    }),
  ]);
  return {
    said,
    kill: (signal) => process_.kill(signal),
    exited,
    close: async () => {
      process_.kill('SIGKILL');
      await exited;
    },
  };
}

/** What the parent passed on, in the child. Both ends are ours: it is not validated again. */
export function inherited(name: 'NETCHECK_TEST_CONFIG' | 'NETCHECK_TEST_SETTINGS'): unknown {
  return JSON.parse(process.env[name] ?? '{}');
}
