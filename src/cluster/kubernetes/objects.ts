import { z } from 'zod';
import type { Endpoint, LabelSelector, NetworkPolicy, Node, Pod, PolicyPeer, Port, Service } from '../../model/inventory.ts';

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
const Conditions = z.array(z.object({ type: z.string(), status: z.string() })).nullish();
const Protocol = z.enum(['TCP', 'UDP', 'SCTP']).nullish();

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
        nodeInfo: z.object({ operatingSystem: z.string().nullish() }).nullish(),
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
    };
  });

const ContainerPort = z.object({ name: z.string().nullish(), containerPort: z.int(), protocol: Protocol });

export const PodObject = z
  .object({
    metadata: Metadata,
    spec: z.object({
      nodeName: z.string().nullish(),
      hostNetwork: z.boolean().nullish(),
      containers: z.array(z.object({ ports: z.array(ContainerPort).nullish() })).nullish(),
    }),
    status: z.object({ phase: z.string().nullish(), podIP: z.string().nullish(), conditions: Conditions }).nullish(),
  })
  .transform(({ metadata, spec, status }): Pod => {
    const owner = metadata.ownerReferences?.find(({ controller }) => controller === true) ?? metadata.ownerReferences?.[0];
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
      owner: owner === undefined ? null : { kind: owner.kind, name: owner.name },
      ports: (spec.containers ?? []).flatMap(({ ports }) =>
        (ports ?? []).map(({ name, containerPort, protocol }) => portOf(name, containerPort, protocol)),
      ),
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
          conditions: z.object({ ready: z.boolean().nullish() }).nullish(),
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

export const NamespaceObject = z
  .object({ metadata: Metadata })
  .transform(({ metadata }) => ({ name: metadata.name, labels: metadata.labels ?? {} }));

export const ConfigMapObject = z.object({ data: Texts }).transform(({ data }) => data ?? {});

export const VersionObject = z.object({ gitVersion: z.string() }).transform(({ gitVersion }) => gitVersion);

function portOf(name: string | null | undefined, port: number, protocol: Port['protocol'] | null | undefined): Port {
  return { ...(name ? { name } : {}), port, protocol: protocol ?? 'TCP' };
}
