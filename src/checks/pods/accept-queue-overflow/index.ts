import { z } from 'zod';
import { podEntity } from '../../../model/entity.ts';
import { podPlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PodCounters, PodState } from '../../../model/wire/agent.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { type PodOnNode, parsePodCounters, parsePods, podName, podsOn } from '../../kit/pods.ts';
import { POD_COUNTERS, PODS } from '../../kit/readings.ts';

type Facts = { readonly before: PodCounters; readonly after: PodState };

/** N15, in pods. Source: kernel Documentation/networking/snmp_counter.rst, TcpExtListenOverflows; listen(2). */
export const acceptQueueOverflow = defineCheck({
  id: 'accept-queue-overflow',
  row: 'N15',
  layer: 'L4',
  scope: 'node',
  title: 'A pod does not accept connections as fast as they come',
  why: 'When the queue of a listening socket is full, the kernel drops the next handshakes: clients see delays of 1, 3 and 7 s, then timeouts.',
  codes: {
    'accept-queue-overflow': 'The accept queue of a listening socket in a pod overflowed while netcheck ran.',
  },
  params: z.strictObject({}),
  collect: { before: POD_COUNTERS, after: PODS },
  parse: ({ before, after }) => allParsed<Facts>({ before: parsePodCounters(before), after: parsePods(after) }),
  evaluate: ({ before, after }: Facts, { node, inventory }) => overflowing(before, after, node, inventory),
});

function overflowing(before: PodCounters, after: PodState, node: string, inventory: Inventory): readonly Draft[] {
  return podsOn(after, inventory, node).flatMap((found) => {
    const { netns, listening } = found.namespace;
    const known = before.counters[netns];
    // A namespace that came into being meanwhile counts from zero.
    const count = (listening?.overflows ?? 0) - (known?.overflows ?? 0);
    return count > 0 ? [describe(found, count, node, after.backlogs[netns])] : [];
  });
}

function describe(
  { pod, namespace }: PodOnNode,
  count: number,
  node: string,
  backlog: PodState['backlogs'][string] | undefined,
): Draft {
  const full = fullSockets(backlog?.sockets ?? '');
  const where = full.map(({ address, queued, most }) => `${address} has ${queued} connections waiting, its backlog is ${most}`);
  const limit = backlog?.somaxconn ?? null;
  const isLimited = limit !== null && full.some(({ most }) => most >= limit);
  return {
    code: 'accept-queue-overflow',
    entity: podEntity(pod.namespace, pod.name),
    severity: 'warning',
    certainty: 'suspect',
    partial: true,
    at: [{ place: podPlace(pod.namespace, pod.name), point: 'socket' }],
    harms: [{ proto: 'tcp', dst: pod.ip, state: 'new' }],
    summary: `${count} connections to the pod ${podName(pod)} on ${node} found its accept queue full while this check ran${where.length === 0 ? '' : `: ${where.join('; ')}`}`,
    advice: isLimited
      ? `The backlog is cut at net.core.somaxconn, ${limit} in this pod. Raise it with securityContext.sysctls (net.core.somaxconn, which the kubelet has to allow), a privileged initContainer (sysctl -w net.core.somaxconn=4096) or the tuning CNI plugin, restart the pod, and see why the process does not accept.`
      : 'The process does not accept fast enough: look at its CPU limit and throttling, its worker threads, and the backlog that it passes to listen().',
    evidence: [
      {
        where: node,
        source: `/proc/${namespace.pid}/net/netstat of ${podName(pod)}`,
        text: `TcpExt ListenOverflows ${namespace.listening?.overflows}, ListenDrops ${namespace.listening?.drops}; ListenOverflows grew by ${count}`,
      },
      ...(backlog === undefined
        ? []
        : [
            {
              where: podName(pod),
              source: 'ss -H -lnt; net.core.somaxconn',
              text: `${backlog.sockets.trim()}; ${limit ?? 'unknown'}`,
            },
          ]),
    ],
  };
}

/** Sockets with more waiting than their backlog: `LISTEN Recv-Q Send-Q LOCAL PEER`, the queue and its limit. ss(8). */
function fullSockets(text: string): readonly { readonly address: string; readonly queued: number; readonly most: number }[] {
  return text.split('\n').flatMap((line) => {
    const [, queued, most, address] = /^LISTEN\s+(\d+)\s+(\d+)\s+(\S+)/.exec(line) ?? [];
    // The kernel lets one more in than the backlog says: sk_acceptq_is_full compares with >.
    return address !== undefined && Number(queued) >= Number(most)
      ? [{ address, queued: Number(queued), most: Number(most) }]
      : [];
  });
}
