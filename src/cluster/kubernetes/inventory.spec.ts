import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { temporaryFolder } from '../../../test/folder.ts';
import type { Faults } from '../../../test/lab/api/faults.ts';
import { type KubeObject, object } from '../../../test/lab/api/objects.ts';
import { ADMIN_TOKEN, agentPod, createSmallCluster, type SmallCluster } from '../../../test/lab/api/small-cluster.ts';
import { Inventory } from '../../model/inventory.ts';
import { createKubernetesCluster, type KubernetesCluster } from './index.ts';

const directory = temporaryFolder();
let small: SmallCluster;
let cluster: KubernetesCluster;
let requests: string[] = [];

beforeEach(async () => {
  requests = [];
  small = await createSmallCluster({
    nodes: 1,
    command: () => ['sh', '-c', 'echo ready; exec cat'],
    onRequest: ({ url }) => requests.push(url),
  });
  await writeFile(join(directory, 'config'), small.api.kubeconfig(ADMIN_TOKEN));
  cluster = connect();
});

afterEach(async () => {
  await cluster.close();
  await small.close();
});

function connect(timeoutMs = 10_000): KubernetesCluster {
  const created = createKubernetesCluster({
    kubeconfig: join(directory, 'config'),
    name: 'test',
    timeoutMs,
    log: { debug: () => {} },
  });
  if (!created.ok) throw new Error(created.fault.message);
  return created.value;
}

async function read(from = cluster): Promise<Inventory> {
  const inventory = await from.inventory(AbortSignal.timeout(20_000));
  if (!inventory.ok) throw new Error(inventory.fault.message);
  return Inventory.parse(inventory.value);
}

const BARE_CONTAINER = {
  kind: 'container',
  id: null,
  image: '',
  state: 'unknown',
  reason: '',
  message: '',
  ready: false,
  restarts: 0,
  startedAt: null,
  last: null,
  readiness: null,
  liveness: null,
  startup: null,
  preStop: null,
} as const;

