import type { Handle } from '../handle.ts';
import { type LabPod, podsOf } from '../topology.ts';
import type { At, Fault } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';

/*
 * What the API server says of pods and their Services while workloads are updated. No packet that netcheck sends depends
 * on it: all of it is told as risks.
 */

const PODS = '/api/v1/namespaces/default/pods';
const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
const EVENTS = '/api/v1/namespaces/default/events';

type Slice = {
  readonly metadata: { readonly name: string };
  readonly endpoints: { readonly targetRef?: { readonly name: string } }[];
};
type ContainerStatus = { readonly state?: object };

/** The web pod on the node of a fault. */
function webPod(lab: Handle, at: At): LabPod {
  const pod = lab.topology.pods.find(({ role, node }) => role === 'web' && node === at.node);
  if (pod === undefined) throw new Error(`there is no web pod on ${at.node}`);
  return pod;
}

async function sliceWith(lab: Handle, pod: LabPod): Promise<Slice> {
  const { items } = (await lab.api('GET', SLICES)).body as { items: Slice[] };
  const slice = items.find(({ endpoints }) => endpoints.some(({ targetRef }) => targetRef?.name === pod.name));
  if (slice === undefined) throw new Error(`${pod.name} is in no EndpointSlice`);
  return slice;
}

function minutesAgo(minutes: number): string {
  return `${new Date(Date.now() - minutes * 60_000).toISOString().slice(0, 19)}Z`;
}

/** An address of the node's podCIDR that no pod has. */
function ghost(lab: Handle, at: At): string {
  return lab.node(at.node).bridgeIp.replace(/1$/, '77');
}

export const endpointWithoutPod: Fault = {
  name: 'endpoint-without-pod',
  row: 'P6',
  title: 'an EndpointSlice names the address of a pod that is gone',
  placement: 'node',
  async inject(lab, at) {
    const { metadata, endpoints } = await sliceWith(lab, webPod(lab, at));
    const gone = {
      addresses: [ghost(lab, at)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: at.node,
      targetRef: { kind: 'Pod', namespace: 'default', name: 'web-old', uid: '0f0f0f0f-0000-4000-8000-000000000000' },
    };
    await lab.api('PATCH', `${SLICES}/${metadata.name}`, { endpoints: [...endpoints, gone] });
    return { slice: metadata.name, endpoints: JSON.stringify(endpoints) };
  },
  async prove(lab, at) {
    const ip = ghost(lab, at);
    const { endpoints } = await sliceWith(lab, webPod(lab, at));
    if (!JSON.stringify(endpoints).includes(`"${ip}"`)) throw new Error(`no EndpointSlice has ${ip}`);
    await expectPackets(lab, {
      pass: [tcp(at.node, webPod(lab, at).ip, 8080)],
      fail: [ping(at.node, ip), tcp(at.node, ip, 8080)],
    });
  },
  async heal(lab, _at, saved) {
    await lab.api('PATCH', `${SLICES}/${saved['slice']}`, { endpoints: JSON.parse(saved['endpoints'] ?? '[]') as object });
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['endpoint-without-pod'], nodes: [] }),
};

export const endpointOfTerminatingPod: Fault = {
  name: 'endpoint-of-terminating-pod',
  row: 'P6',
  title: 'a pod was to be gone five minutes ago, and its EndpointSlice says that it is ready',
  placement: 'node',
  async inject(lab, at) {
    const metadata = { deletionTimestamp: minutesAgo(5), deletionGracePeriodSeconds: 30 };
    await lab.api('PATCH', `${PODS}/${webPod(lab, at).name}`, { metadata });
    return {};
  },
  async prove(lab, at) {
    const { body } = await lab.api('GET', `${PODS}/${webPod(lab, at).name}`);
    const { metadata } = body as { metadata: { deletionTimestamp?: string } };
    if (metadata.deletionTimestamp === undefined) throw new Error('the pod is not being deleted');
  },
  async heal(lab, at) {
    const metadata = { deletionTimestamp: null, deletionGracePeriodSeconds: null };
    await lab.api('PATCH', `${PODS}/${webPod(lab, at).name}`, { metadata });
  },
  expects: () => ({
    status: 'healthy',
    layer: null,
    codes: [],
    risks: ['endpoint-of-terminating-pod', 'pod-overdue', 'rollout-without-pre-stop', 'rollout-without-readiness-probe'],
    nodes: [],
  }),
};

