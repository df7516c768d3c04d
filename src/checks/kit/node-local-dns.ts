import type { Inventory, Pod } from '../../model/inventory.ts';

/** The address that NodeLocal DNSCache listens on, as its manifest has it. Source: kubernetes.io, "Using NodeLocal DNSCache". */
export const NODE_LOCAL_DNS = '169.254.20.10';

/** The pods of NodeLocal DNSCache that are there to stay, whatever their state. */
export function cachePods({ pods }: Inventory): readonly Pod[] {
  return pods.filter(
    ({ namespace, labels, phase, terminating }) =>
      namespace === 'kube-system' &&
      labels['k8s-app'] === 'node-local-dns' &&
      (phase === 'Running' || phase === 'Pending' || phase === 'Unknown') &&
      !terminating,
  );
}
