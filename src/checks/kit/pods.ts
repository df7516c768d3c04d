import type { Evidence } from '../../model/evidence.ts';
import type { Inventory, Pod } from '../../model/inventory.ts';
import { PodCounters, type PodNamespace, PodState } from '../../model/wire/agent.ts';
import { type Parsed, parseComplete, unknown } from './check.ts';

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
