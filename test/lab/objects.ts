import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { KubeObject, object } from './api/objects.ts';
import { PROJECT } from './rack.ts';
import { CLUSTER, type LabNode, type LabPod, type NetworkKind, podsOf, RACK, type Topology } from './topology.ts';

/*
 * The Kubernetes objects of a lab, as kubeadm, flannel and the controllers leave them in a cluster of this shape.
 */

const VERSION = 'v1.35.0';

/** Every object that the API server of a lab starts with. `at` is when they all were created. */
export function labObjects(topology: Topology, at: Date, hasRemedies: boolean): KubeObject[] {
  const created = `${at.toISOString().slice(0, 19)}Z`;
  const owners = ownerUids(topology);
  return [
    ...['default', 'kube-system', 'kube-public', 'kube-node-lease', 'kube-flannel', CLUSTER.agentNamespace].map((name) =>
      object('v1', 'Namespace', { name, labels: { 'kubernetes.io/metadata.name': name } }, { status: { phase: 'Active' } }),
    ),
    ...topology.nodes.map((node) => nodeObject(topology, node, created)),
    ...daemonSets(topology, owners),
    ...coreDns(topology, owners),
    ...topology.pods.map((pod) => podObject(topology, pod, owners, created, hasRemedies)),
    ...services(),
    ...endpointSlices(topology),
    ...configMaps(topology),
    ...accessRules(hasRemedies),
  ].map((item) => ({ ...item, metadata: { uid: randomUUID(), creationTimestamp: created, ...item.metadata } }));
}

/** The user that netcheck is in a cluster: its worker, or with remedies the one that may do all that the worker may. */
export function workerUser(hasRemedies: boolean): string {
  return `system:serviceaccount:netcheck:netcheck-${hasRemedies ? 'remediation' : 'worker'}`;
}

