import { z } from 'zod';
import { wholeNumber } from '../kit/params.ts';
import { defineRemedy } from '../remedy.ts';

/** `start` is in clock ticks after boot: with it, a process is not taken for another one that got its number since. */
const Params = z.strictObject({
  pid: wholeNumber(2, 4_194_304),
  start: z.string().regex(/^\d{1,19}$/, 'not the time that a process was started'),
  comm: z.string().regex(/^[^\p{Cc}]{1,15}$/u, 'not the name of a process'),
});

/** P5: ends exactly one process, and no other that has its number by now. Source: proc_pid_stat(5). */
export const killProcess = defineRemedy({
  id: 'kill-process',
  place: 'node',
  title: 'End the process that was left behind',
  risk: 'The process is told to end (SIGTERM) and, unless it has after five seconds, is killed (SIGKILL): what it had not written is lost, its connections break.',
  riskClass: 'high',
  undo: null,
  irreversible: 'A process that has ended cannot be brought back; the runtime starts the container that belongs there.',
  params: Params,
  state: z.strictObject({ start: z.string(), comm: z.string() }).nullable(),
  // The agent looks at the start time before each signal.
  commands: ({ pid, start }) => [['end-process', pid, start]],
  async read({ pid }, host) {
    const text = await host.readText(`/proc/${pid}/stat`);
    // The name stands in parentheses and may hold some itself.
    const [, comm = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(text ?? '') ?? [];
    const [state = 'X', ...fields] = rest.trim() === '' ? [] : rest.trim().split(' ');
    return state === 'Z' || state === 'X' ? null : { start: fields[18] ?? '', comm };
  },
  obsolete({ pid, start, comm }, process) {
    if (process === null) return `there is no process ${pid} any more`;
    if (process.start !== start) return `the process ${pid} is another one by now: ${process.comm}`;
    return process.comm === comm ? null : `the process ${pid} runs ${process.comm} by now, not ${comm}`;
  },
  describe: ({ pid }, process) => [
    {
      source: `/proc/${pid}/stat`,
      text: process === null ? `no process ${pid}` : `${process.comm}, started ${process.start} ticks after boot`,
    },
  ],
  undoCommands: () => [],
});
