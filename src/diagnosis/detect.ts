import type { EvidenceOf } from '../checks/kit/check.ts';
import { incomplete } from '../checks/kit/check.ts';
import { addressAt, firstIPv4 } from '../checks/kit/cidr.ts';
import { annotationName, clusterConf, flannelAnnotation } from '../checks/kit/flannel.ts';
import { bridgeAddress } from '../checks/kit/node-network.ts';
import { PROXY_COLLECT, parseProxyModes } from '../checks/kit/proxy-mode.ts';
import { PROCESS_NAMES, readingKey } from '../checks/kit/readings.ts';
import type { View } from '../dataplane/view.ts';
import type { NodeEvidence } from '../model/evidence.ts';
import type { Inventory } from '../model/inventory.ts';
import type { Detected } from '../model/verdict.ts';
import { parseNode } from './evaluate.ts';
import { configuredDomain } from './plan.ts';
import { counted, listOf } from './words.ts';

/**
 * What kind of cluster this is, found out from what was read and never configured: how its pods and Services are carried,
 * what runs the containers, its names and addresses. Each with how it is known; what cannot be known is left out. Where nodes
 * differ, every kind is told with its number of nodes. Pure.
 */
export function detect(inventory: Inventory, evidence: readonly NodeEvidence[], view: View): Detected[] {
  return [
    network(inventory, view),
    proxy(inventory, evidence),
    runtime(inventory, evidence),
    domain(inventory),
    services(inventory),
    dns(inventory),
    versions(inventory),
  ].filter((found) => found !== null);
}

function network(inventory: Inventory, view: View): Detected | null {
  const seen = [...view.networks];
  const kinds = inventory.nodes.flatMap((node): { value: string; source: string }[] => {
    const own = view.networks.get(node.name);
    const backend = flannelAnnotation(node, 'backend-type');
    const vxlan = own?.overlay?.vxlan;
    if (backend === 'vxlan' || (backend === null && vxlan != null && own?.overlay?.name.startsWith('flannel') === true))
      return [
        vxlan == null
          ? { value: 'flannel vxlan', source: `Node ${annotationName('backend-type')}` }
          : {
              value: `flannel vxlan (VNI ${vxlan.vni}, UDP ${vxlan.port})`,
              source: `the device ${own?.overlay?.name}${backend === null ? '' : `, Node ${annotationName('backend-type')}`}`,
            },
      ];
    if (backend !== null) return [{ value: `flannel ${backend}`, source: `Node ${annotationName('backend-type')}` }];
    if (own?.bridge == null) return [];
    const { name } = own.bridge;
    const gateway = bridgeAddress(firstIPv4(node.podCIDRs) ?? '0.0.0.0/0', own.bridge);
    return [
      name === 'cbr0'
        ? { value: 'kubenet', source: `the bridge cbr0 with ${gateway}, and no tunnel` }
        : { value: `bridge (${name})`, source: `the bridge ${name} with ${gateway}, and no tunnel` },
    ];
  });
  if (kinds.length > 0) return summed('network', kinds);
  const agents = [
    ['cilium', 'Cilium'],
    ['anetd', 'GKE Dataplane V2 (anetd)'],
    ['calico-node', 'Calico'],
    ['weave-net', 'Weave'],
  ].find(([label = '']) =>
    inventory.pods.some(({ labels, name }) => labels['k8s-app'] === label || name.startsWith(`${label}-`)),
  );
  if (agents !== undefined) return { what: 'network', value: agents[1] ?? '', source: `pods of ${agents[0]}` };
  const conf = clusterConf(inventory);
  if (conf !== null) return { what: 'network', value: `flannel ${conf.backend.type}`, source: conf.source };
  return seen.length === 0
    ? null
    : { what: 'network', value: 'an unknown pod network', source: 'no bridge and no tunnel of one that is known' };
}

function proxy(inventory: Inventory, evidence: readonly NodeEvidence[]): Detected | null {
  const check = { collect: PROXY_COLLECT, parse: (items: EvidenceOf<typeof PROXY_COLLECT>) => parseProxyModes(items) };
  const found = evidence.flatMap((node) => {
    const modes = parseNode(check, node);
    return modes.outcome === 'ok' && modes.facts.length > 0
      ? [{ value: `kube-proxy ${modes.facts.join(' and ')}`, source: 'its rules on the nodes' }]
      : [];
  });
  if (found.length > 0) return summed('proxy', found);
  const config = inventory.configs['kube-system/kube-proxy']?.['config.conf'];
  if (config === undefined) return null;
  // The mode is iptables on Linux where the configuration names none.
  const mode = /^mode:\s*"?([a-z]+)"?\s*$/m.exec(config)?.[1] ?? 'iptables';
  return { what: 'proxy', value: `kube-proxy ${mode}`, source: 'ConfigMap kube-system/kube-proxy' };
}

