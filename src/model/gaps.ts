import type { NotChecked } from './verdict.ts';

/** What a gap is said to be at when it concerns the whole cluster, or names no node: `cluster`, `Kubernetes API`. */
const EVERYWHERE = /^(cluster|the cluster|kube-system)$|[^a-z0-9.-]/;

/** Whether something that was not checked may hide what is at one of these places, or, where none is named, anywhere. Pure. */
export function mayHide(gaps: readonly NotChecked[], places: readonly string[]): boolean {
  if (places.length === 0) return gaps.length > 0;
  return gaps.some(({ where }) => where.split(', ').some((name) => places.includes(name) || EVERYWHERE.test(name)));
}
