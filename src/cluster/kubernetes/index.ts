import { z } from 'zod';
import type { Pod } from '../../model/inventory.ts';
import type { AgentConnection, Cluster, ClusterResult, ClusterWriter, ObjectRef, StoredObject } from '../port.ts';
import { AGENT_LABEL, findAgent } from './agents.ts';
import { createApi } from './api.ts';
import { openExec } from './exec.ts';
import { readInventory } from './inventory.ts';
import { loadLogin } from './kubeconfig.ts';
import { PodObject } from './objects.ts';
import type { GetPath } from './rights.ts';

/** A Kubernetes cluster: what a diagnosis reads, and what remedies write. */
export type KubernetesCluster = Cluster & ClusterWriter;

/** Where what happens is logged; pino fits. */
type ClusterLog = { readonly debug: (fields: object, message: string) => void };

export type KubernetesClusterOptions = {
  /** The kubeconfig file; undefined for $KUBECONFIG, ~/.kube/config or the pod's service account, as kubectl has it. */
  readonly kubeconfig: string | undefined;
  /** The context; the current one when absent. */
  readonly context?: string | undefined;
  /** The name in verdicts and queue names; the kubeconfig's name of the cluster when absent. */
  readonly name?: string | undefined;
  /** Where the agents and netcheck's probe pods live. */
  readonly agentNamespace?: string | undefined;
  /** How long one read or write may take, its retries and pages included. Milliseconds. */
  readonly timeoutMs?: number | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly serviceAccountDir?: string;
  readonly log: ClusterLog;
};

const TIMEOUT_MS = 15_000;
/** The containers of the agent's pod, and the one command that each may be entered with. */
const COLLECT = { container: 'agent', argv: ['netcheck-agent', 'collect'] } as const;
const REMEDY = { container: 'remedy', argv: ['netcheck-agent', 'remedy'] } as const;

const AGENTS = `${AGENT_LABEL.key}=${AGENT_LABEL.value}`;

/** Events about what is in no namespace are kept in this one. */
const EVENTS = 'default';

type Opened = Awaited<ReturnType<Cluster['openAgent']>>;

const Stored = z.looseObject({ metadata: z.looseObject({ uid: z.string(), resourceVersion: z.string() }) });
const Review = z.object({ status: z.object({ allowed: z.boolean() }) });

/**
 * The adapter to a cluster through its API server. A kubeconfig that cannot be used is an `invalid` fault that says which
 * file, line or name is wrong. Nothing is sent before the first call.
 */
