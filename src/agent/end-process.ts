import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long a process may take after each of the two signals, and how often it is looked at, in milliseconds. */
const GRACE_MS = 5000;
const LOOK_MS = 50;

/**
 * Ends the process with this number that was started at this time, in clock ticks after boot: SIGTERM, and SIGKILL when it
 * is still there after `graceMs`. Returns when it is gone; throws when it was not there, or does not end. A process that
 * has the number but was started at another time is never sent anything.
 */
export async function endProcess(root: string, pid: string, start: string, graceMs = GRACE_MS): Promise<void> {
  if (!/^[1-9]\d{0,9}$/.test(pid)) throw new Error(`${pid} is not the number of a process`);
  const isThere = (): boolean => startOf(root, pid) === start;
  if (!isThere()) throw new Error(`there is no process ${pid} that was started ${start} ticks after boot`);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    send(Number(pid), signal);
    for (const until = performance.now() + graceMs; isThere() && performance.now() < until; ) await sleep(LOOK_MS);
    if (!isThere()) return;
  }
  throw new Error(`the process ${pid} is still there after SIGKILL`);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended in the meantime.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** When the process was started; null when there is none or it has ended. Source: proc_pid_stat(5). */
function startOf(root: string, pid: string): string | null {
  try {
    const [state = 'X', ...fields] =
      readFileSync(join(root, 'proc', pid, 'stat'), 'utf8')
        .split(') ')
        .at(-1)
        ?.split(' ') ?? [];
    return state === 'Z' || state === 'X' ? null : (fields[18] ?? null);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw error;
  }
}
