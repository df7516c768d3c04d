import { z } from 'zod';

/** A container port of a pod, or a port of an endpoint. */
export const Port = z.strictObject({
  name: z.string().optional(),
  port: z.number().int(),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']),
});
export type Port = z.infer<typeof Port>;

/** A Node, reduced to what a diagnosis needs. `ip` is the InternalIP; `podCIDRs` is spec.podCIDRs, IPv4 and IPv6. */
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
});
export type Node = z.infer<typeof Node>;

/** A Pod, reduced likewise. `node` and `ip` are null until it is scheduled and has an address. */
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

/** One address behind a Service, from its EndpointSlices. `ports` are the resolved target ports. */
export const Endpoint = z.strictObject({
  namespace: z.string(),
  service: z.string(),
  ip: z.string(),
  ports: z.array(Port),
  ready: z.boolean(),
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

/** A part of the inventory that could not be read: what, and the API's reason. */
export const InventoryGap = z.strictObject({ what: z.string(), reason: z.string() });
export type InventoryGap = z.infer<typeof InventoryGap>;

/**
 * What the API server said of the cluster when the run began. `configs` holds the few ConfigMaps that are read by name,
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
  gaps: z.array(InventoryGap),
});
export type Inventory = z.infer<typeof Inventory>;
