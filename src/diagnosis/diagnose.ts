import { randomUUID } from 'node:crypto';
import type { Cluster, ClusterFault } from '../cluster/port.ts';
import type { Bundle } from '../model/bundle.ts';
import { Inventory } from '../model/inventory.ts';
import { nearNames } from '../model/near-names.ts';
import type { Progress } from '../model/progress.ts';
import type { RunRequest, Verdict } from '../model/verdict.ts';
import { collect, type Limits } from './collect.ts';
import { judge } from './judge.ts';
import { namedPod } from './plan.ts';

export type DiagnoseOptions = {
  readonly cluster: Cluster;
  readonly version: string;
  /** Wall-clock time in milliseconds, for `startedAt`. */
  readonly clock: () => number;
  readonly limits?: Limits;
};

export type Diagnosed = { readonly verdict: Verdict; readonly bundle: Bundle };

/** Why there is no verdict: the request names what does not exist. `near` are names that were perhaps meant. */
export type RequestError = {
  readonly kind: 'unknown-node' | 'unknown-pod';
  readonly message: string;
  readonly near: readonly string[];
};

export type DiagnoseResult =
  | { readonly ok: true; readonly value: Diagnosed }
  | { readonly ok: false; readonly error: RequestError };

/** Until the inventory has to be there, in milliseconds. */
const INVENTORY_MS = 5000;

/**
 * One run, from the request to the verdict. A cluster that cannot be read gives an inconclusive verdict that says why;
 * only a request that makes no sense gives none.
 */
export function createDiagnose({ cluster, version, clock, limits }: DiagnoseOptions) {
  return async function diagnose(
    request: RunRequest,
    {
      runId,
      signal,
      onProgress,
    }: { readonly runId: string; readonly signal: AbortSignal; readonly onProgress: (progress: Progress) => void },
  ): Promise<DiagnoseResult> {
    const startedAt = clock();
    const start = performance.now();
    onProgress({ phase: 'inventory', nodesReady: 0, nodesTotal: 0, layers: {} });
    const read = await cluster.inventory(AbortSignal.any([signal, AbortSignal.timeout(INVENTORY_MS)]));
    const inventory = read.ok ? read.value : emptyInventory(cluster.name, read.fault);
    if (request.kind === 'node' && read.ok && !inventory.nodes.some(({ name }) => name === request.node)) {
      return { ok: false, error: unknownNode(request.node, inventory) };
    }
    const hasPods = read.ok && !inventory.gaps.some(({ what }) => what === 'pods');
    if (request.kind === 'pod' && hasPods && namedPod(inventory, request) === null) {
      return { ok: false, error: unknownPod(request, inventory) };
    }
    const layers = { L2: 'checking', L3: 'checking', L4: 'checking', DNS: 'checking', L7: 'checking' } as const;
    const { plan, evidence } = await collect({
      cluster,
      inventory,
      request,
      token: randomUUID().slice(0, 8),
      signal,
      now: () => performance.now() - start,
      onPhase: (phase, nodesReady, nodesTotal) => onProgress({ phase, nodesReady, nodesTotal, layers }),
      ...(limits === undefined ? {} : { limits }),
    });
    onProgress({ phase: 'judging', nodesReady: evidence.length, nodesTotal: evidence.length, layers });
    const bundle: Bundle = {
      schema: 'netcheck.bundle/v1',
      version,
      run: {
        id: runId,
        request,
        cluster: cluster.name,
        startedAt: new Date(startedAt).toISOString(),
        durationMs: Math.round(performance.now() - start),
      },
      inventory,
      plan,
      evidence: [...evidence],
    };
    return { ok: true, value: { verdict: judge(bundle), bundle } };
  };
}

function unknownNode(name: string, inventory: Inventory): RequestError {
  const names = inventory.nodes.map((node) => node.name);
  const near = nearNames(name, names);
  const hint =
    near.length > 0
      ? ` Did you mean ${near.join(' or ')}?`
      : ` Its nodes are ${names.slice(0, 10).join(', ')}${names.length > 10 ? ', …' : ''}.`;
  return { kind: 'unknown-node', message: `The cluster ${inventory.cluster} has no node "${name}".${hint}`, near };
}

function unknownPod({ namespace, pod }: Extract<RunRequest, { kind: 'pod' }>, inventory: Inventory): RequestError {
  const own = inventory.pods.filter((candidate) => candidate.namespace === namespace).map(({ name }) => name);
  const elsewhere = inventory.pods
    .filter(({ name }) => name === pod)
    .map((candidate) => `${candidate.namespace}/${candidate.name}`);
  const near = elsewhere.length > 0 ? elsewhere.slice(0, 3) : nearNames(pod, own).map((name) => `${namespace}/${name}`);
  const hint =
    near.length > 0
      ? ` Did you mean ${near.join(' or ')}?`
      : own.length === 0
        ? ' There is no pod in that namespace.'
        : ` Its pods are ${own.slice(0, 10).join(', ')}${own.length > 10 ? ', …' : ''}.`;
  return { kind: 'unknown-pod', message: `The cluster ${inventory.cluster} has no pod "${namespace}/${pod}".${hint}`, near };
}

/** What is known of a cluster that could not be read: nothing but the reason. */
function emptyInventory(cluster: string, fault: ClusterFault): Inventory {
  return Inventory.parse({
    cluster,
    apiServer: '',
    version: '',
    agentNamespace: '',
    nodes: [],
    pods: [],
    services: [],
    endpoints: [],
    policies: [],
    namespaces: [],
    configs: {},
    gaps: [{ what: 'the cluster', reason: fault.message }],
  });
}
