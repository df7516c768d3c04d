import type { Bundle } from '../../model/bundle.ts';
import type { AgentFault, NodeEvidence } from '../../model/evidence.ts';
import type { AgentConnection, Cluster } from '../port.ts';
import { type Memory, serveRecorded } from './agent.ts';

export type ReplayClusterOptions = {
  /** The bundle that is played; asked for again with every inventory and agent, so that it may change between them. */
  readonly current: () => Bundle;
  /** How long what the agents do takes: 1 for as long as when it was recorded, 0 for no time. They are open at once. */
  readonly pace?: number;
};

/** Of so many runs at once the numbering of datagrams is kept apart. */
const RUNS_AT_ONCE = 16;

/**
 * A cluster out of an evidence bundle: the inventory is the recorded one, and every node's agent answers with what was
 * recorded of it. What nobody recorded is answered as failed, a node that failed then fails again, in the same way.
 */
export function createReplayCluster({ current, pace = 0 }: ReplayClusterOptions): Cluster {
  const open = new Set<AgentConnection>();
  const runs = new Map<string, Memory>();

  function memoryOf(token: string): Memory {
    const memory: Memory = runs.get(token) ?? new Map();
    runs.set(token, memory);
    const [oldest] = runs.keys();
    if (runs.size > RUNS_AT_ONCE && oldest !== undefined) runs.delete(oldest);
    return memory;
  }

  return {
    name: current().run.cluster,
    async inventory(signal) {
      if (signal.aborted) return { ok: false, fault: { kind: 'timeout', message: 'nobody waits for the inventory any more' } };
      return { ok: true, value: current().inventory };
    },
    async openAgent(node, signal) {
      const bundle = current();
      const recorded = bundle.evidence.find((evidence) => evidence.node === node);
      if (recorded?.readyMs === undefined) return { ok: false, fault: openingFault(node, recorded) };
      if (signal.aborted)
        return { ok: false, fault: { kind: 'cancelled', message: `opening the agent on ${node} was cancelled` } };
      const connection = serveRecorded(recorded, { probes: bundle.plan.probes, pace, memoryOf });
      open.add(connection);
      void connection.ended.then(() => open.delete(connection));
      return { ok: true, value: connection };
    },
    async close() {
      for (const connection of open) connection.close();
    },
  };
}

/** Why the agent of a node cannot be opened. */
function openingFault(node: string, recorded: NodeEvidence | undefined): AgentFault {
  if (recorded === undefined) return { kind: 'no-agent', message: `nothing was recorded of ${node}` };
  return recorded.fault ?? { kind: 'no-agent', message: `the agent on ${node} was not ready when this was recorded` };
}
