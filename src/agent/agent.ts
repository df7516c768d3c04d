import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Evidence } from '../model/evidence.ts';
import type { FromAgent, Operation, Task, ToAgent } from '../model/wire/agent.ts';
import { AGENT_PROTOCOL, createFrameReader, encodeFrame, MAX_FRAME_BYTES, SILENCE_MS } from '../model/wire/frames.ts';
import { createProcesses, killGroup, now } from './command.ts';
import { carryOut, failure, type Templates, type Workplace } from './operations.ts';
import { createPings } from './ping.ts';

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

/**
 * An agent inside the probe pod's network namespace, driven over its standard input and output: whatever is sent from
 * there is sent by it. Starting it once costs as much as entering the namespace for ten exchanges.
 */
type Inner = { readonly send: (message: ToAgent) => void; readonly end: () => void };

/**
 * Serves one conversation with a worker (see model/wire/agent.ts). Ends when the worker says so, closes its side, breaks
 * the protocol or is silent for three seconds; then everything that was started is killed.
 */
export function serve({ version, templates, input, output, root, self, onEnd }: AgentOptions): void {
  const workplace: Workplace = {
    templates,
    root,
    processes: createProcesses(),
    pod: null,
    pings: createPings(),
    listener: null,
  };
  const frames = createFrameReader(MAX_FRAME_BYTES);
  let inner: Inner | null = null;
  let notInside = 'there is no agent inside the probe pod';
  /** Tasks of the inner agent that have no result yet. */
  const waiting = new Map<string, { readonly task: Task; readonly settle: (evidence: Evidence) => void }>();
  let heardAt = now();
  const silence = setInterval(endIfSilent, SILENCE_MS / 6);
  let ended = false;

  function say(message: FromAgent): void {
    if (!ended) output.write(encodeFrame(message));
  }

  function finish(exitCode: number): void {
    if (ended) return;
    ended = true;
    clearInterval(silence);
    inner?.end();
    workplace.listener?.close();
    workplace.processes.killAll();
    onEnd(exitCode);
  }

  function endIfSilent(): void {
    if (now() - heardAt < SILENCE_MS) return;
    // On a node that is starved the timer comes late as well: what has been said in the meantime is read first.
    setImmediate(() => {
      if (now() - heardAt >= SILENCE_MS) finish(1);
    });
  }

  function report(key: string, evidence: Evidence): void {
    say({ type: 'result', key, evidence });
  }

  /** Starts the agent of the pod's namespace; the task is done when that one is ready. */
  function enter(operation: Extract<Operation, { op: 'enter' }>, key: string): Promise<void> {
    const startedMs = now();
    const { pod } = workplace;
    if (pod === null) {
      notInside = 'the probe pod of this node has not been found';
      report(key, failure(operation, notInside, startedMs, 'failed'));
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const child = spawn('nsenter', [`--net=/proc/${pod}/ns/net`, '--', ...self], {
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
      });
      inner = speakWith(child, () => {
        const evidence = { argv: ['enter'], exitCode: 0, stdout: String(pod), stderr: '', truncated: false };
        report(key, { ...evidence, startedMs, durationMs: now() - startedMs });
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
          notInside = `the agent inside the probe pod ended${stderr === '' ? '' : `: ${stderr.trim()}`}`;
          report(key, failure(operation, notInside, startedMs, 'failed'));
          for (const [, { task, settle }] of waiting) settle(failure(task.operation, notInside, startedMs, 'failed'));
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
    const { operation } = task;
    if (operation.op === 'enter') return enter(operation, task.key);
    if (operation.in === 'node') return carryOut(task, workplace, report);
    if (inner === null) {
      report(task.key, failure(operation, notInside, now(), 'failed'));
      return Promise.resolve();
    }
    // Inside, the pod's namespace is the agent's own: `node` there.
    const inside = { ...task, operation: { ...operation, in: 'node' } };
    return new Promise((resolve) => {
      waiting.set(task.key, {
        task,
        settle(evidence) {
          waiting.delete(task.key);
          report(task.key, evidence);
          resolve();
        },
      });
      inner?.send({ type: 'do', round: 0, tasks: [inside as Task] });
    });
  }

  /** All side by side; between the beginnings, each of which takes its time, what has come in is heard. */
  async function inTurn(tasks: readonly Task[]): Promise<void> {
    const running: Promise<void>[] = [];
    for (const task of tasks) {
      running.push(perform(task));
      await nextTurn();
    }
    await Promise.all(running);
  }

  async function performAll(round: number, tasks: readonly Task[]): Promise<void> {
    // The way into the pod comes first: other tasks of the round may need it.
    const isWay = ({ operation }: Task): boolean => operation.op === 'find' || operation.op === 'enter';
    const isInside = ({ operation }: Task): boolean => operation.in === 'pod';
    // What waits for silence has to find the pings underway.
    const isPing = ({ operation }: Task): boolean => operation.op === 'ping';
    const ordered = [...tasks.filter(isPing), ...tasks.filter((task) => !isPing(task))];
    const way = inTurn(ordered.filter(isWay));
    const onNode = inTurn(ordered.filter((task) => !isWay(task) && !isInside(task)));
    await way;
    await inTurn(ordered.filter(isInside));
    await onNode;
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
    heardAt = now();
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
