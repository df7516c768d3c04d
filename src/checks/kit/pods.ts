import type { Evidence } from '../../model/evidence.ts';
import type { Inventory, Pod } from '../../model/inventory.ts';
import { PodCounters, type PodListener, type PodNamespace, PodState } from '../../model/wire/agent.ts';
import { type Parsed, parseComplete, unknown } from './check.ts';
import { isWithin } from './cidr.ts';
import type { Link } from './links.ts';
import type { Route } from './routes.ts';

/** Parses the evidence of `PODS`; anything that was cut or could not be read makes it unknown. */
export function parsePods(evidence: Evidence): Parsed<PodState> {
  const parsed = parseComplete(evidence, (stdout) => PodState.parse(JSON.parse(stdout)));
  if (parsed.outcome !== 'ok') return parsed;
  const [unread] = parsed.facts.namespaces.filter((namespace) => namespace.unread.length > 0);
  if (unread !== undefined) return unknown(`the pod of process ${unread.pid}: ${unread.unread.join(', ')} could not be read`);
  return whole(parsed, parsed.facts.cut);
}

/** Parses the evidence of `POD_COUNTERS`. */
export function parsePodCounters(evidence: Evidence): Parsed<PodCounters> {
  const parsed = parseComplete(evidence, (stdout) => PodCounters.parse(JSON.parse(stdout)));
  return parsed.outcome === 'ok' ? whole(parsed, parsed.facts.cut) : parsed;
}

function whole<F>(parsed: Parsed<F>, cut: readonly string[]): Parsed<F> {
  return cut.length === 0 ? parsed : unknown(`pods: ${cut.join('; ')}`);
}

/** A pod with its network namespace, as it was read on its node. */
export type PodOnNode = { readonly pod: Pod & { readonly ip: string }; readonly namespace: PodNamespace };

/**
 * The running pods of a node that have a network namespace of their own, each with it: found by the uid in the cgroups of
 * its processes; that of a static pod is not the one that the API server knows, so then by its address.
 */
export function podsOn(state: PodState, inventory: Inventory, node: string): readonly PodOnNode[] {
  const byUid = new Map(state.namespaces.flatMap((namespace) => uidsIn(namespace).map((uid) => [uid, namespace] as const)));
  return inventory.pods.flatMap((pod) => {
    if (pod.node !== node || pod.hostNetwork || pod.phase !== 'Running' || pod.ip === null) return [];
    const { ip } = pod;
    const namespace = byUid.get(pod.uid) ?? state.namespaces.find(({ addresses }) => addresses.includes(ip));
    return namespace === undefined ? [] : [{ pod: { ...pod, ip }, namespace }];
  });
}

function uidsIn({ groups }: PodNamespace): readonly string[] {
  return groups.flatMap(({ oldest }) => oldest.uid ?? []);
}

/** How long the oldest process of a pod's namespace has been there, in seconds: what is younger may still be starting. */
export function ageOf({ groups }: PodNamespace): number {
  return Math.max(0, ...groups.map(({ oldest }) => oldest.ageS));
}

/** `NAMESPACE/NAME`. */
export function podName({ namespace, name }: Pick<Pod, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`;
}

/** The other end of a pod's eth0 on its node, with the device in the pod; null where that is no veth pair. */
export function attachmentOf(
  { devices }: PodNamespace,
  links: readonly Link[],
): { readonly inside: PodNamespace['devices'][number]; readonly outside: Link } | null {
  const inside = devices.find(({ name }) => name === 'eth0') ?? devices[0];
  if (inside === undefined || inside.index === null || inside.iflink === null) return null;
  const outside = links.find(({ index, peer, kind }) => kind === 'veth' && index === inside.iflink && peer === inside.index);
  return outside === undefined ? null : { inside, outside };
}

/** The route of the main table that packets to an address take: the longest prefix, then the smallest metric; or null. */
export function routeTo(ip: string, routes: readonly Route[]): Route | null {
  const candidates = routes.flatMap((route) => {
    const block = route.dst === 'default' ? '0.0.0.0/0' : route.dst;
    return route.table === 'main' && isWithin(ip, block) ? [{ route, length: Number(block.split('/')[1] ?? 32) }] : [];
  });
  const [best] = candidates.toSorted((a, b) => b.length - a.length || (a.route.metric ?? 0) - (b.route.metric ?? 0));
  return best?.route ?? null;
}

/** A listening socket in words: `TCP 127.0.0.1:8080 (nginx)`. */
export function listenerText({ proto, ip, port, holder }: PodListener): string {
  const address = ip.includes(':') ? `[${ip}]` : ip;
  return `${proto.toUpperCase()} ${address}:${port}${holder === null ? '' : ` (${holder.comm})`}`;
}