test('every object is reduced to the model, with the defaults of the API', async () => {
  const put = (...objects: KubeObject[]) => objects.map((one) => small.api.put(one));
  const [node] = put(
    object('v1', 'Node', { name: 'bare' }, { spec: { podCIDR: '10.0.9.0/24', unschedulable: true, providerID: 'x://1' } }),
    object('v1', 'Pod', { name: 'pending', namespace: 'default' }, { spec: { containers: [] }, status: { phase: 'Pending' } }),
    object(
      'v1',
      'Pod',
      {
        name: 'web',
        namespace: 'default',
        uid: 'pod-uid',
        labels: { app: 'web' },
        deletionTimestamp: '2026-01-01T00:00:00Z',
        ownerReferences: [
          { kind: 'Other', name: 'other' },
          { kind: 'ReplicaSet', name: 'web-1', controller: true },
        ],
      },
      {
        spec: {
          nodeName: 'node-1',
          containers: [
            { name: 'a', ports: [{ containerPort: 8080 }] },
            { name: 'b', ports: [{ name: 'dns', containerPort: 53, protocol: 'UDP' }] },
          ],
        },
        status: { phase: 'Running', podIP: '172.27.1.9', conditions: [{ type: 'Ready', status: 'False' }] },
      },
    ),
    object(
      'v1',
      'Service',
      { name: 'web', namespace: 'default' },
      {
        spec: {
          type: 'NodePort',
          clusterIP: '172.26.0.9',
          selector: { app: 'web' },
          ports: [{ port: 80 }, { name: 'dns', port: 53, protocol: 'UDP', targetPort: 'dns' }],
        },
      },
    ),
    object('v1', 'Service', { name: 'headless', namespace: 'default' }, { spec: { clusterIP: 'None' } }),
    object(
      'discovery.k8s.io/v1',
      'EndpointSlice',
      { name: 'web-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
      {
        addressType: 'IPv4',
        ports: [
          { name: '', port: 8080 },
          { name: 'any', port: null },
        ],
        endpoints: [
          {
            addresses: ['172.27.1.9'],
            conditions: { ready: false },
            nodeName: 'node-1',
            targetRef: { kind: 'Pod', name: 'web' },
          },
          { addresses: ['192.0.2.1'] },
        ],
      },
    ),
    object(
      'discovery.k8s.io/v1',
      'EndpointSlice',
      { name: 'names', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
      {
        addressType: 'FQDN',
        endpoints: [{ addresses: ['example.com'] }],
      },
    ),
    object('networking.k8s.io/v1', 'NetworkPolicy', { name: 'deny', namespace: 'default' }, { spec: { podSelector: {} } }),
    object(
      'networking.k8s.io/v1',
      'NetworkPolicy',
      { name: 'rules', namespace: 'default' },
      {
        spec: {
          podSelector: {
            matchExpressions: [
              { key: 'app', operator: 'In', values: ['web'] },
              { key: 'old', operator: 'DoesNotExist' },
            ],
          },
          policyTypes: ['Egress'],
          ingress: [{}],
          egress: [
            {
              to: [{ ipBlock: { cidr: '10.0.0.0/8' } }, { namespaceSelector: { matchLabels: { a: 'b' } }, podSelector: {} }],
              ports: [{ port: 53, protocol: 'UDP' }, { port: 'web', endPort: 90 }, {}],
            },
            {},
          ],
        },
      },
    ),
    object('v1', 'Namespace', { name: 'labelled', labels: { team: 'net' } }),
    object('v1', 'ConfigMap', { name: 'coredns', namespace: 'kube-system' }, { data: { Corefile: '.:53 {}' } }),
    object('v1', 'ConfigMap', { name: 'kube-proxy', namespace: 'kube-system' }),
    object('v1', 'ConfigMap', { name: 'other', namespace: 'kube-system' }, { data: { password: 'secret' } }),
  );
  const inventory = await read();
  expect({
    ...inventory,
    pods: inventory.pods.filter((pod) => pod.namespace === 'default'),
    nodes: inventory.nodes.filter(({ name }) => name === 'bare'),
  }).toEqual({
    cluster: 'test',
    apiServer: small.api.url,
    version: 'v1.35.0',
    agentNamespace: 'netcheck-agents',
    nodes: [
      {
        name: 'bare',
        uid: node?.metadata.uid,
        ip: null,
        podCIDRs: ['10.0.9.0/24'],
        ready: 'Unknown',
        os: 'unknown',
        unschedulable: true,
        kubeletPort: 10250,
        annotations: {},
        labels: {},
        providerID: 'x://1',
        conditions: [],
        kubelet: '',
        kernel: '',
        runtime: '',
      },
    ],
    pods: [
      expect.objectContaining({
        name: 'pending',
        node: null,
        ip: null,
        phase: 'Pending',
        ready: false,
        terminating: false,
        owner: null,
        ports: [],
      }),
      {
        namespace: 'default',
        name: 'web',
        uid: 'pod-uid',
        node: 'node-1',
        ip: '172.27.1.9',
        hostNetwork: false,
        phase: 'Running',
        ready: false,
        terminating: true,
        labels: { app: 'web' },
        owner: { kind: 'ReplicaSet', name: 'web-1' },
        ports: [
          { port: 8080, protocol: 'TCP' },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
        workload: { kind: 'ReplicaSet', name: 'web-1' },
        containers: [
          { ...BARE_CONTAINER, name: 'a' },
          { ...BARE_CONTAINER, name: 'b' },
        ],
        conditions: [{ type: 'Ready', status: 'False', reason: '', message: '', since: null }],
        startedAt: null,
        deleteBy: '2026-01-01T00:00:00Z',
        graceSeconds: 30,
        dnsPolicy: 'ClusterFirst',
        dnsConfig: null,
        runtimeClass: null,
      },
    ],
    services: [
      { namespace: 'default', name: 'headless', type: 'ClusterIP', clusterIP: null, selector: {}, ports: [] },
      {
        namespace: 'default',
        name: 'web',
        type: 'NodePort',
        clusterIP: '172.26.0.9',
        selector: { app: 'web' },
        ports: [
          { port: 80, protocol: 'TCP', targetPort: 80 },
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: 'dns' },
        ],
      },
    ],
    endpoints: [
      {
        namespace: 'default',
        service: 'web',
        ip: '172.27.1.9',
        ports: [{ port: 8080, protocol: 'TCP' }],
        ready: false,
        serving: false,
        terminating: false,
        node: 'node-1',
        pod: 'web',
      },
      {
        namespace: 'default',
        service: 'web',
        ip: '192.0.2.1',
        ports: [{ port: 8080, protocol: 'TCP' }],
        ready: true,
        serving: true,
        terminating: false,
        node: null,
        pod: null,
      },
    ],
    policies: [
      { namespace: 'default', name: 'deny', podSelector: {}, ingress: [], egress: null },
      {
        namespace: 'default',
        name: 'rules',
        podSelector: {
          matchExpressions: [
            { key: 'app', operator: 'In', values: ['web'] },
            { key: 'old', operator: 'DoesNotExist' },
          ],
        },
        ingress: null,
        egress: [
          {
            peers: [
              { ipBlock: { cidr: '10.0.0.0/8', except: [] } },
              { podSelector: {}, namespaceSelector: { matchLabels: { a: 'b' } } },
            ],
            ports: [
              { protocol: 'UDP', port: 53, endPort: null },
              { protocol: 'TCP', port: 'web', endPort: 90 },
              { protocol: 'TCP', port: null, endPort: null },
            ],
          },
          { peers: [], ports: [] },
        ],
      },
    ],
    namespaces: ['default', 'kube-system', 'labelled', 'netcheck-agents'].map((name) => ({
      name,
      labels: name === 'labelled' ? { team: 'net' } : {},
    })),
    configs: { 'kube-system/coredns': { Corefile: '.:53 {}' }, 'kube-system/kube-proxy': {} },
    webhooks: [],
    warnings: [],
    logs: [],
    readAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    gaps: [],
  });
  expect(
    requests.filter(
      (url) => url.includes('configmaps') && !/configmaps\/(kube-flannel-cfg|coredns|kube-proxy|kubeadm-config)$/.test(url),
    ),
  ).toEqual([]);
});

test('of a pod: its containers with their probes and hooks, its workload, how it resolves names', async () => {
  const terminated = { reason: 'Error', exitCode: 1, finishedAt: '2026-11-20T10:00:00Z', containerID: 'containerd://old' };
  small.api.put(
    object(
      'v1',
      'Pod',
      {
        name: 'shop-5f7c9-abcde',
        namespace: 'default',
        labels: { 'pod-template-hash': '5f7c9' },
        ownerReferences: [{ kind: 'ReplicaSet', name: 'shop-5f7c9', controller: true }],
      },
      {
        spec: {
          terminationGracePeriodSeconds: 5,
          dnsPolicy: 'None',
          dnsConfig: { nameservers: ['192.0.2.53'], options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }] },
          runtimeClassName: 'gvisor',
          containers: [
            {
              name: 'app',
              image: 'shop:1',
              readinessProbe: { httpGet: { path: '/healthz', port: 'http' } },
              livenessProbe: { tcpSocket: { port: 8080 }, timeoutSeconds: 3, periodSeconds: 7, failureThreshold: 9 },
              startupProbe: { exec: { command: ['test'] } },
              lifecycle: { preStop: { exec: { command: ['/bin/sh', '-c', 'sleep 15; nginx -s quit'] } } },
            },
            {
              name: 'side',
              command: ['/agent', '--token=secret', '--random-fully'],
              args: ['--service-node-port-range', '31000-31999', '--more'],
              lifecycle: { preStop: { sleep: { seconds: 8 } } },
              readinessProbe: { grpc: { port: 9000 } },
            },
            { name: 'last', lifecycle: { preStop: { exec: { command: ['/app/stop', '--asleep 3'] } } } },
          ],
          initContainers: [{ name: 'setup' }],
        },
        status: {
          startTime: '2026-11-20T09:00:00Z',
          containerStatuses: [
            {
              name: 'app',
              containerID: 'containerd://new',
              ready: false,
              restartCount: 4,
              state: { waiting: { reason: 'CrashLoopBackOff', message: 'x'.repeat(400) } },
              lastState: { terminated },
            },
            { name: 'side', containerID: 'cri-o://side', ready: true, state: { running: { startedAt: '2026-11-20T09:01:00Z' } } },
          ],
          initContainerStatuses: [{ name: 'setup', state: { terminated: { reason: 'Completed', exitCode: 0 } } }],
        },
      },
    ),
  );
  const [pod] = (await read()).pods.filter(({ namespace }) => namespace === 'default');
  const defaults = { path: null, timeoutSeconds: 1, periodSeconds: 10, failureThreshold: 3 };
  expect(pod).toMatchObject({
    owner: { kind: 'ReplicaSet', name: 'shop-5f7c9' },
    workload: { kind: 'Deployment', name: 'shop' },
    startedAt: '2026-11-20T09:00:00Z',
    deleteBy: null,
    graceSeconds: 5,
    dnsPolicy: 'None',
    dnsConfig: { nameservers: ['192.0.2.53'], searches: [], options: ['ndots:2', 'edns0'] },
    runtimeClass: 'gvisor',
    containers: [
      {
        ...BARE_CONTAINER,
        name: 'app',
        id: 'new',
        image: 'shop:1',
        state: 'waiting',
        reason: 'CrashLoopBackOff',
        message: `${'x'.repeat(300)}…`,
        restarts: 4,
        last: { id: 'old', reason: 'Error', exitCode: 1, at: '2026-11-20T10:00:00Z' },
        readiness: { ...defaults, kind: 'http', port: 'http', path: '/healthz' },
        liveness: { kind: 'tcp', port: 8080, path: null, timeoutSeconds: 3, periodSeconds: 7, failureThreshold: 9 },
        startup: { ...defaults, kind: 'exec', port: null },
        preStop: { kind: 'exec', seconds: 15 },
      },
      {
        ...BARE_CONTAINER,
        name: 'side',
        id: 'side',
        state: 'running',
        ready: true,
        startedAt: '2026-11-20T09:01:00Z',
        readiness: { ...defaults, kind: 'grpc', port: 9000 },
        preStop: { kind: 'sleep', seconds: 8 },
        flags: { 'random-fully': 'true', 'service-node-port-range': '31000-31999' },
      },
      { ...BARE_CONTAINER, name: 'last', preStop: { kind: 'exec', seconds: null } },
      { ...BARE_CONTAINER, name: 'setup', kind: 'init', state: 'terminated', reason: 'Completed' },
    ],
  });
});

