import type { Inventory, Pod, Service } from '../../model/inventory.ts';

/** The cluster's DNS pods that are running and have an address: kubeadm, k3s and GKE all label them `k8s-app=kube-dns`. */
export function corednsPods(inventory: Inventory): readonly (Pod & { readonly ip: string })[] {
  return inventory.pods.filter(
    (pod): pod is Pod & { readonly ip: string } =>
      pod.namespace === 'kube-system' &&
      pod.labels['k8s-app'] === 'kube-dns' &&
      pod.ip !== null &&
      pod.phase === 'Running' &&
      !pod.terminating,
  );
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