function nodeObject({ network }: Topology, node: LabNode, created: string): KubeObject {
  const condition = (type: string, status: string, reason: string, message: string): object => ({
    type,
    status,
    reason,
    message,
    lastHeartbeatTime: created,
    lastTransitionTime: created,
  });
  return object(
    'v1',
    'Node',
    {
      name: node.name,
      uid: node.uid,
      labels: {
        'beta.kubernetes.io/arch': 'amd64',
        'beta.kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'amd64',
        'kubernetes.io/hostname': node.name,
        'kubernetes.io/os': 'linux',
      },
      annotations: {
        ...flannelAnnotations(network, node),
        'node.alpha.kubernetes.io/ttl': '0',
        'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
      },
    },
    {
      spec: {
        podCIDR: node.podCIDR,
        podCIDRs: [node.podCIDR],
        ...(network === 'kubenet' ? { providerID: `gce://netcheck-lab/europe-west1-b/${node.name}` } : {}),
      },
      status: {
        addresses: [
          { type: 'InternalIP', address: node.ip },
          { type: 'Hostname', address: node.name },
        ],
        allocatable: { cpu: '2', memory: '4Gi', pods: '110' },
        capacity: { cpu: '2', memory: '4Gi', pods: '110' },
        conditions: [
          network === 'kubenet'
            ? condition('NetworkUnavailable', 'False', 'RouteCreated', 'RouteController created a route')
            : condition('NetworkUnavailable', 'False', 'FlannelIsUp', 'Flannel is running on this node'),
          condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
          condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
          condition('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
          condition('Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'),
        ],
        daemonEndpoints: { kubeletEndpoint: { Port: CLUSTER.kubeletPort } },
        nodeInfo: {
          architecture: 'amd64',
          containerRuntimeVersion: 'containerd://2.1.4',
          kernelVersion: '6.12.0',
          kubeProxyVersion: '',
          kubeletVersion: VERSION,
          machineID: node.uid.replaceAll('-', ''),
          operatingSystem: 'linux',
          osImage: 'Debian GNU/Linux 12 (bookworm)',
        },
      },
    },
  );
}

/** As flanneld writes them: pkg/subnet/kube/annotations.go, and vxlanLeaseAttrs of pkg/backend/vxlan/vxlan.go. */
function flannelAnnotations(network: NetworkKind, node: LabNode): Record<string, string> {
  if (network === 'kubenet') return {};
  const data = network === 'vxlan' ? { VNI: CLUSTER.vxlan.vni, VtepMAC: node.vtepMac } : null;
  return {
    'flannel.alpha.coreos.com/backend-data': JSON.stringify(data),
    'flannel.alpha.coreos.com/backend-type': network,
    'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
    'flannel.alpha.coreos.com/public-ip': node.ip,
  };
}

/** The labels of a pod by the name of its owner; a DaemonSet selects by the same. */
function labelsOf(owner: string): Record<string, string> {
  switch (owner) {
    case 'kube-proxy':
      return { 'k8s-app': 'kube-proxy' };
    case 'kube-flannel-ds':
      return { app: 'flannel', tier: 'node', 'k8s-app': 'flannel' };
    case 'netcheck-agent':
    case 'netcheck-probe':
      return { 'app.kubernetes.io/name': owner, 'app.kubernetes.io/part-of': 'netcheck' };
    case 'web':
    case 'client':
      return { app: owner };
    default:
      return { 'k8s-app': 'kube-dns' };
  }
}

const IMAGES: Readonly<Record<string, string>> = {
  web: 'registry.example/web:1.0',
  client: 'registry.example/client:1.0',
  probe: 'registry.example/netcheck-agent:0.1.0',
  agent: 'registry.example/netcheck-agent:0.1.0',
  'kube-flannel': 'ghcr.io/flannel-io/flannel:v0.27.4',
  'kube-proxy': `registry.k8s.io/kube-proxy:${VERSION}`,
  coredns: 'registry.k8s.io/coredns/coredns:v1.13.1',
};

function containerOf(pod: LabPod): object {
  const ports: Record<string, readonly object[]> = {
    web: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    probe: [{ name: 'probe', containerPort: CLUSTER.probePort, protocol: 'TCP' }],
    client: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    coredns: [
      { name: 'dns', containerPort: 53, protocol: 'UDP' },
      { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
      { name: 'metrics', containerPort: 9153, protocol: 'TCP' },
    ],
  };
  return {
    name: pod.container,
    image: IMAGES[pod.container],
    ...(ports[pod.role] === undefined ? {} : { ports: ports[pod.role] }),
    ...(pod.role === 'host' ? { securityContext: { privileged: true } } : {}),
  };
}

function ownerUids(topology: Topology): ReadonlyMap<string, string> {
  return new Map(topology.pods.map((pod) => [pod.owner.name, randomUUID()]));
}

function podObject(
  topology: Topology,
  pod: LabPod,
  owners: ReadonlyMap<string, string>,
  created: string,
  hasRemedies: boolean,
): KubeObject {
  const isDaemon = pod.owner.kind === 'DaemonSet';
  const agent = containerOf(pod);
  const containers = pod.container === 'agent' && hasRemedies ? [agent, { ...agent, name: 'remedy' }] : [agent];
  const hostIP = topology.nodes.find((node) => node.name === pod.node)?.ip;
  return object(
    'v1',
    'Pod',
    {
      name: pod.name,
      namespace: pod.namespace,
      uid: pod.uid,
      labels: {
        ...labelsOf(pod.owner.name),
        ...(isDaemon
          ? { 'controller-revision-hash': '6d5f8c7b9', 'pod-template-generation': '1' }
          : { 'pod-template-hash': '7db6d8ff4d' }),
      },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: pod.owner.kind,
          name: pod.owner.name,
          uid: owners.get(pod.owner.name),
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    {
      spec: {
        nodeName: pod.node,
        serviceAccountName: 'default',
        restartPolicy: 'Always',
        dnsPolicy: pod.role === 'host' || pod.role === 'coredns' ? 'Default' : 'ClusterFirst',
        ...(pod.network === null ? { hostNetwork: true, hostPID: pod.container === 'agent' } : {}),
        containers,
        tolerations: isDaemon ? [{ operator: 'Exists' }] : [],
      },
      status: {
        phase: 'Running',
        conditions: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
          type,
          status: 'True',
          lastTransitionTime: created,
        })),
        hostIP,
        hostIPs: [{ ip: hostIP }],
        podIP: pod.ip,
        podIPs: [{ ip: pod.ip }],
        startTime: created,
        qosClass: 'BestEffort',
        containerStatuses: [
          {
            name: pod.container,
            image: IMAGES[pod.container],
            imageID: '',
            containerID: `containerd://${pod.containerId}`,
            ready: true,
            started: true,
            restartCount: 0,
            state: { running: { startedAt: created } },
          },
        ],
      },
    },
  );
}

