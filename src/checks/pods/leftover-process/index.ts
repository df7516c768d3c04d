import { z } from 'zod';
import { podEntity } from '../../../model/entity.ts';
import { podPlace } from '../../../model/hop.ts';
import type { Container, Pod } from '../../../model/inventory.ts';
import type { PodListener, PodProcess, PodState } from '../../../model/wire/agent.ts';
import { type Draft, defineCheck } from '../../kit/check.ts';
import { listenerText, type PodOnNode, parsePods, podName, podsOn } from '../../kit/pods.ts';
import { PODS } from '../../kit/readings.ts';

/** What the API server says of containers is this much behind at most, in seconds. */
const STATUS_LAG_S = 15;

/** P5. Source: Google Kubernetes Engine, "Troubleshoot connectivity issues", bind: Address already in use. */
export const leftoverProcess = defineCheck({
  id: 'leftover-process',
  row: 'P5',
  layer: 'L4',
  scope: 'node',
  title: 'A process left behind in a pod holds its port',
  why: 'The container of the pod cannot start: "bind: address already in use", again and again, until the old process ends.',
  codes: {
    'leftover-process':
      "A process that belongs to no running container listens in a pod's network namespace, and a container of the pod cannot stay up.",
  },
  params: z.strictObject({}),
  collect: { pods: PODS },
  parse: ({ pods }) => parsePods(pods),
  evaluate: (state: PodState, { node, inventory }) =>
    podsOn(state, inventory, node).flatMap((found) => leftoversIn(found).flatMap((holder) => describe(node, found, holder))),
});

/** Processes of a pod with listening sockets in no container that runs, while one that should run does not. */
function leftoversIn({ pod, namespace }: PodOnNode): readonly PodProcess[] {
  if (failingIn(pod) === undefined) return [];
  const running = pod.containers.flatMap(({ state, id }) => (state === 'running' ? [id ?? ''] : []));
  const holders = namespace.listeners.flatMap(({ holder }) => holder ?? []);
  const leftovers = holders.filter(
    ({ uid, container, comm, ageS }) =>
      uid === pod.uid && container !== null && !running.includes(container) && comm !== 'pause' && ageS >= STATUS_LAG_S,
  );
  return [...new Map(leftovers.map((holder) => [holder.pid, holder])).values()];
}

/** A container that ended and is to be started again. */
function failingIn({ containers, terminating }: Pod): Container | undefined {
  if (terminating) return undefined;
  return containers.find(
    ({ kind, state, reason, restarts }) =>
      kind === 'container' &&
      (state === 'waiting' ? reason === 'CrashLoopBackOff' || restarts > 0 : state === 'terminated' && reason === 'Error'),
  );
}

function describe(node: string, { pod, namespace }: PodOnNode, holder: PodProcess): readonly Draft[] {
  const failing = failingIn(pod);
  if (failing === undefined) return [];
  const sockets = namespace.listeners.filter((socket) => socket.holder?.pid === holder.pid);
  const process = `${holder.comm} (PID ${holder.pid}, running for ${duration(holder.ageS)})`;
  return [
    {
      code: 'leftover-process',
      entity: podEntity(pod.namespace, pod.name),
      at: [{ place: podPlace(pod.namespace, pod.name), point: 'socket' }],
      harms: [],
      summary: `${process} listens on ${ports(sockets)} in the pod ${podName(pod)} on ${node} but belongs to none of its running containers; the container ${failing.name} cannot stay up (${failing.reason}, ${failing.restarts} restarts)`,
      advice: `If the log of ${failing.name} says "address already in use", end the process ${holder.pid} on ${node}; then find out why the runtime lost it (its log, zombies, disk).`,
      evidence: [
        {
          where: node,
          source: `/proc/${holder.pid}/cgroup, stat, fd`,
          text: `PID ${holder.pid} ${holder.comm} (${holder.exe}), started ${holder.start} ticks after boot, container ${short(holder.container)}, ${sockets.map(listenerText).join(', ')}`,
        },
        {
          where: podName(pod),
          source: 'status.containerStatuses',
          text: pod.containers.map(({ name, id, state, reason }) => `${name} ${short(id)} ${state} ${reason}`.trim()).join(', '),
        },
      ],
      remedy: {
        id: 'kill-process',
        node,
        params: { pid: String(holder.pid), start: String(holder.start), comm: holder.comm },
      },
    },
  ];
}

function ports(sockets: readonly PodListener[]): string {
  return [...new Set(sockets.map(({ proto, port }) => `${proto.toUpperCase()} ${port}`))].join(', ');
}

function short(id: string | null): string {
  return id === null ? 'without id' : id.slice(0, 12);
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}
