import { z } from 'zod';

/** Something that a sentence can name: a Kubernetes object, or an address with no object of its own. */
export const Entity = z.strictObject({
  kind: z.enum(['Cluster', 'Node', 'Pod', 'Service', 'DaemonSet', 'Deployment', 'NetworkPolicy', 'Address']),
  name: z.string(),
  namespace: z.string().optional(),
});
export type Entity = z.infer<typeof Entity>;

/** `node-1`, `kube-system/coredns-1`: how an entity is written in a sentence and in a key. */
export function entityName(entity: Entity): string {
  return entity.namespace === undefined ? entity.name : `${entity.namespace}/${entity.name}`;
}

/** A key that is unique among entities of all kinds. */
export function entityKey(entity: Entity): string {
  return `${entity.kind}:${entityName(entity)}`;
}

/** The entity of a node. */
export function nodeEntity(name: string): Entity {
  return { kind: 'Node', name };
}

/** The entity of a pod. */
export function podEntity(namespace: string, name: string): Entity {
  return { kind: 'Pod', namespace, name };
}
