import { z } from 'zod';
import { type Entity, podEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { podPlace } from '../../../model/hop.ts';
import type { Endpoint, Inventory, Pod, Port } from '../../../model/inventory.ts';
import type { PodListener, PodNamespace, PodState } from '../../../model/wire/agent.ts';
import { type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { listenerText, parsePods, podName, podsOn } from '../../kit/pods.ts';
import { PODS } from '../../kit/readings.ts';

/** A port of a pod that a Service sends to and nobody takes: `loopback` is who listens there on the loopback address. */
type Missing = {
  readonly endpoint: Endpoint;
  readonly port: Port;
  readonly pod: Pod & { readonly ip: string };
  readonly node: string;
  readonly namespace: PodNamespace;
  readonly loopback: PodListener | null;
};

/** Sidecars that take over every connection of their pod: Istio and Kuma, and Linkerd. */
const SIDECAR_PORTS = new Set([15001, 15006, 4140, 4143]);

/** How long a pod that is not ready is given to begin to listen. */
const START_MS = 120_000;

/** P4. Source: kubernetes.io, "Debug Services", does the Pod itself answer; netcheck reads the sockets instead. */
export const portNotListening = defineCheck({
  id: 'port-not-listening',
  row: 'P4',
  layer: 'L4',
  scope: 'cluster',
  title: 'Nothing listens on the port that a Service sends to',
  why: 'Connections to the Service are refused whenever it picks such a pod, while the network is fine.',
  codes: {
    'port-not-listening': "In a pod behind a Service nothing listens on the Service's target port.",
    'declared-port-not-listening':
      'The pod that was named declares a port on which nothing listens, and to which no Service sends.',
    'listens-on-loopback-only': 'It listens on 127.0.0.1 only, where nobody outside the pod can reach it.',
  },
  params: z.strictObject({}),
  collect: { pods: PODS },
  parse: ({ pods }) => parsePods(pods),
  evaluate: (facts: ReadonlyMap<string, PodState>, { inventory, probed }) => {
    const missing = [...facts].flatMap(([node, state]) => missingOn(node, state, inventory));
    const groups = Map.groupBy(
      missing,
      ({ endpoint, loopback }) => `${podName({ ...endpoint, name: endpoint.service })} ${loopback === null}`,
    );
    return [
      ...[...groups.values()].flatMap(describe),
      ...[...facts].flatMap(([node, state]) => declared(node, state, inventory, probed)),
    ];
  },
});

function missingOn(node: string, state: PodState, inventory: Inventory): readonly Missing[] {
  return podsOn(state, inventory, node).flatMap(({ pod, namespace }) => {
    if (!isJudged(pod, namespace, inventory.readAt)) return [];
    return inventory.endpoints
      .filter((endpoint) => endpoint.pod === pod.name && endpoint.namespace === pod.namespace && endpoint.ip === pod.ip)
      .flatMap((endpoint) =>
        endpoint.ports.flatMap((port) => {
          const there = namespace.listeners.filter(
            (socket) => socket.port === port.port && socket.proto === port.protocol.toLowerCase(),
          );
          if (port.protocol === 'SCTP' || there.some(({ ip }) => isOpen(ip, pod.ip))) return [];
          return [{ endpoint, port, pod, node, namespace, loopback: there[0] ?? null }];
        }),
      );
  });
}

/** Ports that a pod only declares are not everybody's concern: they are looked at in the pod that was named. */
function declared(node: string, state: PodState, inventory: Inventory, probed: readonly Probed[]): readonly Draft[] {
  const asked = probed.filter(({ probe }) => probe.check === 'named-pod' && probe.method === 'tcp' && probe.listens !== true);
  return podsOn(state, inventory, node).flatMap(({ pod, namespace }) => {
    const ports = pod.ports.filter(
      ({ port, protocol }) =>
        protocol === 'TCP' &&
        asked.some(({ probe }) => probe.to.ip === pod.ip && probe.to.port === port) &&
        !namespace.listeners.some((socket) => socket.proto === 'tcp' && socket.port === port && isOpen(socket.ip, pod.ip)),
    );
    if (ports.length === 0 || !isJudged(pod, namespace, inventory.readAt)) return [];
    const names = ports.map(({ port }) => `TCP ${port}`).join(', ');
    return [
      {
        code: 'declared-port-not-listening',
        entity: podEntity(pod.namespace, pod.name),
        severity: 'info',
        at: [{ place: podPlace(pod.namespace, pod.name), point: 'socket' }],
        harms: [],
        summary: `nothing listens on ${names} in ${podName(pod)} on ${node}, which the pod declares and no Service sends to`,
        advice: 'A declared port need not be served; if this one is to be, look at the log of its container.',
        evidence: [citation(podName(pod), node, namespace)],
      },
    ];
  });
}

/** Whether a socket bound to an address takes connections to the pod's; one of IPv6 takes those of IPv4 as well. */
function isOpen(bound: string, ip: string): boolean {
  return bound === ip || bound === '::' || (bound === '0.0.0.0' && !ip.includes(':'));
}

/**
 * Whether the sockets tell who takes a connection: not where a sandbox has a network stack of its own (gVisor, Kata), nor
 * where a sidecar takes everything. A pod that is being made or deleted is not expected to listen.
 */
function isJudged(pod: Pod, { listeners }: PodNamespace, readAt: string): boolean {
  if (pod.terminating || pod.runtimeClass !== null || listeners.some(({ port }) => SIDECAR_PORTS.has(port))) return false;
  if (pod.ready) return true;
  const own = pod.containers.filter(({ kind }) => kind === 'container');
  const isOld = (startedAt: string | null): boolean =>
    startedAt !== null && Date.parse(readAt) - Date.parse(startedAt) >= START_MS;
  return own.length > 0 && own.every(({ state, startedAt }) => state === 'running' && isOld(startedAt));
}

function describe(group: readonly Missing[]): readonly Draft[] {
  const [first] = group;
  if (first === undefined) return [];
  const { endpoint, loopback } = first;
  const service: Entity = { kind: 'Service', namespace: endpoint.namespace, name: endpoint.service };
  const ports = [...new Set(group.map(({ port }) => `${port.protocol} ${port.port}`))].sort();
  const pods = [...new Map(group.map((item) => [podName(item.pod), item])).values()];
  const names = pods.map(({ pod, node }) => `${podName(pod)} on ${node}`);
  const where =
    names.length > SHOWN ? `${names.slice(0, SHOWN).join(', ')} and ${names.length - SHOWN} more pods` : names.join(', ');
  const target = `where the Service ${podName({ ...service, namespace: endpoint.namespace })} sends to`;
  return [
    {
      code: loopback === null ? 'port-not-listening' : 'listens-on-loopback-only',
      entity: service,
      at: pods.map(({ pod }) => ({ place: podPlace(pod.namespace, pod.name), point: 'socket' })),
      harms: group.map(({ pod, port }) => ({ proto: port.protocol === 'UDP' ? 'udp' : 'tcp', dst: pod.ip, dport: port.port })),
      summary:
        loopback === null
          ? `nothing listens on ${ports.join(', ')}, ${target}, in ${where}`
          : `${loopback.holder?.comm ?? 'the process'} listens on ${ports.join(', ')}, ${target}, only on ${loopback.ip} in ${where}`,
      advice:
        loopback === null
          ? 'Compare targetPort with the port that the process listens on, and look at the log of the container.'
          : `Let the process listen on 0.0.0.0 instead of ${loopback.ip}.`,
      evidence: pods.slice(0, SHOWN).map(({ pod, node, namespace }) => citation(podName(pod), node, namespace)),
    },
  ];
}

const SHOWN = 3;

function citation(pod: string, node: string, { pid, listeners }: PodNamespace): Citation {
  const text = listeners.length === 0 ? 'no listening socket' : listeners.slice(0, 8).map(listenerText).join(', ');
  return { where: node, source: `/proc/${pid}/net/tcp, udp of ${pod}`, text };
}
