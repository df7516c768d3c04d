import type { Inventory, Pod, Service } from '../../model/inventory.ts';

/** The cluster's DNS pods that are there to stay, whatever their state: kubeadm, k3s and GKE all label them `k8s-app=kube-dns`. */
export function dnsPods(inventory: Inventory): readonly Pod[] {
  return inventory.pods.filter(
    ({ namespace, labels, phase, terminating }) =>
      namespace === 'kube-system' &&
      labels['k8s-app'] === 'kube-dns' &&
      (phase === 'Running' || phase === 'Pending' || phase === 'Unknown') &&
      !terminating,
  );
}

/** Those of them that are running and have an address. */
export function corednsPods(inventory: Inventory): readonly (Pod & { readonly ip: string })[] {
  return dnsPods(inventory).filter((pod): pod is Pod & { readonly ip: string } => pod.ip !== null && pod.phase === 'Running');
}

/** The Service in front of the cluster's DNS, or null. */
export function dnsService(inventory: Inventory): (Service & { readonly clusterIP: string }) | null {
  return (
    inventory.services.find(
      (service): service is Service & { readonly clusterIP: string } =>
        service.namespace === 'kube-system' && service.name === 'kube-dns' && service.clusterIP !== null,
    ) ?? null
  );
}
