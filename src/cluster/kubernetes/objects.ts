import { z } from 'zod';
import type {
  Condition,
  Container,
  Endpoint,
  LabelSelector,
  NetworkPolicy,
  Node,
  Pod,
  PolicyPeer,
  Port,
  ProbeSpec,
  Service,
  Warning,
  Webhook,
} from '../../model/inventory.ts';

/*
 * The objects of the API, reduced to what the inventory holds. Everything that the API leaves out when it is empty is
 * optional here; what is not named here is dropped while parsing.
 */

const Texts = z.record(z.string(), z.string()).nullish();
const Metadata = z.object({
  name: z.string(),
  namespace: z.string().nullish(),
  uid: z.string().nullish(),
  labels: Texts,
  annotations: Texts,
  deletionTimestamp: z.string().nullish(),
  ownerReferences: z.array(z.object({ kind: z.string(), name: z.string(), controller: z.boolean().nullish() })).nullish(),
});
const Text = z.string().nullish();
const Conditions = z
  .array(
    z.object({ type: z.string(), status: z.string(), reason: Text, message: Text, lastTransitionTime: Text }).transform(
      ({ type, status, reason, message, lastTransitionTime }): Condition => ({
        type,
        status,
        reason: reason ?? '',
        message: shortened(message),
        since: lastTransitionTime ?? null,
      }),
    ),
  )
  .nullish();
const Protocol = z.enum(['TCP', 'UDP', 'SCTP']).nullish();

/** Messages are for people: what is longer is a log or a stack, and there may be tens of thousands of pods. */
const MAX_MESSAGE = 300;