function daemonSets(topology: Topology, owners: ReadonlyMap<string, string>): KubeObject[] {
  const count = topology.nodes.length;
  const samples = topology.pods.filter((pod) => pod.owner.kind === 'DaemonSet' && pod.node === topology.nodes[0]?.name);
  return samples.map((pod) =>
    object(
      'apps/v1',
      'DaemonSet',
      {
        name: pod.owner.name,
        namespace: pod.namespace,
        uid: owners.get(pod.owner.name) ?? '',
        labels: labelsOf(pod.owner.name),
        generation: 1,
      },
      {
        spec: {
          selector: { matchLabels: labelsOf(pod.owner.name) },
          template: {
            metadata: { labels: labelsOf(pod.owner.name) },
            spec: {
              ...(pod.network === null ? { hostNetwork: true } : {}),
              containers: [containerOf(pod)],
              tolerations: [{ operator: 'Exists' }],
            },
          },
          updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
        },
        status: {
          currentNumberScheduled: count,
          desiredNumberScheduled: count,
          numberAvailable: count,
          numberMisscheduled: 0,
          numberReady: count,
          observedGeneration: 1,
          updatedNumberScheduled: count,
        },
      },
    ),
  );
}

function coreDns(topology: Topology, owners: ReadonlyMap<string, string>): KubeObject[] {
  const [pod] = podsOf(topology, 'coredns');
  if (pod === undefined) return [];
  const labels = labelsOf(pod.owner.name);
  const template = { metadata: { labels }, spec: { dnsPolicy: 'Default', containers: [containerOf(pod)] } };
  const status = { replicas: 2, readyReplicas: 2, availableReplicas: 2, observedGeneration: 1 };
  const deploymentUid = randomUUID();
  return [
    object(
      'apps/v1',
      'Deployment',
      { name: 'coredns', namespace: 'kube-system', uid: deploymentUid, labels, generation: 1 },
      { spec: { replicas: 2, selector: { matchLabels: labels }, template }, status: { ...status, updatedReplicas: 2 } },
    ),
    object(
      'apps/v1',
      'ReplicaSet',
      {
        name: pod.owner.name,
        namespace: 'kube-system',
        uid: owners.get(pod.owner.name) ?? '',
        labels,
        generation: 1,
        ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'coredns', uid: deploymentUid, controller: true }],
      },
      { spec: { replicas: 2, selector: { matchLabels: labels }, template }, status },
    ),
  ];
}

