import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Evidence } from '../model/evidence.ts';
import type { FromAgent, Operation, Task, ToAgent } from '../model/wire/agent.ts';
import { AGENT_PROTOCOL, createFrameReader, encodeFrame, MAX_FRAME_BYTES, SILENCE_MS } from '../model/wire/frames.ts';
import { createProcesses, killGroup, now } from './command.ts';
import { carryOut, failure, type Templates, type Workplace } from './operations.ts';
import { findPodProcess } from './pod-entry.ts';

export type AgentOptions = {
  readonly version: string;
  readonly templates: Templates;
  readonly input: Readable;
  readonly output: Writable;
  /** The root file system that files are read from. */
  readonly root: string;
  /** The command that starts this program again inside a pod's network namespace. */
  readonly self: readonly string[];
  /** Called once, when everything that the agent started is gone. */
  readonly onEnd: (exitCode: number) => void;
};

/** An agent inside the probe pod's network namespace, driven over its standard input and output. */
type Inner = { readonly send: (message: ToAgent) => void; readonly end: () => void };

/**
 * Serves one conversation with a worker (see model/wire/agent.ts). Ends when the worker says so, closes its side, breaks
 * the protocol or is silent for three seconds; then everything that was started is killed.
 */
export function serve({ version, templates, input, output, root, self, onEnd }: AgentOptions): void {
  const workplace: Workplace = { templates, root, processes: createProcesses(), listener: null };
  const frames = createFrameReader(MAX_FRAME_BYTES);
  let inner: Inner | null = null;
  /** Tasks of the inner agent that have no result yet. */
  const waiting = new Map<string, { readonly task: Task; readonly settle: (evidence: Evidence) => void }>();
  let silence: NodeJS.Timeout = setTimeout(finish, SILENCE_MS, 1);
  let ended = false;

  function say(message: FromAgent): void {
    if (!ended) output.write(encodeFrame(message));
  }

  function finish(exitCode: number): void {
    if (ended) return;
    ended = true;
    clearTimeout(silence);
    inner?.end();
    workplace.listener?.close();
    workplace.processes.killAll();
    onEnd(exitCode);
  }

  function report(key: string, evidence: Evidence): void {
    say({ type: 'result', key, evidence });
  }

  /** Starts the agent of the pod's namespace; the task is done when that one is ready. */
  function enter(operation: Extract<Operation, { op: 'enter' }>, key: string): Promise<void> {
    const startedMs = now();
    const argv = ['enter', operation.uid];
    const pid = findPodProcess(operation.uid);
    if (pid === null) {
      report(key, failure(operation, `no process of pod ${operation.uid} on this node`, startedMs, 'failed'));
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const child = spawn('nsenter', [`--net=/proc/${pid}/ns/net`, '--', ...self, `/proc/${pid}/root`], {
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
      });
      inner = speakWith(child, () => {
        report(key, {
          argv,
          exitCode: 0,
          stdout: String(pid),
          stderr: '',
          truncated: false,
          startedMs,
          durationMs: now() - startedMs,
        });
        resolve();
      });
      let stderr = '';
      child.stderr.on('data', (chunk: Buffer) => {
        stderr = (stderr + chunk.toString('utf8')).slice(-1024);
      });
      child.on('error', (error) => {
        stderr = error.message;
      });
      child.on('close', () => {
        inner = null;
        if (!ended) {
          report(key, failure(operation, stderr.trim() || 'the agent inside the pod ended', startedMs, 'failed'));
          for (const [, { task, settle }] of waiting)
            settle(failure(task.operation, 'the agent inside the pod ended', startedMs, 'failed'));
        }
        resolve();
      });
    });
  }

  function speakWith(child: ChildProcessByStdio<Writable, Readable, Readable>, onReady: () => void): Inner {
    const pid = child.pid;
    if (pid !== undefined) workplace.processes.add(pid);
    const reader = createFrameReader(MAX_FRAME_BYTES);
    child.stdin.on('error', () => child.stdin.destroy());
    child.stdout.on('data', (chunk: Buffer) => {
      const messages = reader.push(chunk);
      if ('kind' in messages) {
        if (pid !== undefined) killGroup(pid);
        return;
      }
      for (const message of messages as readonly FromAgent[]) {
        if (message.type === 'ready') onReady();
        if (message.type === 'result') {
          const entry = waiting.get(message.key);
          if (entry === undefined) report(message.key, message.evidence);
          else entry.settle(message.evidence);
        }
      }
    });
    return {
      send: (message) => void child.stdin.write(encodeFrame(message)),
      end: () => void child.stdin.end(),
    };
  }

  function perform(task: Task): Promise<void> {
    if (task.operation.op === 'enter') return enter(task.operation, task.key);
    if (task.operation.in === 'node') return carryOut(task, workplace, report);
    if (inner === null) {
      report(task.key, failure(task.operation, 'there is no way into the probe pod', now(), 'failed'));
      return Promise.resolve();
    }
    // Inside, the pod's namespace is the agent's own: `node` there.
    const operation: Operation = { ...task.operation, in: 'node' };
    return new Promise((resolve) => {
      waiting.set(task.key, {
        task,
        settle(evidence) {
          waiting.delete(task.key);
          report(task.key, evidence);
          resolve();
        },
      });
      inner?.send({ type: 'do', round: 0, tasks: [{ ...task, operation }] });
    });
  }

  async function performAll(round: number, tasks: readonly Task[]): Promise<void> {
    // The way into the pod comes first: other tasks of the round may need it.
    const entering = tasks.filter((task) => task.operation.op === 'enter');
    const inNode = tasks.filter((task) => task.operation.op !== 'enter' && task.operation.in === 'node');
    const inPod = tasks.filter((task) => task.operation.op !== 'enter' && task.operation.in === 'pod');
    const node = Promise.all(inNode.map(perform));
    await Promise.all(entering.map(perform));
    await Promise.all(inPod.map(perform));
    await node;
    say({ type: 'done', round });
  }

  function hear(message: ToAgent): void {
    switch (message.type) {
      case 'do':
        void performAll(message.round, message.tasks);
        break;
      case 'beat':
        inner?.send(message);
        break;
      case 'end':
        finish(0);
        break;
    }
  }

  output.on('error', () => finish(1));
  input.on('data', (chunk: Buffer) => {
    clearTimeout(silence);
    silence = setTimeout(finish, SILENCE_MS, 1);
    const messages = frames.push(chunk);
    if ('kind' in messages) {
      process.stderr.write(`netcheck-agent: ${messages.message}\n`);
      finish(2);
      return;
    }
    for (const message of messages) hear(message as ToAgent);
  });
  input.on('end', () => finish(1));
  say({ type: 'ready', protocol: AGENT_PROTOCOL, version });
}