/** Processes that run containers, by what the kubelet calls their kind. Beside docker there is its own containerd. */
const RUNTIMES: readonly (readonly [string, RegExp])[] = [
  ['docker', /^(dockerd|cri-dockerd)$/m],
  ['cri-o', /^crio$/m],
  ['containerd', /^containerd$/m],
];

function runtime(inventory: Inventory, evidence: readonly NodeEvidence[]): Detected | null {
  const processes = new Map(
    evidence.flatMap((node) => {
      const item = node.items[readingKey(PROCESS_NAMES)];
      const runs =
        item === undefined || incomplete(item) !== null ? undefined : RUNTIMES.find(([, name]) => name.test(item.stdout));
      return runs === undefined ? [] : [[node.node, runs[0]] as const];
    }),
  );
  const found = inventory.nodes.flatMap((node) => {
    const [told = '', version = ''] = (node.runtime ?? '').split('://', 2);
    const runs = processes.get(node.name);
    if (told === '') return runs === undefined ? [] : [{ value: runs, source: 'its process on the nodes' }];
    const value = `${told}${version === '' ? '' : ` ${version}`}`;
    return [{ value, source: `what the kubelet reports${runs === told ? ', and its process on the nodes' : ''}` }];
  });
  return found.length === 0 ? null : summed('runtime', found);
}

function domain(inventory: Inventory): Detected | null {
  const corefile = configuredDomain(inventory);
  if (corefile !== null) return { what: 'domain', value: corefile, source: 'ConfigMap kube-system/coredns, Corefile' };
  const kubeadm = /^\s*dnsDomain:\s*(\S+)\s*$/m.exec(clusterConfiguration(inventory))?.[1];
  return kubeadm === undefined ? null : { what: 'domain', value: kubeadm, source: 'ConfigMap kube-system/kubeadm-config' };
}

function services(inventory: Inventory): Detected | null {
  const kubeadm = /^\s*serviceSubnet:\s*(\S+)\s*$/m.exec(clusterConfiguration(inventory))?.[1];
  if (kubeadm !== undefined)
    return { what: 'services', value: `services ${kubeadm}`, source: 'ConfigMap kube-system/kubeadm-config' };
  const addresses = inventory.services.flatMap(({ clusterIP }) =>
    clusterIP === null || clusterIP.includes(':') ? [] : [clusterIP],
  );
  const block = smallestBlock(addresses);
  return block === null
    ? null
    : { what: 'services', value: `services in ${block}`, source: `the addresses of ${counted(addresses.length, 'Service')}` };
}

function dns(inventory: Inventory): Detected | null {
  const service = inventory.services.find(
    ({ namespace, name }) => namespace === 'kube-system' && ['kube-dns', 'coredns'].includes(name),
  );
  return service?.clusterIP == null
    ? null
    : { what: 'dns', value: `DNS ${service.clusterIP}`, source: `Service kube-system/${service.name}` };
}

function versions(inventory: Inventory): Detected | null {
  if (inventory.version === 'unknown') return null;
  const kubelets = new Set(inventory.nodes.flatMap(({ kubelet }) => (kubelet === '' ? [] : [kubelet])));
  const others = [...kubelets].filter((version) => version !== inventory.version).toSorted();
  const value = `Kubernetes ${inventory.version}${others.length === 0 ? '' : `, kubelets ${listOf(others, 3)}`}`;
  return { what: 'versions', value, source: 'the API server, and what the kubelets report' };
}

function clusterConfiguration(inventory: Inventory): string {
  return inventory.configs['kube-system/kubeadm-config']?.['ClusterConfiguration'] ?? '';
}

/** One value where all nodes have the same, else each with its number of nodes, the most usual first. */
function summed(what: Detected['what'], found: readonly { readonly value: string; readonly source: string }[]): Detected {
  const groups = [...Map.groupBy(found, ({ value }) => value).values()].sort((a, b) => b.length - a.length);
  const [first] = groups;
  const value =
    groups.length === 1
      ? (first?.[0]?.value ?? '')
      : groups.map((group) => `${group[0]?.value} on ${counted(group.length, 'node')}`).join(', ');
  return { what, value, source: first?.[0]?.source ?? '' };
}

/** The smallest IPv4 prefix that holds all addresses, or null for none. */
function smallestBlock(addresses: readonly string[]): string | null {
  const [first] = addresses;
  if (first === undefined) return null;
  const values = addresses.map((ip) => ip.split('.').reduce((value, octet) => value * 256 + Number(octet), 0));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  let bits = 32;
  while (bits > 0 && Math.floor(low / 2 ** (32 - bits)) !== Math.floor(high / 2 ** (32 - bits))) bits -= 1;
  return `${addressAt(`${first}/${bits}`, 0)}/${bits}`;
}
