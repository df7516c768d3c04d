import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { endProcess } from './end-process.ts';

const started: ChildProcess[] = [];

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

/** A shell that says when it is ready, with its number and the time that it was started at. */
async function shell(script: string): Promise<{ readonly child: ChildProcess; readonly pid: string; readonly start: string }> {
  const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'ignore'] });
  started.push(child);
  await once(child.stdout, 'data');
  const pid = String(child.pid);
  const start = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19] ?? '';
  return { child, pid, start };
}

test('a process that listens to reason is told to end', async () => {
  const { child, pid, start } = await shell('echo; read -r _');
  const ended = once(child, 'exit');
  await endProcess('/', pid, start);
  expect(await ended).toEqual([null, 'SIGTERM']);
});

test('one that does not is killed', async () => {
  const { child, pid, start } = await shell("trap '' TERM; echo; read -r _");
  const ended = once(child, 'exit');
  await endProcess('/', pid, start, 300);
  expect(await ended).toEqual([null, 'SIGKILL']);
});

test('another process that has the number is sent nothing', async () => {
  const { child, pid, start } = await shell('echo; read -r _; exit 7');
  await expect(endProcess('/', pid, String(Number(start) - 1))).rejects.toThrow(`there is no process ${pid} that was started`);
  child.stdin?.end('\n');
  expect(await once(child, 'exit')).toEqual([7, null]);
});

test('one that is gone is an error', async () => {
  const { child, pid, start } = await shell('echo');
  if (child.exitCode === null) await once(child, 'exit');
  await expect(endProcess('/', pid, start)).rejects.toThrow(`there is no process ${pid}`);
});

test.each(['-1', '0', '', '1/../2', 'self'])('%j is the number of no process', async (pid) => {
  await expect(endProcess('/', pid, '1')).rejects.toThrow(`${pid} is not the number of a process`);
});