test('of a webhook: whom it calls and what its failure means, never its certificate', async () => {
  const put = (kind: string, name: string, webhooks: readonly object[]) =>
    void small.api.put(object('admissionregistration.k8s.io/v1', kind, { name }, { webhooks }));
  put('ValidatingWebhookConfiguration', 'policy', [
    {
      name: 'a.example.com',
      clientConfig: { service: { namespace: 'policy', name: 'hook', path: '/validate' }, caBundle: 'c2VjcmV0' },
      rules: [{ operations: ['*'] }],
      failurePolicy: 'Ignore',
      timeoutSeconds: 3,
    },
    { name: 'b.example.com', clientConfig: { service: { namespace: 'policy', name: 'hook', port: 8443 } } },
  ]);
  put('MutatingWebhookConfiguration', 'sidecar', [
    { name: 'c.example.com', clientConfig: { url: 'https://hooks.example.com:8443/mutate?token=secret' } },
  ]);
  put('MutatingWebhookConfiguration', 'empty', []);
  const { webhooks, gaps } = await read();
  expect({ webhooks, gaps }).toEqual({
    gaps: [],
    webhooks: [
      {
        kind: 'mutating',
        configuration: 'sidecar',
        name: 'c.example.com',
        service: null,
        host: 'hooks.example.com:8443',
        failurePolicy: 'Fail',
        timeoutSeconds: 10,
      },
      {
        kind: 'validating',
        configuration: 'policy',
        name: 'a.example.com',
        service: { namespace: 'policy', name: 'hook', port: 443 },
        host: null,
        failurePolicy: 'Ignore',
        timeoutSeconds: 3,
      },
      {
        kind: 'validating',
        configuration: 'policy',
        name: 'b.example.com',
        service: { namespace: 'policy', name: 'hook', port: 8443 },
        host: null,
        failurePolicy: 'Fail',
        timeoutSeconds: 10,
      },
    ],
  });
});

