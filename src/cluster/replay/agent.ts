import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { AgentFault, Evidence, NodeEvidence } from '../../model/evidence.ts';
import type { Probe } from '../../model/probe.ts';
import { DatagramCounts, ExchangeOutcome, type FromAgent, SendOutcome, type Task, type ToAgent } from '../../model/wire/agent.ts';
import { AGENT_PROTOCOL, createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../../model/wire/frames.ts';
import type { AgentConnection } from '../port.ts';

/**
 * How the datagrams of a run are numbered, by how they were numbered when they were recorded. A run that sends only some
 * of the recorded probes numbers them anew.
 */
export type Memory = Map<string, string>;

type Recording = {
  /** The probes of the recorded plan: the place of one is its number in the recorded evidence. */
  readonly probes: readonly Probe[];
  readonly pace: number;
  readonly memoryOf: (token: string) => Memory;
};

/** An agent that answers with recorded evidence, by the keys of the tasks, until it is told to end. */
export function serveRecorded(recorded: NodeEvidence, { probes, pace, memoryOf }: Recording): AgentConnection {
  const output = new PassThrough();
  const ended = Promise.withResolvers<AgentFault | null>();
  const closing = new AbortController();
  const frames = createFrameReader(MAX_FRAME_BYTES);
  let memory: Memory = new Map();
  let fault: AgentFault | null = { kind: 'cancelled', message: `the connection to the agent on ${recorded.node} was closed` };

  function say(message: FromAgent): void {
    if (!closing.signal.aborted) output.write(encodeFrame(message));
  }

  /** Ends the output; whoever reads gets to its end first. */
  function end(reason: AgentFault | null): void {
    fault = reason;
    closing.abort();
    output.end();
  }

  async function after(ms: number, then: () => void): Promise<void> {
    await delay(ms * pace, undefined, { signal: closing.signal }).then(then, () => {});
  }

  async function answer(task: Task): Promise<void> {
    const { operation } = task;
    if (operation.op === 'listen' || operation.op === 'send') memory = memoryOf(operation.token);
    const keys = operation.op === 'arp' ? operation.targets.map((ip) => `arp ${ip}`) : [task.key];
    await Promise.all(
      keys.map(async (key) => {
        const evidence = recorded.items[key];
        // An agent that was lost then is lost at the same point again.
        if (evidence === undefined && recorded.fault !== undefined) return end(recorded.fault);
        const found = evidence === undefined ? missing(key) : renumbered(task, evidence, probes, memory);
        return after(found.durationMs, () => say({ type: 'result', key, evidence: found }));
      }),
    );
  }

  async function hear(message: ToAgent): Promise<void> {
    if (message.type === 'end') end(null);
    if (message.type !== 'do') return;
    await Promise.all(message.tasks.map(answer));
    say({ type: 'done', round: message.round });
  }

  output.once('end', () => ended.resolve(fault));
  output.once('close', () => ended.resolve(fault));
  say({ type: 'ready', protocol: AGENT_PROTOCOL, version: recorded.agentVersion ?? 'recorded' });
  return {
    output,
    ended: ended.promise,
    write(chunk) {
      if (closing.signal.aborted) return;
      const messages = frames.push(chunk);
      if ('kind' in messages) return end({ kind: 'protocol', message: messages.message });
      // Both ends of this conversation are in this process: what comes in is what the worker wrote.
      for (const message of messages) void hear(message as ToAgent);
    },
    close() {
      if (closing.signal.aborted) return;
      closing.abort();
      output.end();
      ended.resolve(fault);
    },
  };
}

function missing(key: string): Evidence {
  return {
    argv: [],
    exitCode: null,
    stdout: '',
    stderr: `the recording has no ${key}`,
    truncated: false,
    fault: 'failed',
    startedMs: 0,
    durationMs: 0,
  };
}

/** The evidence with its probes numbered as the task numbers them, and without those that it does not ask for. */
function renumbered(task: Task, evidence: Evidence, probes: readonly Probe[], memory: Memory): Evidence {
  const { operation } = task;
  if (evidence.exitCode !== 0) return evidence;
  const probeOf = (number: string): Probe | undefined => probes[Number(number)];
  switch (operation.op) {
    case 'exchange': {
      const outcomes = new Map(
        z
          .array(ExchangeOutcome)
          .parse(JSON.parse(evidence.stdout))
          .map((outcome) => [exchangeKey(probeOf(outcome.id)), outcome]),
      );
      const asked = operation.exchanges.flatMap(({ id, method, ip, port, name }) => {
        const outcome = outcomes.get(JSON.stringify([method, ip, port, name]));
        return outcome === undefined ? [] : [{ ...outcome, id }];
      });
      return { ...evidence, stdout: JSON.stringify(asked) };
    }
    case 'send': {
      const outcome = SendOutcome.parse(JSON.parse(evidence.stdout));
      const numbers = Object.keys({ ...outcome.sent, ...outcome.errors });
      for (const { id, ip, port } of operation.targets) {
        const number = numbers.find((candidate) => probeOf(candidate)?.to.ip === ip && probeOf(candidate)?.to.port === port);
        if (number !== undefined) memory.set(number, id);
      }
      const sent = rename(outcome.sent, memory);
      return { ...evidence, stdout: JSON.stringify({ sent, errors: rename(outcome.errors, memory) }) };
    }
    case 'heard':
      return { ...evidence, stdout: JSON.stringify(rename(DatagramCounts.parse(JSON.parse(evidence.stdout)), memory)) };
    default:
      return evidence;
  }
}

function exchangeKey(probe: Probe | undefined): string {
  return JSON.stringify([probe?.method, probe?.to.ip, probe?.to.port ?? 0, probe?.name ?? '']);
}

function rename<T>(values: Readonly<Record<string, T>>, numbers: Memory): Record<string, T> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([number, value]) => {
      const name = numbers.get(number);
      return name === undefined ? [] : [[name, value]];
    }),
  );
}
