import { z } from 'zod';
import { podPath } from '../api-host.ts';
import { DnsName, Uid } from '../kit/params.ts';
import { POD_IS_GONE, readUid, replaced, restartCommands } from '../kit/restart-pod.ts';
import { defineRemedy } from '../remedy.ts';

type Pod = { readonly pod: string; readonly uid: string };

/** Pods as `NAME=UID`, with commas between them. */
const Pods = z
  .string()
  .refine((text) => podsOf(text).every(({ pod, uid }) => isName(pod) && isUid(uid)), 'not pods with their uids');

/** F2: flannel's pods on several nodes are deleted one after the other, each when the one before has come back. */
export const restartFlannelOnNodes = defineRemedy({
  id: 'restart-flannel-on-nodes',
  place: 'api',
  title: 'Restart flannel on several nodes, one at a time',
  risk: 'Nodes that have been restarted and nodes that have not may not reach each other’s pods until the last one is through. It stops at the first node whose flannel does not come back.',
  riskClass: 'high',
  isSlow: true,
  undo: null,
  isIndirect: true,
  irreversible: POD_IS_GONE,
  params: z.strictObject({ namespace: DnsName, pods: Pods }),
  state: z.record(z.string(), z.string().nullable()),
  commands: ({ namespace, pods }) => podsOf(pods).flatMap((pod) => restartCommands({ namespace, ...pod })),
  async read({ namespace, pods }, host) {
    const uids: [string, string | null][] = [];
    for (const { pod } of podsOf(pods)) uids.push([pod, await readUid({ namespace, pod }, host)]);
    return Object.fromEntries(uids);
  },
  obsolete: ({ namespace, pods }, state) =>
    podsOf(pods)
      .map((pod) => replaced({ namespace, ...pod }, { uid: state[pod.pod] ?? null }))
      .find((reason) => reason !== null) ?? null,
  describe: ({ namespace, pods }, state) =>
    podsOf(pods).map(({ pod }) => ({
      source: `GET ${podPath(namespace, pod)}`,
      text: state[pod] == null ? 'no such pod' : `uid ${state[pod]}`,
    })),
  undoCommands: () => [],
});

function podsOf(text: string): readonly Pod[] {
  return text.split(',').map((item) => {
    const [pod = '', uid = ''] = item.split('=', 2);
    return { pod, uid };
  });
}

function isName(text: string): boolean {
  return DnsName.safeParse(text).success;
}

function isUid(text: string): boolean {
  return Uid.safeParse(text).success;
}