test('Warning events of the last hour are kept, the newest first, in either form', async () => {
  const ago = (minutes: number): string => new Date(Date.now() - minutes * 60_000).toISOString();
  const event = (name: string, rest: object): void =>
    void small.api.put(
      object(
        'v1',
        'Event',
        { name: name.toLowerCase(), namespace: 'default' },
        {
          type: 'Warning',
          involvedObject: { kind: 'Pod', namespace: 'default', name: 'web' },
          reason: name,
          message: 'it failed',
          ...rest,
        },
      ),
    );
  const [first, last, once] = [ago(50), ago(5), ago(2)];
  event('Unhealthy', { source: { component: 'kubelet' }, count: 7, firstTimestamp: first, lastTimestamp: last });
  event('Normal', { type: 'Normal', lastTimestamp: last });
  event('Old', { lastTimestamp: ago(61) });
  event('New', { reportingComponent: 'scheduler', eventTime: ago(9), series: { count: 3, lastObservedTime: once } });
  const about = { namespace: 'default', kind: 'Pod', name: 'web', message: 'it failed' };
  expect((await read()).warnings).toEqual([
    { ...about, reason: 'New', source: 'scheduler', count: 3, firstSeen: expect.any(String), lastSeen: once },
    { ...about, reason: 'Unhealthy', source: 'kubelet', count: 7, firstSeen: first, lastSeen: last },
  ]);
});

