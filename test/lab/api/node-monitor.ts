import { Agent, get } from 'node:http';
import type { KubeletAddress } from './kubelets.ts';
import { type KubeObject, listAt, textAt } from './objects.ts';
import { typeNamed } from './resources.ts';
import { isFailure } from './status.ts';
import { type Store, timestamp } from './store.ts';

const PERIOD_MS = 1000;
const UNREACHABLE = 'node.kubernetes.io/unreachable';

type NodeMonitorOptions = {
  readonly store: Store;
  readonly kubelets: Readonly<Record<string, KubeletAddress>>;
  /** How long a kubelet may stay silent before its node is no longer Ready. */
  readonly graceSeconds: number;
  readonly now: () => Date;
};

/**
 * The node controller, turned round: where a real kubelet posts its node's status, this asks each kubelet for its health
 * every second, over the network. A node that was silent for the grace period becomes Ready Unknown, gets the taints of
 * an unreachable node and its pods become not ready; all of it is taken back when it answers again.
 */
export function startNodeMonitor({ store, kubelets, graceSeconds, now }: NodeMonitorOptions): { readonly stop: () => void } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const lastSeen = new Map(Object.keys(kubelets).map((node) => [node, now().getTime()]));

  function ask(node: string, { ip, port }: KubeletAddress): void {
    const request = get({ host: ip, port, path: '/healthz', agent, timeout: PERIOD_MS }, (response) => {
      response.resume();
      if (response.statusCode !== 200) return;
      lastSeen.set(node, now().getTime());
      setReachable(store, node, true, now());
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => {
      if (now().getTime() - (lastSeen.get(node) ?? 0) >= graceSeconds * 1000) setReachable(store, node, false, now());
    });
  }

  const timer = setInterval(() => {
    for (const [node, address] of Object.entries(kubelets)) ask(node, address);
  }, PERIOD_MS);
  return {
    stop() {
      clearInterval(timer);
      agent.destroy();
    },
  };
}

/** Writes what the node controller writes when a node goes silent or comes back. Does nothing when it is so already. */
function setReachable(store: Store, name: string, isReachable: boolean, at: Date): void {
  const nodes = typeNamed('nodes');
  const pods = typeNamed('pods');
  if (nodes === undefined || pods === undefined) return;
  const node = store.get(nodes, '', name);
  if (node === undefined) return;
  const wasLost = listAt(node, 'status', 'conditions').some((condition) => textAt(condition, 'reason') === 'NodeStatusUnknown');
  if (wasLost !== isReachable) return;

  const conditions = listAt(node, 'status', 'conditions').map((condition) => nodeCondition(condition, isReachable, at));
  const others = listAt(node, 'spec', 'taints').filter((taint) => textAt(taint, 'key') !== UNREACHABLE);
  const added = isReachable
    ? []
    : ['NoSchedule', 'NoExecute'].map((effect) => ({ key: UNREACHABLE, effect, timeAdded: timestamp(at) }));
  const taints = [...others, ...added];
  const spec = without(node['spec'], 'taints');
  store.update(nodes, {
    ...node,
    spec: taints.length === 0 ? spec : { ...spec, taints },
    status: { ...without(node['status'], 'conditions'), conditions },
  });
  for (const pod of store.list(pods, '')) {
    if (textAt(pod, 'spec', 'nodeName') === name) setPodReady(store, pod, isReachable, at);
  }
}

/** The conditions that a kubelet posts, with what it says when all is well. */
const POSTED: Readonly<Record<string, { readonly status: string; readonly reason: string; readonly message: string }>> = {
  Ready: { status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' },
  MemoryPressure: { status: 'False', reason: 'KubeletHasSufficientMemory', message: 'kubelet has sufficient memory available' },
  DiskPressure: { status: 'False', reason: 'KubeletHasNoDiskPressure', message: 'kubelet has no disk pressure' },
  PIDPressure: { status: 'False', reason: 'KubeletHasSufficientPID', message: 'kubelet has sufficient PID available' },
};
const LOST = { status: 'Unknown', reason: 'NodeStatusUnknown', message: 'Kubelet stopped posting node status.' };

function nodeCondition(condition: unknown, isReachable: boolean, at: Date): unknown {
  const posted = POSTED[textAt(condition, 'type')];
  if (posted === undefined) return condition;
  return { ...without(condition), ...(isReachable ? posted : LOST), lastTransitionTime: timestamp(at) };
}

function setPodReady(store: Store, pod: KubeObject, isReady: boolean, at: Date): void {
  const pods = typeNamed('pods');
  if (pods === undefined || textAt(pod, 'status', 'phase') !== 'Running') return;
  const from = isReady ? 'False' : 'True';
  const conditions = listAt(pod, 'status', 'conditions').map((condition) =>
    textAt(condition, 'type') === 'Ready' && textAt(condition, 'status') === from
      ? { ...without(condition), status: isReady ? 'True' : 'False', lastTransitionTime: timestamp(at) }
      : condition,
  );
  const written = store.update(pods, { ...pod, status: { ...without(pod['status'], 'conditions'), conditions } });
  if (isFailure(written)) throw new Error(written.message);
}

function without(value: unknown, ...names: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
}
