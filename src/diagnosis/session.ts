import { type AgentConnection, type Cluster } from '../cluster/port.ts';
import type { AgentFault, Evidence, NodeEvidence } from '../model/evidence.ts';
import { messageOf } from '../model/text.ts';
import { FromAgent, type Task, type ToAgent } from '../model/wire/agent.ts';
import { AGENT_PROTOCOL, createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';

/**
 * The conversation with the agent of one node. `perform` resolves when every task of the round has its result or when the
 * session fails, which it does when the agent delivers nothing for `quietMs` or is not through after LONGEST times that:
 * a starved node gets its time, one that hangs does not. It never rejects, what is missing is missing in the evidence.
 * `ready` resolves when the first tasks are through, with whether they are.
 */
export type Session = {
  readonly node: string;
  readonly ready: Promise<boolean>;
  readonly perform: (tasks: readonly Task[], quietMs: number) => Promise<void>;
  readonly isUsable: () => boolean;
  readonly evidence: () => NodeEvidence;
  readonly beat: () => void;
  /** Ends the session. With a fault, what the agent did not deliver is told with that reason. */
  readonly end: (fault?: AgentFault) => void;
};

/** Opens the session of a node and sends its first tasks at once, without waiting for the agent to be ready. */
export function openSession(
  cluster: Cluster,
  node: string,
  first: readonly Task[],
  signal: AbortSignal,
  now: () => number,
): Session {
  const startedAt = now();
  const items: Record<string, Evidence> = {};
  const rounds = new Map<number, { readonly done: () => void; readonly progress: () => void }>();
  let round = 0;
  let connection: AgentConnection | null = null;
  let fault: AgentFault | undefined;
  let ended = false;
  let readyMs: number | undefined;
  let agentVersion: string | undefined;
  const ready = Promise.withResolvers<boolean>();
  const opening = new AbortController();

  function fail(reason: AgentFault): void {
    if (ended) return;
    fault ??= reason;
    finish();
  }

  function finish(): void {
    ended = true;
    opening.abort();
    connection?.close();
    ready.resolve(false);
    for (const { done } of rounds.values()) done();
    rounds.clear();
  }

  function say(message: ToAgent): void {
    connection?.write(encodeFrame(message));
  }

  function perform(tasks: readonly Task[], quietMs: number): Promise<void> {
    if (ended || tasks.length === 0) return Promise.resolve();
    const id = round;
    round += 1;
    return new Promise((resolve) => {
      const stop = (message: string): void => fail({ kind: 'timeout', message });
      const quiet = setTimeout(() => stop(`the agent delivered nothing for ${(quietMs / 1000).toFixed(1)} s`), quietMs);
      const most = quietMs * LONGEST;
      const longest = setTimeout(() => stop(`the agent did not finish within ${(most / 1000).toFixed(1)} s`), most);
      rounds.set(id, {
        progress: () => void quiet.refresh(),
        done() {
          clearTimeout(quiet);
          clearTimeout(longest);
          rounds.delete(id);
          resolve();
        },
      });
      say({ type: 'do', round: id, tasks });
    });
  }

  function hear(message: FromAgent): void {
    switch (message.type) {
      case 'ready':
        if (message.protocol !== AGENT_PROTOCOL) {
          return fail({
            kind: 'protocol',
            message: `the agent ${message.version} speaks protocol ${message.protocol}, this is ${AGENT_PROTOCOL}: update its image`,
          });
        }
        readyMs = now() - startedAt;
        agentVersion = message.version;
        break;
      case 'result':
        items[message.key] = message.evidence;
        for (const { progress } of rounds.values()) progress();
        break;
      case 'done':
        rounds.get(message.round)?.done();
        break;
    }
  }

  async function converse(): Promise<void> {
    const opened = await cluster.openAgent(node, AbortSignal.any([signal, opening.signal]));
    if (!opened.ok) return fail(opened.fault);
    connection = opened.value;
    if (ended) return connection.close();
    void perform(first, FIRST_ROUND_MS).then(() => ready.resolve(!ended && readyMs !== undefined));
    const frames = createFrameReader(MAX_FRAME_BYTES);
    for await (const chunk of opened.value.output) {
      const messages = frames.push(chunk);
      if ('kind' in messages) return fail({ kind: 'protocol', message: `the agent sent ${messages.message}` });
      for (const raw of messages) {
        const message = FromAgent.safeParse(raw);
        if (!message.success)
          return fail({ kind: 'protocol', message: 'the agent sent a message that this version does not know' });
        hear(message.data);
      }
    }
    fail((await opened.value.ended) ?? { kind: 'dropped', message: 'the agent ended before it was told to' });
  }

  converse().catch((error: unknown) => fail({ kind: 'protocol', message: messageOf(error) }));
  return {
    node,
    ready: ready.promise,
    perform,
    isUsable: () => !ended && readyMs !== undefined,
    evidence: () => ({
      node,
      ...(agentVersion === undefined ? {} : { agentVersion }),
      ...(readyMs === undefined ? {} : { readyMs: Math.round(readyMs) }),
      items,
      ...(fault === undefined ? {} : { fault }),
    }),
    beat: () => say({ type: 'beat' }),
    end(reason) {
      if (ended) return;
      fault ??= reason;
      say({ type: 'end' });
      finish();
    },
  };
}

/** The first round only reads; an agent from which nothing has come by then hangs. */
const FIRST_ROUND_MS = 8000;

/** How many times the quiet time a round may take in all. */
const LONGEST = 4;
