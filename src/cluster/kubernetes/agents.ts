import type { AgentFault } from '../../model/evidence.ts';
import type { Pod } from '../../model/inventory.ts';

export const AGENT_LABEL = { key: 'app.kubernetes.io/name', value: 'netcheck-agent' } as const;
const AGENT_DAEMON_SET = 'netcheck-agent';

type FoundAgent =
  | { readonly ok: true; readonly value: { readonly namespace: string; readonly name: string } }
  | { readonly ok: false; readonly fault: AgentFault };

/**
 * The pod of a node's agent among the given pods: labelled as one, made by netcheck's DaemonSet, running and not on its
 * way out. A fault says what there is instead.
 */
export function findAgent(pods: readonly Pod[], namespace: string, node: string): FoundAgent {
  const agents = pods.filter(
    (pod) =>
      pod.namespace === namespace &&
      pod.node === node &&
      pod.labels[AGENT_LABEL.key] === AGENT_LABEL.value &&
      pod.owner?.kind === 'DaemonSet' &&
      pod.owner.name === AGENT_DAEMON_SET,
  );
  const running = agents.filter(({ phase, terminating }) => phase === 'Running' && !terminating);
  const chosen = running.find(({ ready }) => ready) ?? running[0];
  if (chosen !== undefined) return { ok: true, value: { namespace, name: chosen.name } };
  const [other] = agents;
  const message =
    other === undefined
      ? `no pod of the DaemonSet ${namespace}/${AGENT_DAEMON_SET} on ${node}`
      : `the agent ${namespace}/${other.name} on ${node} is ${other.terminating ? 'being deleted' : other.phase}`;
  return { ok: false, fault: { kind: 'no-agent', message } };
}