export function createKubernetesCluster(options: KubernetesClusterOptions): ClusterResult<KubernetesCluster> {
  const loaded = loadLogin({
    kubeconfig: options.kubeconfig,
    context: options.context,
    env: options.env ?? process.env,
    serviceAccountDir: options.serviceAccountDir ?? '/var/run/secrets/kubernetes.io/serviceaccount',
  });
  if (!loaded.ok) return loaded;
  const login = loaded.value;
  const api = createApi({ login, timeoutMs: options.timeoutMs ?? TIMEOUT_MS });
  const name = options.name ?? login.cluster;
  const agentNamespace = options.agentNamespace ?? 'netcheck-agents';
  const closing = new AbortController();
  const open = new Set<AgentConnection>();
  /** The pods to look for agents in: of the latest inventory, else read once. */
  let agentPods: Promise<ClusterResult<readonly Pod[]>> | null = null;

  async function listPods(namespace: string, signal: AbortSignal, labels = ''): Promise<ClusterResult<readonly Pod[]>> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods?labelSelector=${encodeURIComponent(labels)}` as const;
    const listed = await api.list(path, PodObject, signal);
    return listed.ok ? { ok: true, value: listed.value.items } : listed;
  }

  function limited(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, closing.signal]);
  }

  async function write(
    ref: ObjectRef,
    method: 'PATCH' | 'DELETE',
    body: object,
    signal: AbortSignal,
  ): Promise<ClusterResult<StoredObject>> {
    const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    return stored(await api.send({ method, path: pathOf(ref), body, contentType }, Stored, limited(signal)));
  }

  async function openIn({ container, argv }: typeof COLLECT | typeof REMEDY, node: string, signal: AbortSignal): Promise<Opened> {
    const limit = limited(signal);
    // Where all pods may not be listed, those of netcheck's own namespace usually may.
    agentPods ??= listPods(agentNamespace, limit, AGENTS);
    const pods = await agentPods;
    if (!pods.ok) {
      agentPods = null;
      const { kind, message } = pods.fault;
      const agentKind =
        kind === 'forbidden' || kind === 'unauthorized' ? 'forbidden' : kind === 'timeout' ? 'timeout' : 'unreachable';
      return { ok: false, fault: { kind: agentKind, message: `the agents could not be listed: ${message}` } };
    }
    const found = findAgent(pods.value, agentNamespace, node);
    if (!found.ok) return found;
    const { namespace, name: pod } = found.value;
    const opened = await openExec(login, { node, namespace, pod, container, argv: [...argv] }, limit);
    if (opened.ok) {
      const connection = opened.value;
      open.add(connection);
      void connection.ended.then(() => open.delete(connection));
    }
    options.log.debug({ cluster: name, node, pod, container, ...(opened.ok ? {} : { fault: opened.fault }) }, 'agent opened');
    return opened;
  }

  return {
    ok: true,
    value: {
      name,
      async inventory(signal) {
        const context = { api, cluster: name, apiServer: login.server.origin, agentNamespace };
        const inventory = await readInventory(context, limited(signal));
        if (inventory.ok) {
          const { nodes, pods, gaps } = inventory.value;
          agentPods = gaps.some(({ what }) => what === 'pods') ? null : Promise.resolve({ ok: true, value: pods });
          options.log.debug({ cluster: name, nodes: nodes.length, pods: pods.length, gaps }, 'inventory read');
        }
        return inventory;
      },
      openAgent: (node, signal) => openIn(COLLECT, node, signal),
      openRemedyAgent: (node, signal) => openIn(REMEDY, node, signal),
      async read(ref, signal) {
        return stored(await api.get(pathOf(ref), Stored, limited(signal)));
      },
      patch: (ref, patch, { uid, resourceVersion }, signal) => {
        const metadata = { ...(patch['metadata'] as object | undefined), uid, resourceVersion };
        return write(ref, 'PATCH', { ...patch, metadata }, signal);
      },
      listPods: (namespace, signal) => listPods(namespace, limited(signal)),
      async deletePod(pod, uid, signal) {
        const ref = { group: '', version: 'v1', resource: 'pods', ...pod };
        const call = { method: 'DELETE', path: pathOf(ref), body: { preconditions: { uid } } } as const;
        const result = await api.send(call, z.unknown(), limited(signal));
        return result.ok ? { ok: true, value: null } : result;
      },
      async writeEvent({ name: event, node, isGood, reason, message }, signal) {
        const at = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
        const body = {
          apiVersion: 'v1',
          kind: 'Event',
          metadata: { name: event, namespace: EVENTS },
          involvedObject:
            node === null
              ? { apiVersion: 'v1', kind: 'Namespace', name: 'kube-system' }
              : { apiVersion: 'v1', kind: 'Node', name: node.name, uid: node.uid },
          type: isGood ? 'Normal' : 'Warning',
          reason,
          message,
          source: { component: 'netcheck' },
          count: 1,
          firstTimestamp: at,
          lastTimestamp: at,
        };
        const result = await api.send(
          { method: 'POST', path: `/api/v1/namespaces/${EVENTS}/events`, body },
          z.unknown(),
          limited(signal),
        );
        return result.ok ? { ok: true, value: null } : result;
      },
      async canI(access, signal) {
        const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
        const body = {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          spec: { resourceAttributes: access },
        };
        const review = await api.send({ method: 'POST', path, body }, Review, limited(signal));
        return review.ok ? { ok: true, value: review.value.status.allowed } : review;
      },
      async close() {
        closing.abort();
        for (const connection of open) connection.close();
        api.close();
      },
    },
  };
}

/** A remedy says itself which objects it touches; the cluster refuses what `REQUESTS` does not have. */
function pathOf({ group, version, resource, namespace, name }: ObjectRef): GetPath {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${resource}/${encodeURIComponent(name)}` as GetPath;
}

function stored(result: ClusterResult<z.infer<typeof Stored>>): ClusterResult<StoredObject> {
  if (!result.ok) return result;
  const { uid, resourceVersion } = result.value.metadata;
  return { ok: true, value: { uid, resourceVersion, object: result.value } };
}
