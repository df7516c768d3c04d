import { z } from 'zod';

/** A container port of a pod, or a port of an endpoint. */
export const Port = z.strictObject({
  name: z.string().optional(),
  port: z.number().int(),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']),
});
export type Port = z.infer<typeof Port>;

/*
 * Whatever a bundle of an earlier version does not have gets the value that says nothing: an empty list, null, ''.
 */

/** A condition of a Node or Pod. `since` is its lastTransitionTime, or null. */
export const Condition = z.strictObject({
  type: z.string(),
  status: z.string(),
  reason: z.string(),
  message: z.string(),
  since: z.string().nullable(),
});
export type Condition = z.infer<typeof Condition>;

/**
 * A Node, reduced to what a diagnosis needs. `ip` is the InternalIP; `podCIDRs` is spec.podCIDRs, IPv4 and IPv6;
 * `kubelet`, `kernel` and `runtime` are versions as the kubelet reports them.
 */
export const Node = z.strictObject({
  name: z.string(),
  uid: z.string(),
  ip: z.string().nullable(),
  podCIDRs: z.array(z.string()),
  ready: z.enum(['True', 'False', 'Unknown']),
  os: z.string(),
  unschedulable: z.boolean(),
  kubeletPort: z.number().int(),
  annotations: z.record(z.string(), z.string()),
  labels: z.record(z.string(), z.string()),
  providerID: z.string().nullable(),
  conditions: z.array(Condition).default([]),
  kubelet: z.string().default(''),
  kernel: z.string().default(''),
  runtime: z.string().default(''),
});
export type Node = z.infer<typeof Node>;

/** A probe that the kubelet makes of a container. `port` is a number or the name of a container port, null for `exec`. */
export const ProbeSpec = z.strictObject({
  kind: z.enum(['http', 'tcp', 'grpc', 'exec']),
  port: z.union([z.int(), z.string()]).nullable(),
  path: z.string().nullable(),
  timeoutSeconds: z.number(),
  periodSeconds: z.number(),
  failureThreshold: z.number(),
});
export type ProbeSpec = z.infer<typeof ProbeSpec>;

/** How a container ended. `id` as in `Container`. */
export const Ended = z.strictObject({
  id: z.string().nullable(),
  reason: z.string(),
  exitCode: z.int(),
  at: z.string().nullable(),
});
export type Ended = z.infer<typeof Ended>;

/**
 * A container of a pod. `id` is its runtime's, without `containerd://`; `reason` says why it is not running
 * (CrashLoopBackOff, OOMKilled, Completed …), '' while it runs; `last` is how it ended before its last restart.
 * `preStop` is null without such a hook, else its kind and how long it lasts, where that can be known (`sleep 15`).
 * `flags` are those of its command line that checks ask for, by name; a command line may hold secrets, so that nothing else
 * of it is kept.
 */
export const Container = z.strictObject({
  name: z.string(),
  kind: z.enum(['container', 'init', 'ephemeral']),
  id: z.string().nullable(),
  image: z.string(),
  state: z.enum(['running', 'waiting', 'terminated', 'unknown']),
  reason: z.string(),
  message: z.string(),
  ready: z.boolean(),
  restarts: z.int(),
  startedAt: z.string().nullable(),
  last: Ended.nullable(),
  readiness: ProbeSpec.nullable(),
  liveness: ProbeSpec.nullable(),
  startup: ProbeSpec.nullable(),
  preStop: z.strictObject({ kind: z.string(), seconds: z.number().nullable() }).nullable(),
  flags: z.record(z.string(), z.string()).optional(),
});
export type Container = z.infer<typeof Container>;

/** spec.dnsConfig of a pod. */
export const DnsConfig = z.strictObject({
  nameservers: z.array(z.string()),
  searches: z.array(z.string()),
  options: z.array(z.string()),
});
export type DnsConfig = z.infer<typeof DnsConfig>;

/**
 * A Pod, reduced likewise. `node` and `ip` are null until it is scheduled and has an address. `owner` is its controller
 * (a ReplicaSet), `workload` what people know it by (the Deployment); both null for a bare pod. Of its conditions those
 * are kept that are not True, and Ready; `deleteBy` is its deletionTimestamp: when it should be gone.
 */
export const Pod = z.strictObject({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  node: z.string().nullable(),
  ip: z.string().nullable(),
  hostNetwork: z.boolean(),
  phase: z.string(),
  ready: z.boolean(),
  terminating: z.boolean(),
  labels: z.record(z.string(), z.string()),
  owner: z.strictObject({ kind: z.string(), name: z.string() }).nullable(),
  ports: z.array(Port),
  workload: z.strictObject({ kind: z.string(), name: z.string() }).nullable().default(null),
  containers: z.array(Container).default([]),
  conditions: z.array(Condition).default([]),
  startedAt: z.string().nullable().default(null),
  deleteBy: z.string().nullable().default(null),
  graceSeconds: z.number().default(30),
  dnsPolicy: z.string().default(''),
  dnsConfig: DnsConfig.nullable().default(null),
  runtimeClass: z.string().nullable().default(null),
});
export type Pod = z.infer<typeof Pod>;

/** A Service. `clusterIP` is null for a headless one; `targetPort` is a number or the name of a container port. */
export const Service = z.strictObject({
  namespace: z.string(),
  name: z.string(),
  type: z.string(),
  clusterIP: z.string().nullable(),
  selector: z.record(z.string(), z.string()),
  ports: z.array(Port.extend({ targetPort: z.union([z.number().int(), z.string()]) })),
});
export type Service = z.infer<typeof Service>;