function fill(count: number): void {
  for (let index = 0; index < count; index += 1)
    small.api.put(object('v1', 'Pod', { name: `pod-${index}`, namespace: 'default' }, { spec: {} }));
}

test('a large list is read page by page', async () => {
  fill(1200);
  expect((await read()).pods).toHaveLength(1201);
  expect(requests.filter((url) => url.startsWith('/api/v1/pods')).map((url) => url.replace(/continue=.*/, 'continue'))).toEqual([
    '/api/v1/pods?limit=500',
    '/api/v1/pods?limit=500&continue',
    '/api/v1/pods?limit=500&continue',
  ]);
});

test('a list whose continue token expires half-way is read again from its beginning', async () => {
  await small.close();
  let pages = 0;
  small = await createSmallCluster({
    nodes: 1,
    onRequest({ url }) {
      if (!url.startsWith('/api/v1/pods')) return;
      pages += 1;
      if (pages === 2) small.api.compact();
    },
  });
  await writeFile(join(directory, 'config'), small.api.kubeconfig(ADMIN_TOKEN));
  fill(700);
  await cluster.close();
  cluster = connect();
  expect((await read()).pods).toHaveLength(701);
  expect(pages).toBe(4);
});

test('what is forbidden or fails is a gap with its reason, and the rest is there', async () => {
  small.api.setFaults({
    reads: [
      { resource: 'pods', kind: 'status', code: 403 },
      { resource: 'networkpolicies', kind: 'status', code: 403 },
      { resource: 'configmaps', kind: 'status', code: 403 },
      { resource: 'version', kind: 'status', code: 403 },
    ],
  });
  const inventory = await read();
  expect([inventory.nodes.length, inventory.version, inventory.configs]).toEqual([1, 'unknown', {}]);
  expect(inventory.gaps).toEqual([
    { what: 'configmap kube-flannel/kube-flannel-cfg', reason: 'configmaps is forbidden' },
    { what: 'configmap kube-system/coredns', reason: 'configmaps is forbidden' },
    { what: 'configmap kube-system/kube-flannel-cfg', reason: 'configmaps is forbidden' },
    { what: 'configmap kube-system/kube-proxy', reason: 'configmaps is forbidden' },
    { what: 'networkpolicies', reason: 'networkpolicies is forbidden' },
    { what: 'pods', reason: 'pods is forbidden' },
    { what: 'version', reason: 'version is forbidden' },
  ]);
});