const DNS_PORTS = [
  { name: 'dns', port: 53, protocol: 'UDP' },
  { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  { name: 'metrics', port: 9153, protocol: 'TCP' },
] as const;

function services(): KubeObject[] {
  const service = (
    namespace: string,
    name: string,
    clusterIP: string,
    ports: readonly object[],
    selector: Record<string, string> | null,
    labels: Record<string, string>,
  ): KubeObject =>
    object(
      'v1',
      'Service',
      { name, namespace, labels },
      {
        spec: {
          type: 'ClusterIP',
          clusterIP,
          clusterIPs: [clusterIP],
          internalTrafficPolicy: 'Cluster',
          ipFamilies: ['IPv4'],
          ipFamilyPolicy: 'SingleStack',
          ports,
          sessionAffinity: 'None',
          ...(selector === null ? {} : { selector }),
        },
        status: { loadBalancer: {} },
      },
    );
  const https = { name: 'https', port: 443, protocol: 'TCP', targetPort: CLUSTER.apiPort };
  const http = { name: 'http', port: 80, protocol: 'TCP', targetPort: 'http' };
  return [
    service('default', 'kubernetes', CLUSTER.apiService, [https], null, { component: 'apiserver', provider: 'kubernetes' }),
    service('default', 'web', CLUSTER.webService, [http], { app: 'web' }, { app: 'web' }),
    service(
      'kube-system',
      'kube-dns',
      CLUSTER.dnsService,
      DNS_PORTS.map((port) => ({ ...port, targetPort: port.port })),
      { 'k8s-app': 'kube-dns' },
      { 'k8s-app': 'kube-dns', 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'CoreDNS' },
    ),
  ];
}

function endpointSlices(topology: Topology): KubeObject[] {
  const slice = (
    namespace: string,
    service: string,
    name: string,
    endpoints: readonly object[],
    ports: readonly object[],
  ): KubeObject =>
    object(
      'discovery.k8s.io/v1',
      'EndpointSlice',
      { name, namespace, labels: { 'kubernetes.io/service-name': service } },
      { addressType: 'IPv4', endpoints, ports },
    );
  const ready = { ready: true, serving: true, terminating: false };
  const endpoint = (pod: LabPod): object => ({
    addresses: [pod.ip],
    conditions: ready,
    nodeName: pod.node,
    targetRef: { kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid },
  });
  const api = { addresses: [RACK.controlPlane.ip], conditions: { ready: true } };
  return [
    slice('default', 'kubernetes', 'kubernetes', [api], [{ name: 'https', port: CLUSTER.apiPort, protocol: 'TCP' }]),
    slice('kube-system', 'kube-dns', 'kube-dns-x7k2p', podsOf(topology, 'coredns').map(endpoint), DNS_PORTS),
    // The controller puts at most 100 endpoints into a slice.
    ...chunks(podsOf(topology, 'web'), 100).map((pods, index) =>
      slice('default', 'web', `web-${'abcdefghij'[index]}5r8w`, pods.map(endpoint), [
        { name: 'http', port: 8080, protocol: 'TCP' },
      ]),
    ),
  ];
}

function configMaps(topology: Topology): KubeObject[] {
  const config = (namespace: string, name: string, data: Record<string, string>): KubeObject =>
    object('v1', 'ConfigMap', { name, namespace }, { data });
  return [
    ...(topology.network === 'kubenet'
      ? []
      : [
          config('kube-flannel', 'kube-flannel-cfg', {
            'cni-conf.json': JSON.stringify({
              name: 'cbr0',
              cniVersion: '0.3.1',
              plugins: [
                { type: 'flannel', delegate: { hairpinMode: true, isDefaultGateway: true } },
                { type: 'portmap', capabilities: { portMappings: true } },
              ],
            }),
            'net-conf.json': JSON.stringify({
              Network: topology.clusterCIDR,
              EnableNFTables: false,
              Backend: { Type: topology.network },
            }),
          }),
        ]),
    config('kube-system', 'coredns', {
      Corefile: `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes ${CLUSTER.domain} in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
`,
    }),
    config('kube-system', 'kube-proxy', {
      'config.conf': `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: ${topology.clusterCIDR}
mode: iptables
`,
    }),
    config('kube-system', 'kubeadm-config', {
      ClusterConfiguration: `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: kubernetes
controlPlaneEndpoint: ${RACK.controlPlane.ip}:${CLUSTER.apiPort}
kubernetesVersion: ${VERSION}
networking:
  dnsDomain: ${CLUSTER.domain}
  podSubnet: ${topology.clusterCIDR}
  serviceSubnet: ${CLUSTER.serviceCIDR}
`,
    }),
  ];
}

const ACCESS = /^(Cluster)?Role(Binding)?$|^ValidatingAdmissionPolicy/;

/** Rights and admission policies as they are installed. */
function accessRules(hasRemedies: boolean): KubeObject[] {
  const file = join(PROJECT, 'deploy/rendered', hasRemedies ? 'production.yaml' : 'read-only.yaml');
  return parseAllDocuments(readFileSync(file, 'utf8'))
    .map((document) => KubeObject.parse(document.toJS()))
    .filter(({ kind }) => ACCESS.test(kind));
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size));
}