export const graceShorterThanPreStop: Fault = {
  name: 'grace-shorter-than-pre-stop',
  row: 'P7',
  title: 'the preStop hook of a workload takes longer than its grace period',
  placement: 'cluster',
  async inject(lab) {
    await setPreStop(lab, { preStop: { exec: { command: ['/bin/sh', '-c', 'sleep 45'] } } });
    return {};
  },
  async prove(lab) {
    const { body } = await lab.api('GET', `${PODS}/${podsOf(lab.topology, 'web')[0]?.name}`);
    if (!JSON.stringify(body).includes('sleep 45')) throw new Error('the pods have no such hook');
  },
  heal: (lab) => setPreStop(lab, null),
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['grace-shorter-than-pre-stop'], nodes: [] }),
};

/** Gives every web pod, as if they had been made so, this lifecycle. */
async function setPreStop(lab: Handle, lifecycle: object | null): Promise<void> {
  for (const { name } of podsOf(lab.topology, 'web')) {
    const { spec } = (await lab.api('GET', `${PODS}/${name}`)).body as { spec: { containers: object[] } };
    const containers = spec.containers.map((container) => ({ ...container, lifecycle }));
    const graceful = { terminationGracePeriodSeconds: lifecycle === null ? null : 30 };
    await lab.api('PATCH', `${PODS}/${name}`, { spec: { ...graceful, containers } });
  }
}

/** The texts are the kubelet's: pkg/kubelet/prober/prober.go, with the error of Go's HTTP client. */
export const kubeletProbeFailing: Fault = {
  name: 'kubelet-probe-failing',
  row: 'P8',
  title: 'a process does not answer the readiness probe in time, again and again',
  placement: 'node',
  async inject(lab, at) {
    const pod = webPod(lab, at);
    const path = `${PODS}/${pod.name}`;
    const { spec, status } = (await lab.api('GET', path)).body as {
      spec: { containers: object[] };
      status: { containerStatuses: ContainerStatus[] };
    };
    const readinessProbe = {
      httpGet: { path: '/', port: 8080, scheme: 'HTTP' },
      timeoutSeconds: 1,
      periodSeconds: 10,
      failureThreshold: 3,
    };
    await lab.api('PATCH', path, {
      spec: { containers: spec.containers.map((container) => ({ ...container, readinessProbe })) },
    });
    const running = status.containerStatuses.map((one) => ({ ...one, state: { running: { startedAt: minutesAgo(60) } } }));
    await lab.api('PATCH', `${path}/status`, { status: { containerStatuses: running } });
    await lab.api('POST', EVENTS, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${pod.name}.17c8b1f2a3d4e5f6`, namespace: 'default' },
      type: 'Warning',
      reason: 'Unhealthy',
      message: `Readiness probe failed: Get "http://${pod.ip}:8080/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
      involvedObject: {
        apiVersion: 'v1',
        kind: 'Pod',
        namespace: 'default',
        name: pod.name,
        uid: pod.uid,
        fieldPath: 'spec.containers{web}',
      },
      source: { component: 'kubelet', host: pod.node },
      count: 12,
      firstTimestamp: minutesAgo(40),
      lastTimestamp: minutesAgo(0),
    });
    await signal(lab, pod, 'STOP');
    return { containers: JSON.stringify(spec.containers), statuses: JSON.stringify(status.containerStatuses) };
  },
  async prove(lab, at) {
    const pod = webPod(lab, at);
    await expectPackets(lab, { pass: [tcp(at.node, pod.ip, 8080)], fail: [] });
    const request = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 1 socat -t 1 - TCP:${pod.ip}:8080 | grep -q HTTP`;
    if ((await lab.exec(at.node, ['sh', '-c', request])).exitCode === 0) throw new Error('the pod answers in time');
  },
  async heal(lab, at, saved) {
    const pod = webPod(lab, at);
    await signal(lab, pod, 'CONT');
    await lab.api('DELETE', `${EVENTS}/${pod.name}.17c8b1f2a3d4e5f6`);
    await lab.api('PATCH', `${PODS}/${pod.name}`, { spec: { containers: JSON.parse(saved['containers'] ?? '[]') as object } });
    await lab.api('PATCH', `${PODS}/${pod.name}/status`, {
      status: { containerStatuses: JSON.parse(saved['statuses'] ?? '[]') as object },
    });
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['kubelet-probe-failing'], nodes: [] }),
};

async function signal(lab: Handle, pod: LabPod, name: 'STOP' | 'CONT'): Promise<void> {
  await lab.sh(
    pod.node,
    `for p in $(ip netns pids ${pod.network?.netns}); do [ "$(cat /proc/$p/comm)" != web ] || kill -${name} $p; done`,
  );
}
