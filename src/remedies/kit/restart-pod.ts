import { z } from 'zod';
import { apiCommands, podPath } from '../api-host.ts';
import { defineRemedy, type Host, type Remedy } from '../remedy.ts';
import { DnsName, Uid } from './params.ts';

const Params = z.strictObject({ namespace: DnsName, pod: DnsName, uid: Uid });
type Params = z.output<typeof Params>;

const State = z.strictObject({ uid: z.string().nullable() });
type State = z.output<typeof State>;

const PodObject = z.object({ metadata: z.object({ uid: z.string(), deletionTimestamp: z.string().optional() }) });

/** A remedy that restarts what runs on one node by deleting exactly one pod of a DaemonSet, which makes a new one there. */
export function restartPod({ id, title, risk }: Pick<Remedy<Params, State>, 'id' | 'title' | 'risk'>): Remedy<Params, State> {
  return defineRemedy({
    id,
    place: 'api',
    title,
    risk,
    riskClass: 'medium',
    undo: null,
    isIndirect: true,
    irreversible: POD_IS_GONE,
    params: Params,
    state: State,
    commands: restartCommands,
    read: async (params, host) => ({ uid: await readUid(params, host) }),
    obsolete: replaced,
    describe: ({ namespace, pod }, { uid }) => [
      { source: `GET ${podPath(namespace, pod)}`, text: uid === null ? 'no such pod' : `uid ${uid}` },
    ],
    undoCommands: () => [],
  });
}

export const POD_IS_GONE = 'A pod that was deleted does not come back; its DaemonSet makes another one.';

/** Deletes exactly one pod and waits for the one that takes its place. */
export function restartCommands({ namespace, pod, uid }: Params): readonly (readonly string[])[] {
  return [apiCommands.deletePod(namespace, pod, uid), apiCommands.waitForSuccessor];
}

/** The uid that the pod of this name has now; null when there is none or it is being deleted. */
export async function readUid({ namespace, pod }: Pick<Params, 'namespace' | 'pod'>, host: Host): Promise<string | null> {
  const text = await host.readText(podPath(namespace, pod));
  if (text === null) return null;
  const { uid, deletionTimestamp } = PodObject.parse(JSON.parse(text)).metadata;
  return deletionTimestamp === undefined ? uid : null;
}

/** Why a pod is not the one any more that was found, or null. */
export function replaced({ namespace, pod, uid }: Params, now: State): string | null {
  if (now.uid === uid) return null;
  return `the pod ${namespace}/${pod} has been ${now.uid === null ? 'deleted' : 'replaced'} since`;
}