test('without nodes there is no inventory', async () => {
  small.api.setFaults({ reads: [{ resource: 'nodes', kind: 'status', code: 403 }] });
  expect(await cluster.inventory(AbortSignal.timeout(5000))).toEqual({
    ok: false,
    fault: { kind: 'forbidden', message: 'no nodes could be read: nodes is forbidden' },
  });
});

test.each<[string, Faults['reads'][number]]>([
  ['429', { resource: 'pods', kind: 'status', code: 429, retryAfterSeconds: 0, times: 2 }],
  ['500', { resource: 'pods', kind: 'status', code: 500, times: 1 }],
  ['502 of a proxy', { resource: 'pods', kind: 'html', times: 1 }],
  ['cut answer', { resource: 'pods', kind: 'cut', times: 1 }],
])('a %s that passes is tried again', async (_case, fault) => {
  small.api.setFaults({ reads: [fault] });
  const inventory = await read();
  expect([inventory.pods.length, inventory.gaps]).toEqual([1, []]);
});

test('a server that wants to be left alone for longer than the deadline is left alone', async () => {
  small.api.setFaults({ reads: [{ resource: 'pods', kind: 'status', code: 429, retryAfterSeconds: 60 }] });
  expect((await read()).gaps).toEqual([
    { what: 'pods', reason: 'the server has received too many requests and has asked us to try again later' },
  ]);
  expect(requests.filter((url) => url.startsWith('/api/v1/pods'))).toHaveLength(1);
});

test('a server that stays broken is tried four times', async () => {
  small.api.setFaults({ reads: [{ resource: 'pods', kind: 'status', code: 503, retryAfterSeconds: 0 }] });
  expect((await read()).gaps).toEqual([
    { what: 'pods', reason: 'the API server answered 503: the server is currently unable to handle the request' },
  ]);
  expect(requests.filter((url) => url.startsWith('/api/v1/pods'))).toHaveLength(4);
});

test('one list that hangs costs its own deadline and nothing else', async () => {
  small.api.setFaults({ reads: [{ resource: 'pods', kind: 'hang' }] });
  const impatient = connect(300);
  const { gaps, services, namespaces } = await read(impatient);
  expect([gaps, services.length, namespaces.length]).toEqual([
    [{ what: 'pods', reason: `the API server at ${new URL(small.api.url).host} did not answer in time` }],
    0,
    3,
  ]);
  await impatient.close();
});

test('an object that is not as the API has it is left out and counted', async () => {
  small.api.put(object('v1', 'Service', { name: 'odd', namespace: 'default' }, { spec: { ports: [{ port: 'eighty' }] } }));
  small.api.put(object('v1', 'Service', { name: 'good', namespace: 'default' }, { spec: {} }));
  const { services, gaps } = await read();
  expect(services.map(({ name }) => name)).toEqual(['good']);
  expect(gaps).toEqual([
    { what: 'services', reason: expect.stringMatching(/^1 of 2 could not be read: .*spec\.ports\[0\]\.port/) },
  ]);
});

test('the agent is found without another list, and by its own namespace where all pods may not be listed', async () => {
  await read();
  const listed = requests.length;
  const opened = await cluster.openAgent('node-1', AbortSignal.timeout(5000));
  expect(opened.ok).toBe(true);
  expect(requests.slice(listed).map((url) => url.replace(/\?.*/, ''))).toEqual([
    '/api/v1/namespaces/netcheck-agents/pods/netcheck-agent-1/exec',
  ]);
  small.api.setFaults({ reads: [{ resource: 'pods', kind: 'status', code: 403, times: 1 }] });
  await read();
  expect((await cluster.openAgent('node-1', AbortSignal.timeout(5000))).ok).toBe(true);
  small.api.setFaults({ reads: [{ resource: 'pods', kind: 'status', code: 403 }] });
  await read();
  expect(await cluster.openAgent('node-1', AbortSignal.timeout(5000))).toEqual({
    ok: false,
    fault: { kind: 'forbidden', message: 'the agents could not be listed: pods is forbidden' },
  });
});