/**
 * One address behind a Service, from its EndpointSlices. `ports` are the resolved target ports; `terminating` and
 * `serving` are the conditions of an endpoint whose pod is being deleted.
 */
export const Endpoint = z.strictObject({
  namespace: z.string(),
  service: z.string(),
  ip: z.string(),
  ports: z.array(Port),
  ready: z.boolean(),
  serving: z.boolean().default(true),
  terminating: z.boolean().default(false),
  node: z.string().nullable(),
  pod: z.string().nullable(),
});
export type Endpoint = z.infer<typeof Endpoint>;

/** A label selector, as in the Kubernetes API. */
export const LabelSelector = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).optional(),
  matchExpressions: z
    .array(z.strictObject({ key: z.string(), operator: z.string(), values: z.array(z.string()).optional() }))
    .optional(),
});
export type LabelSelector = z.infer<typeof LabelSelector>;

/** A peer of a NetworkPolicy rule: pods, namespaces, or an address block. */
export const PolicyPeer = z.strictObject({
  podSelector: LabelSelector.optional(),
  namespaceSelector: LabelSelector.optional(),
  ipBlock: z.strictObject({ cidr: z.string(), except: z.array(z.string()) }).optional(),
});
export type PolicyPeer = z.infer<typeof PolicyPeer>;

/** A rule of a NetworkPolicy. Empty `peers` or `ports` allow all of them, as in the API. */
export const PolicyRule = z.strictObject({
  peers: z.array(PolicyPeer),
  ports: z.array(
    z.strictObject({
      protocol: z.string(),
      port: z.union([z.number().int(), z.string()]).nullable(),
      endPort: z.number().int().nullable(),
    }),
  ),
});
export type PolicyRule = z.infer<typeof PolicyRule>;

/** A NetworkPolicy. `ingress` or `egress` is null when the policy does not restrict that direction. */
export const NetworkPolicy = z.strictObject({
  namespace: z.string(),
  name: z.string(),
  podSelector: LabelSelector,
  ingress: z.array(PolicyRule).nullable(),
  egress: z.array(PolicyRule).nullable(),
});
export type NetworkPolicy = z.infer<typeof NetworkPolicy>;

/**
 * A webhook that the API server calls before it takes in an object, from a Mutating- or ValidatingWebhookConfiguration. It is
 * a port of a Service or the host of a URL. Where it does not answer, `Fail` refuses the request and `Ignore` lets it pass.
 */
export const Webhook = z.strictObject({
  kind: z.enum(['mutating', 'validating']),
  configuration: z.string(),
  name: z.string(),
  service: z.strictObject({ namespace: z.string(), name: z.string(), port: z.int() }).nullable(),
  host: z.string().nullable(),
  failurePolicy: z.enum(['Fail', 'Ignore']),
  timeoutSeconds: z.number(),
});
export type Webhook = z.infer<typeof Webhook>;

/** A recent Event of type Warning: what it is about, and how often it was seen. Times are RFC 3339. */
export const Warning = z.strictObject({
  namespace: z.string(),
  kind: z.string(),
  name: z.string(),
  reason: z.string(),
  message: z.string(),
  source: z.string(),
  count: z.int(),
  firstSeen: z.string().nullable(),
  lastSeen: z.string(),
});
export type Warning = z.infer<typeof Warning>;

/**
 * What a container logged lately, as far as it is of a known kind: each line once, with how often it is there, reduced on
 * reading to what says nothing of who asked for what.
 */
export const PodLog = z.strictObject({
  namespace: z.string(),
  pod: z.string(),
  container: z.string(),
  lines: z.array(z.strictObject({ text: z.string(), count: z.int() })),
});
export type PodLog = z.infer<typeof PodLog>;

/** A part of the inventory that could not be read: what, and the API's reason. */
export const InventoryGap = z.strictObject({ what: z.string(), reason: z.string() });
export type InventoryGap = z.infer<typeof InventoryGap>;

/**
 * What the API server said of the cluster when the run began, at `readAt` by the worker's clock ('' in old bundles).
 * `warnings` are the Warning events of the last hour, the newest first; `logs` those of CoreDNS that told of trouble. `configs` holds the few ConfigMaps that are read by name,
 * keyed `NAMESPACE/NAME`, with their data; `apiServer` is the address that the worker dials; `agentNamespace` is where
 * the agents and netcheck's own probe pods live.
 */
export const Inventory = z.strictObject({
  cluster: z.string(),
  apiServer: z.string(),
  version: z.string(),
  agentNamespace: z.string(),
  nodes: z.array(Node),
  pods: z.array(Pod),
  services: z.array(Service),
  endpoints: z.array(Endpoint),
  policies: z.array(NetworkPolicy),
  namespaces: z.array(z.strictObject({ name: z.string(), labels: z.record(z.string(), z.string()) })),
  configs: z.record(z.string(), z.record(z.string(), z.string())),
  webhooks: z.array(Webhook).default([]),
  warnings: z.array(Warning).default([]),
  logs: z.array(PodLog).default([]),
  readAt: z.string().default(''),
  gaps: z.array(InventoryGap),
});
export type Inventory = z.infer<typeof Inventory>;
