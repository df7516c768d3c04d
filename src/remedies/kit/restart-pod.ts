import { z } from 'zod';
import { apiCommands, podPath } from '../api-host.ts';
import { defineRemedy, type Remedy } from '../remedy.ts';

const DnsName = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'not the name of a Kubernetes object');

const Params = z.strictObject({ namespace: DnsName, pod: DnsName, uid: z.string().regex(/^[\w-]{1,64}$/, 'not a uid') });
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
    irreversible: 'A pod that was deleted does not come back; its DaemonSet makes another one.',
    params: Params,
    state: State,
    commands: ({ namespace, pod, uid }) => [apiCommands.deletePod(namespace, pod, uid), apiCommands.waitForSuccessor],
    async read({ namespace, pod }, host) {
      const text = await host.readText(podPath(namespace, pod));
      if (text === null) return { uid: null };
      const { uid, deletionTimestamp } = PodObject.parse(JSON.parse(text)).metadata;
      return { uid: deletionTimestamp === undefined ? uid : null };
    },
    obsolete: ({ namespace, pod, uid }, state) =>
      state.uid === uid ? null : `the pod ${namespace}/${pod} has been ${state.uid === null ? 'deleted' : 'replaced'} since`,
    describe: ({ namespace, pod }, { uid }) => [
      { source: `GET ${podPath(namespace, pod)}`, text: uid === null ? 'no such pod' : `uid ${uid}` },
    ],
    undoCommands: () => [],
  });
}