function shortened(message: string | null | undefined): string {
  const text = message ?? '';
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}…` : text;
}

export const NodeObject = z
  .object({
    metadata: Metadata,
    spec: z
      .object({
        podCIDR: z.string().nullish(),
        podCIDRs: z.array(z.string()).nullish(),
        providerID: z.string().nullish(),
        unschedulable: z.boolean().nullish(),
      })
      .nullish(),
    status: z
      .object({
        addresses: z.array(z.object({ type: z.string(), address: z.string() })).nullish(),
        conditions: Conditions,
        daemonEndpoints: z.object({ kubeletEndpoint: z.object({ Port: z.int() }).nullish() }).nullish(),
        nodeInfo: z
          .object({ operatingSystem: Text, kubeletVersion: Text, kernelVersion: Text, containerRuntimeVersion: Text })
          .nullish(),
      })
      .nullish(),
  })
  .transform(({ metadata, spec, status }): Node => {
    const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status;
    return {
      name: metadata.name,
      uid: metadata.uid ?? '',
      ip: status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? null,
      podCIDRs: spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []),
      ready: ready === 'True' || ready === 'False' ? ready : 'Unknown',
      os: status?.nodeInfo?.operatingSystem ?? metadata.labels?.['kubernetes.io/os'] ?? 'unknown',
      unschedulable: spec?.unschedulable ?? false,
      kubeletPort: status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 10250,
      annotations: metadata.annotations ?? {},
      labels: metadata.labels ?? {},
      providerID: spec?.providerID ?? null,
      conditions: status?.conditions ?? [],
      kubelet: status?.nodeInfo?.kubeletVersion ?? '',
      kernel: status?.nodeInfo?.kernelVersion ?? '',
      runtime: status?.nodeInfo?.containerRuntimeVersion ?? '',
    };
  });

const ContainerPort = z.object({ name: z.string().nullish(), containerPort: z.int(), protocol: Protocol });
const PortRef = z.union([z.int(), z.string()]);
const Exec = z.object({ command: z.array(z.string()).nullish() });

/** Defaults as in the API's documentation of Probe. */
const KubeletProbe = z
  .object({
    httpGet: z.object({ port: PortRef, path: Text }).nullish(),
    tcpSocket: z.object({ port: PortRef }).nullish(),
    grpc: z.object({ port: z.int() }).nullish(),
    timeoutSeconds: z.number().nullish(),
    periodSeconds: z.number().nullish(),
    failureThreshold: z.number().nullish(),
  })
  .transform(({ httpGet, tcpSocket, grpc, timeoutSeconds, periodSeconds, failureThreshold }): ProbeSpec => {
    const kind = httpGet ? 'http' : tcpSocket ? 'tcp' : grpc ? 'grpc' : 'exec';
    return {
      kind,
      port: httpGet?.port ?? tcpSocket?.port ?? grpc?.port ?? null,
      path: httpGet?.path ?? null,
      timeoutSeconds: timeoutSeconds ?? 1,
      periodSeconds: periodSeconds ?? 10,
      failureThreshold: failureThreshold ?? 3,
    };
  })
  .nullish();

/** Of a command only how long it sleeps is kept, where that is all it does or begins with. */
const PreStop = z
  .object({
    exec: Exec.nullish(),
    httpGet: z.unknown().optional(),
    tcpSocket: z.unknown().optional(),
    sleep: z.object({ seconds: z.number() }).nullish(),
  })
  .transform(({ exec, httpGet, tcpSocket, sleep }) => {
    if (sleep) return { kind: 'sleep', seconds: sleep.seconds };
    if (!exec) return { kind: httpGet ? 'http' : tcpSocket ? 'tcp' : 'unknown', seconds: null };
    const seconds = /(?:^|[\s/;])sleep (\d+(?:\.\d+)?)s?(?=$|[\s;&])/.exec((exec.command ?? []).join(' '))?.[1];
    return { kind: 'exec', seconds: seconds === undefined ? null : Number(seconds) };
  });

const ContainerSpec = z.object({
  name: z.string(),
  image: Text,
  command: z.array(z.string()).nullish(),
  args: z.array(z.string()).nullish(),
  ports: z.array(ContainerPort).nullish(),
  readinessProbe: KubeletProbe,
  livenessProbe: KubeletProbe,
  startupProbe: KubeletProbe,
  lifecycle: z.object({ preStop: PreStop.nullish() }).nullish(),
});

const Terminated = z.object({ reason: Text, exitCode: z.int().nullish(), finishedAt: Text, containerID: Text, message: Text });
/** The flags that checks ask for: the ports of NodePorts (kube-apiserver), and how ports are chosen (ip-masq-agent). */
const FLAGS = ['service-node-port-range', 'random-fully'];

/** `--NAME=VALUE`, `--NAME VALUE`, or `--NAME` alone for `true`. */
function flagsOf(words: readonly string[]): Pick<Container, 'flags'> {
  const found = words.flatMap((word, index) => {
    const [, name = '', value] = /^--?([a-z-]+)(?:=(.*))?$/.exec(word) ?? [];
    if (!FLAGS.includes(name)) return [];
    const next = words[index + 1];
    return [[name, value ?? (next === undefined || next.startsWith('-') ? 'true' : next)] as const];
  });
  return found.length === 0 ? {} : { flags: Object.fromEntries(found) };
}

const ContainerStatus = z.object({
  name: z.string(),
  containerID: Text,
  ready: z.boolean().nullish(),
  restartCount: z.int().nullish(),
  state: z
    .object({
      running: z.object({ startedAt: Text }).nullish(),
      waiting: z.object({ reason: Text, message: Text }).nullish(),
      terminated: Terminated.nullish(),
    })
    .nullish(),
  lastState: z.object({ terminated: Terminated.nullish() }).nullish(),
});

function idOf(containerID: string | null | undefined): string | null {
  return containerID ? containerID.replace(/^.*:\/\//, '') : null;
}

function containerOf(
  kind: Container['kind'],
  spec: z.output<typeof ContainerSpec>,
  statuses: readonly z.output<typeof ContainerStatus>[],
): Container {
  const status = statuses.find(({ name }) => name === spec.name);
  const { running, waiting, terminated } = status?.state ?? {};
  const ended = status?.lastState?.terminated;
  return {
    name: spec.name,
    kind,
    id: idOf(status?.containerID),
    image: spec.image ?? '',
    state: running ? 'running' : waiting ? 'waiting' : terminated ? 'terminated' : 'unknown',
    reason: waiting?.reason ?? terminated?.reason ?? '',
    message: shortened(waiting?.message ?? terminated?.message),
    ready: status?.ready ?? false,
    restarts: status?.restartCount ?? 0,
    startedAt: running?.startedAt ?? null,
    last: ended
      ? {
          id: idOf(ended.containerID),
          reason: ended.reason ?? '',
          exitCode: ended.exitCode ?? 0,
          at: ended.finishedAt ?? null,
        }
      : null,
    readiness: spec.readinessProbe ?? null,
    liveness: spec.livenessProbe ?? null,
    startup: spec.startupProbe ?? null,
    preStop: spec.lifecycle?.preStop ?? null,
    ...flagsOf([...(spec.command ?? []), ...(spec.args ?? [])]),
  };
}

/**
 * The workload that people know a pod by: a ReplicaSet that a Deployment made is named after it and the hash that its
 * pods carry as a label. Source: kubernetes pkg/controller/deployment/sync.go, getNewReplicaSet.
 */
function workloadOf(owner: Pod['owner'], labels: Readonly<Record<string, string>>): Pod['workload'] {
  const hash = labels['pod-template-hash'];
  if (owner?.kind !== 'ReplicaSet' || !hash || !owner.name.endsWith(`-${hash}`)) return owner;
  return { kind: 'Deployment', name: owner.name.slice(0, -hash.length - 1) };
}

export const PodObject = z
  .object({
    metadata: Metadata,
    spec: z.object({
      nodeName: z.string().nullish(),
      hostNetwork: z.boolean().nullish(),
      containers: z.array(ContainerSpec).nullish(),
      initContainers: z.array(ContainerSpec).nullish(),
      ephemeralContainers: z.array(ContainerSpec).nullish(),
      terminationGracePeriodSeconds: z.number().nullish(),
      dnsPolicy: Text,
      dnsConfig: z
        .object({
          nameservers: z.array(z.string()).nullish(),
          searches: z.array(z.string()).nullish(),
          options: z.array(z.object({ name: Text, value: Text })).nullish(),
        })
        .nullish(),
      runtimeClassName: Text,
    }),
    status: z
      .object({
        phase: Text,
        podIP: Text,
        startTime: Text,
        conditions: Conditions,
        containerStatuses: z.array(ContainerStatus).nullish(),
        initContainerStatuses: z.array(ContainerStatus).nullish(),
        ephemeralContainerStatuses: z.array(ContainerStatus).nullish(),
      })
      .nullish(),
  })
  .transform(({ metadata, spec, status }): Pod => {
    const controller = metadata.ownerReferences?.find((owner) => owner.controller === true) ?? metadata.ownerReferences?.[0];
    const owner = controller === undefined ? null : { kind: controller.kind, name: controller.name };
    const containers = (spec.containers ?? []).map((container) =>
      containerOf('container', container, status?.containerStatuses ?? []),
    );
    const init = (spec.initContainers ?? []).map((container) =>
      containerOf('init', container, status?.initContainerStatuses ?? []),
    );
    const ephemeral = (spec.ephemeralContainers ?? []).map((container) =>
      containerOf('ephemeral', container, status?.ephemeralContainerStatuses ?? []),
    );
    return {
      namespace: metadata.namespace ?? '',
      name: metadata.name,
      uid: metadata.uid ?? '',
      node: spec.nodeName || null,
      ip: status?.podIP || null,
      hostNetwork: spec.hostNetwork ?? false,
      phase: status?.phase ?? 'Unknown',
      ready: status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false,
      terminating: metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null,
      labels: metadata.labels ?? {},
      owner,
      ports: (spec.containers ?? []).flatMap(({ ports }) =>
        (ports ?? []).map(({ name, containerPort, protocol }) => portOf(name, containerPort, protocol)),
      ),
      workload: workloadOf(owner, metadata.labels ?? {}),
      containers: [...containers, ...init, ...ephemeral],
      conditions: (status?.conditions ?? []).filter(({ type, status: is }) => type === 'Ready' || is !== 'True'),
      startedAt: status?.startTime ?? null,
      deleteBy: metadata.deletionTimestamp ?? null,
      graceSeconds: spec.terminationGracePeriodSeconds ?? 30,
      dnsPolicy: spec.dnsPolicy ?? 'ClusterFirst',
      dnsConfig: spec.dnsConfig
        ? {
            nameservers: spec.dnsConfig.nameservers ?? [],
            searches: spec.dnsConfig.searches ?? [],
            options: (spec.dnsConfig.options ?? []).map(({ name, value }) => (value ? `${name}:${value}` : (name ?? ''))),
          }
        : null,
      runtimeClass: spec.runtimeClassName ?? null,
    };
  });

export const ServiceObject = z
  .object({
    metadata: Metadata,
    spec: z.object({
      type: z.string().nullish(),
      clusterIP: z.string().nullish(),
      selector: Texts,
      ports: z
        .array(
          z.object({
            name: z.string().nullish(),
            port: z.int(),
            protocol: Protocol,
            targetPort: z.union([z.int(), z.string()]).nullish(),
          }),
        )
        .nullish(),
    }),
  })
  .transform(
    ({ metadata, spec }): Service => ({
      namespace: metadata.namespace ?? '',
      name: metadata.name,
      type: spec.type ?? 'ClusterIP',
      clusterIP: spec.clusterIP && spec.clusterIP !== 'None' ? spec.clusterIP : null,
      selector: spec.selector ?? {},
      ports: (spec.ports ?? []).map(({ name, port, protocol, targetPort }) => ({
        ...portOf(name, port, protocol),
        targetPort: targetPort ?? port,
      })),
    }),
  );

/** All endpoints of one slice; none for a slice of host names or of no Service. */
export const EndpointSliceObject = z
  .object({
    metadata: Metadata,
    addressType: z.string().nullish(),
    endpoints: z
      .array(
        z.object({
          addresses: z.array(z.string()),
          conditions: z
            .object({ ready: z.boolean().nullish(), serving: z.boolean().nullish(), terminating: z.boolean().nullish() })
            .nullish(),
          nodeName: z.string().nullish(),
          targetRef: z.object({ kind: z.string().nullish(), name: z.string().nullish() }).nullish(),
        }),
      )
      .nullish(),
    ports: z.array(z.object({ name: z.string().nullish(), port: z.int().nullish(), protocol: Protocol })).nullish(),
  })
  .transform(({ metadata, addressType, endpoints, ports }): readonly Endpoint[] => {
    const service = metadata.labels?.['kubernetes.io/service-name'];
    if (service === undefined || addressType === 'FQDN') return [];
    return (endpoints ?? []).flatMap(({ addresses, conditions, nodeName, targetRef }) =>
      addresses.map((ip) => ({
        namespace: metadata.namespace ?? '',
        service,
        ip,
        ports: (ports ?? []).flatMap(({ name, port, protocol }) => (port ? [portOf(name, port, protocol)] : [])),
        // No condition means ready (the API's own reading).
        ready: conditions?.ready ?? true,
        serving: conditions?.serving ?? conditions?.ready ?? true,
        terminating: conditions?.terminating ?? false,
        node: nodeName ?? null,
        pod: targetRef?.kind === 'Pod' ? (targetRef.name ?? null) : null,
      })),
    );
  });

const Selector = z
  .object({
    matchLabels: Texts,
    matchExpressions: z
      .array(z.object({ key: z.string(), operator: z.string(), values: z.array(z.string()).nullish() }))
      .nullish(),
  })
  .transform(
    ({ matchLabels, matchExpressions }): LabelSelector => ({
      ...(matchLabels && { matchLabels }),
      ...(matchExpressions && {
        matchExpressions: matchExpressions.map(({ key, operator, values }) => ({ key, operator, ...(values && { values }) })),
      }),
    }),
  );

const Peers = z
  .array(
    z
      .object({
        podSelector: Selector.nullish(),
        namespaceSelector: Selector.nullish(),
        ipBlock: z.object({ cidr: z.string(), except: z.array(z.string()).nullish() }).nullish(),
      })
      .transform(
        ({ podSelector, namespaceSelector, ipBlock }): PolicyPeer => ({
          ...(podSelector && { podSelector }),
          ...(namespaceSelector && { namespaceSelector }),
          ...(ipBlock && { ipBlock: { cidr: ipBlock.cidr, except: ipBlock.except ?? [] } }),
        }),
      ),
  )
  .nullish();
const PolicyPorts = z
  .array(
    z
      .object({ protocol: z.string().nullish(), port: z.union([z.int(), z.string()]).nullish(), endPort: z.int().nullish() })
      .transform(({ protocol, port, endPort }) => ({
        protocol: protocol ?? 'TCP',
        port: port ?? null,
        endPort: endPort ?? null,
      })),
  )
  .nullish();

export const NetworkPolicyObject = z
  .object({
    metadata: Metadata,
    spec: z.object({
      podSelector: Selector.nullish(),
      policyTypes: z.array(z.string()).nullish(),
      ingress: z.array(z.object({ from: Peers, ports: PolicyPorts })).nullish(),
      egress: z.array(z.object({ to: Peers, ports: PolicyPorts })).nullish(),
    }),
  })
  .transform(({ metadata, spec }): NetworkPolicy => {
    // Without policyTypes: always ingress, and egress when there are rules for it.
    const types = spec.policyTypes ?? ['Ingress', ...(spec.egress?.length ? ['Egress'] : [])];
    const ingress = (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from ?? [], ports: ports ?? [] }));
    const egress = (spec.egress ?? []).map(({ to, ports }) => ({ peers: to ?? [], ports: ports ?? [] }));
    return {
      namespace: metadata.namespace ?? '',
      name: metadata.name,
      podSelector: spec.podSelector ?? {},
      ingress: types.includes('Ingress') ? ingress : null,
      egress: types.includes('Egress') ? egress : null,
    };
  });

/** Both kinds of configuration; defaults as in admissionregistration.k8s.io/v1. Of a URL its host and port are kept. */
export const WebhookConfigurationObject = z
  .object({
    metadata: Metadata,
    webhooks: z
      .array(
        z.object({
          name: z.string(),
          clientConfig: z.object({
            service: z.object({ namespace: z.string(), name: z.string(), port: z.int().nullish() }).nullish(),
            url: Text,
          }),
          failurePolicy: z.enum(['Fail', 'Ignore']).nullish(),
          timeoutSeconds: z.number().nullish(),
        }),
      )
      .nullish(),
  })
  .transform(({ metadata, webhooks }): readonly Omit<Webhook, 'kind'>[] =>
    (webhooks ?? []).map(({ name, clientConfig: { service, url }, failurePolicy, timeoutSeconds }) => ({
      configuration: metadata.name,
      name,
      service: service ? { namespace: service.namespace, name: service.name, port: service.port ?? 443 } : null,
      host: url && URL.canParse(url) ? new URL(url).host : null,
      failurePolicy: failurePolicy ?? 'Fail',
      timeoutSeconds: timeoutSeconds ?? 10,
    })),
  );

export const NamespaceObject = z
  .object({ metadata: Metadata })
  .transform(({ metadata }) => ({ name: metadata.name, labels: metadata.labels ?? {} }));

/** An Event of either form: the old one has counts and timestamps, the new one eventTime and series. */
export const WarningObject = z
  .object({
    metadata: Metadata.extend({ creationTimestamp: Text }),
    involvedObject: z.object({ kind: Text, namespace: Text, name: Text }),
    reason: Text,
    message: Text,
    source: z.object({ component: Text }).nullish(),
    reportingComponent: Text,
    count: z.int().nullish(),
    firstTimestamp: Text,
    lastTimestamp: Text,
    eventTime: Text,
    series: z.object({ count: z.int().nullish(), lastObservedTime: Text }).nullish(),
  })
  .transform(({ metadata, involvedObject, reason, message, source, series, ...event }): Warning => {
    const created = metadata.creationTimestamp ?? '';
    return {
      namespace: involvedObject.namespace ?? metadata.namespace ?? '',
      kind: involvedObject.kind ?? '',
      name: involvedObject.name ?? '',
      reason: reason ?? '',
      message: shortened(message),
      source: source?.component || event.reportingComponent || '',
      count: event.count ?? series?.count ?? 1,
      firstSeen: event.firstTimestamp || event.eventTime || created || null,
      lastSeen: series?.lastObservedTime || event.lastTimestamp || event.eventTime || created,
    };
  });

export const ConfigMapObject = z.object({ data: Texts }).transform(({ data }) => data ?? {});

export const VersionObject = z.object({ gitVersion: z.string() }).transform(({ gitVersion }) => gitVersion);

function portOf(name: string | null | undefined, port: number, protocol: Port['protocol'] | null | undefined): Port {
  return { ...(name ? { name } : {}), port, protocol: protocol ?? 'TCP' };
}
