import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, ClusterResult, ClusterWriter, ObjectRef, StoredObject } from '../cluster/port.ts';
import type { Pod } from '../model/inventory.ts';
import type { Host } from './remedy.ts';

/** What remedies need of a cluster beside reading it. */
export type RemedyWriter = Pick<ClusterWriter, 'openRemedyAgent' | 'read' | 'patch' | 'listPods' | 'deletePod'>;

/** A pod that was restarted has to be ready again within this time. Milliseconds. */
const READY_MS = 90_000;
const LOOK_AGAIN_MS = 500;

/**
 * The requests that remedies are made of, as a card shows them. A pod is deleted only while it has that uid. A patch (JSON
 * merge patch) applies only to the version of the object that the remedy has read. `WAIT` waits until the pod that takes
 * the place of the one deleted last is ready; `ROLL` deletes the pods of a DaemonSet one by one, in the order of their
 * nodes' names, waits for each one's successor, and stops at the first that does not come back.
 */
export const apiCommands = {
  deletePod: (namespace: string, name: string, uid: string): readonly string[] => [
    'DELETE',
    podPath(namespace, name),
    JSON.stringify({ preconditions: { uid } }),
  ],
  patch: (path: string, patch: Readonly<Record<string, unknown>>): readonly string[] => ['PATCH', path, JSON.stringify(patch)],
  waitForSuccessor: ['WAIT', 'successor ready', `${READY_MS / 1000}s`],
  roll: (namespace: string, daemonSet: string): readonly string[] => [
    'ROLL',
    `daemonsets/${namespace}/${daemonSet}`,
    `one node at a time, ${READY_MS / 1000}s each`,
  ],
} as const;

/** The path of a ConfigMap in the API. */
export function configMapPath(namespace: string, name: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps/${name}`;
}

/** The path of a pod in the API. */
export function podPath(namespace: string, name: string): string {
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}

/** The cluster as remedies see it; `onStep` is told what takes long. */
export function createApiHost(
  cluster: Cluster & RemedyWriter,
  {
    signal,
    onStep,
    readyMs = READY_MS,
  }: { readonly signal: AbortSignal; readonly onStep: (step: string) => void; readonly readyMs?: number | undefined },
): Host {
  /** What was read of each path: patches apply to nothing else. */
  const versions = new Map<string, StoredObject>();
  let deleted: { readonly pod: Pod; readonly others: ReadonlySet<string> } | null = null;

  async function pods(namespace: string): Promise<readonly Pod[]> {
    return must(await cluster.listPods(namespace, signal));
  }

  async function deletePod(namespace: string, name: string, uid: string): Promise<void> {
    const present = await pods(namespace);
    const pod = present.find((candidate) => candidate.uid === uid);
    if (pod === undefined) throw new Error(`there is no pod ${namespace}/${name} with the uid ${uid} any more`);
    must(await cluster.deletePod({ namespace, name }, uid, signal));
    // What was there beside it before is not what took its place.
    deleted = { pod, others: new Set(present.map((other) => other.uid)) };
  }

  async function waitForSuccessor(): Promise<void> {
    if (deleted === null) throw new Error('no pod was deleted');
    const { pod: gone, others } = deleted;
    const until = performance.now() + readyMs;
    for (;;) {
      const successor = (await pods(gone.namespace)).find(
        ({ uid, node, owner, ready }) => !others.has(uid) && ready && node === gone.node && isSameOwner(owner, gone.owner),
      );
      if (successor !== undefined) return;
      if (performance.now() > until)
        throw new Error(
          `no pod took the place of ${gone.namespace}/${gone.name} on ${gone.node ?? 'its node'} within ${readyMs / 1000} s`,
        );
      await delay(LOOK_AGAIN_MS, undefined, { signal });
    }
  }

  async function roll(target: string): Promise<void> {
    const [, namespace = '', name = ''] = target.split('/');
    const own = (await pods(namespace))
      .filter((pod) => isSameOwner(pod.owner, { kind: 'DaemonSet', name }) && pod.node !== null)
      .toSorted((a, b) => ((a.node ?? '') < (b.node ?? '') ? -1 : 1));
    if (own.length === 0) throw new Error(`the DaemonSet ${namespace}/${name} has no pods`);
    for (const [index, pod] of own.entries()) {
      onStep(`restarting ${pod.namespace}/${pod.name} on ${pod.node} (${index + 1} of ${own.length})`);
      await deletePod(pod.namespace, pod.name, pod.uid);
      await waitForSuccessor();
    }
  }

  async function run(argv: readonly string[]): Promise<string> {
    const [verb = '', path = '', body = ''] = argv;
    if (verb === 'WAIT') await waitForSuccessor();
    else if (verb === 'ROLL') await roll(path);
    else if (verb === 'DELETE') {
      const { namespace = '', name } = refOf(path);
      const { preconditions } = JSON.parse(body) as { preconditions: { uid: string } };
      await deletePod(namespace, name, preconditions.uid);
    } else if (verb === 'PATCH') {
      const read = versions.get(path);
      if (read === undefined) throw new Error(`${path} was not read before`);
      versions.delete(path);
      versions.set(path, must(await cluster.patch(refOf(path), JSON.parse(body) as Record<string, unknown>, read, signal)));
    } else throw new Error(`${verb} is no request that remedies make`);
    return '';
  }

  return {
    run,
    async readText(path) {
      const read = await cluster.read(refOf(path), signal);
      if (!read.ok && read.fault.kind === 'not-found') return null;
      const stored = must(read);
      versions.set(path, stored);
      return JSON.stringify(stored.object);
    },
  };
}

function refOf(path: string): ObjectRef {
  const [, version, namespace, resource, name] = /^\/api\/(v1)\/namespaces\/([^/]+)\/([a-z]+)\/([^/]+)$/.exec(path) ?? [];
  if (version === undefined || namespace === undefined || resource === undefined || name === undefined)
    throw new Error(`${path} is no path of an object in a namespace`);
  return { group: '', version, resource, namespace, name };
}

function isSameOwner(a: Pod['owner'], b: Pod['owner']): boolean {
  return a !== null && b !== null && a.kind === b.kind && a.name === b.name;
}

/** The value, or its fault thrown as a sentence. */
function must<T>(result: ClusterResult<T>): T {
  if (result.ok) return result.value;
  const { kind, message } = result.fault;
  const fate = kind === 'timeout' || kind === 'unreachable' ? ' (whether it was done is not known; it is not repeated)' : '';
  throw new Error(`${message}${fate}`);
}