test('only a running pod of the DaemonSet is taken for an agent', async () => {
  const impostor = agentPod('node-9', 9);
  const { ownerReferences: _owners, ...metadata } = impostor.metadata;
  small.api.put({ ...impostor, metadata });
  small.api.put(agentPod('node-8', 8, { phase: 'Pending' }));
  small.api.put({
    ...agentPod('node-7', 7),
    metadata: { ...agentPod('node-7', 7).metadata, deletionTimestamp: '2026-01-01T00:00:00Z' },
  });
  await read();
  const faultOn = async (node: string) => {
    const opened = await cluster.openAgent(node, AbortSignal.timeout(5000));
    return opened.ok ? null : opened.fault;
  };
  expect(await faultOn('node-9')).toEqual({
    kind: 'no-agent',
    message: 'no pod of the DaemonSet netcheck-agents/netcheck-agent on node-9',
  });
  expect(await faultOn('node-8')).toEqual({
    kind: 'no-agent',
    message: 'the agent netcheck-agents/netcheck-agent-8 on node-8 is Pending',
  });
  expect(await faultOn('node-7')).toEqual({
    kind: 'no-agent',
    message: 'the agent netcheck-agents/netcheck-agent-7 on node-7 is being deleted',
  });
});

test('an exec that is refused because the server is busy is asked for again', async () => {
  await read();
  small.api.setFaults({ exec: [{ kind: 'throttled', retryAfterSeconds: 0, times: 2 }] });
  expect((await cluster.openAgent('node-1', AbortSignal.timeout(5000))).ok).toBe(true);
  small.api.setFaults({ exec: [{ kind: 'throttled', retryAfterSeconds: 60 }] });
  expect(await cluster.openAgent('node-1', AbortSignal.timeout(200))).toMatchObject({
    fault: { kind: 'unreachable', message: expect.stringContaining('too many requests') },
  });
});

test('what CoreDNS logged of trouble is read through the kubelet, and nothing else of it', async () => {
  const log =
    '[INFO] plugin/ready\n[FATAL] plugin/loop: Loop (127.0.0.1:55953 -> :53) detected for zone ".", see https://coredns.io\n';
  const asked: string[] = [];
  const other = await createSmallCluster({
    nodes: 1,
    logs: ({ namespace, name }, container, { sinceSeconds }) => {
      asked.push(`${namespace}/${name} ${container} ${sinceSeconds}`);
      return log;
    },
    objects: ['kube-dns', 'other'].map((app) =>
      object(
        'v1',
        'Pod',
        { namespace: 'kube-system', name: `pod-${app}`, labels: { 'k8s-app': app } },
        {
          spec: { nodeName: 'node-1', containers: [{ name: 'coredns' }] },
          status: {
            phase: 'Running',
            containerStatuses: [{ name: 'coredns', ready: true, restartCount: 0, state: { running: {} } }],
          },
        },
      ),
    ),
  });
  await writeFile(join(directory, 'config'), other.api.kubeconfig(ADMIN_TOKEN));
  const connected = connect();
  const { logs, gaps } = await read(connected);
  await connected.close();
  await other.close();
  expect({ asked, logs, gaps }).toEqual({
    asked: ['kube-system/pod-kube-dns coredns 3600'],
    logs: [
      {
        namespace: 'kube-system',
        pod: 'pod-kube-dns',
        container: 'coredns',
        lines: [{ text: 'plugin/loop: Loop (127.0.0.1 -> :53) detected for zone "."', count: 1 }],
      },
    ],
    gaps: [],
  });
});
