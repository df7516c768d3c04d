import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import type { RemedyOffer } from '../../model/finding.ts';
import type { Inventory, Node, Pod } from '../../model/inventory.ts';
import { ok, type Parsed, parseComplete } from './check.ts';
import { firstIPv4 } from './cidr.ts';

const PREFIX = 'flannel.alpha.coreos.com';
const BackendData = z.object({ VtepMAC: z.string() });
const NetConf = z.object({
  Network: z.string().optional(),
  Backend: z.object({ Type: z.string(), Port: z.int().optional(), VNI: z.int().optional() }),
});

/**
 * What flannel on a node has told the others: address, MAC address of its VTEP (null where that cannot be read), and the pod
 * network behind it.
 */
export type FlannelNode = {
  readonly node: Node;
  readonly publicIp: string;
  readonly vtepMac: string | null;
  readonly podCIDR: string;
};

/** The nodes that run flannel's vxlan backend, by their annotations. Source: flannel, pkg/subnet/kube. */
export function flannelNodes(inventory: Inventory): readonly FlannelNode[] {
  return inventory.nodes.flatMap((node) => {
    const publicIp = node.annotations[`${PREFIX}/public-ip`];
    const podCIDR = firstIPv4(node.podCIDRs);
    if (node.annotations[`${PREFIX}/backend-type`] !== 'vxlan' || publicIp === undefined || podCIDR === null) return [];
    const data = parse(BackendData, node.annotations[`${PREFIX}/backend-data`]);
    return [{ node, publicIp, podCIDR, vtepMac: data?.VtepMAC.toLowerCase() ?? null }];
  });
}

/** A node whose VTEP's MAC address is known. */
export type VtepNode = FlannelNode & { readonly vtepMac: string };

/** The nodes that run flannel's vxlan backend and have told the MAC address of their VTEP. */
export function vtepNodes(inventory: Inventory): readonly VtepNode[] {
  return flannelNodes(inventory).flatMap((own) => (own.vtepMac === null ? [] : [{ ...own, vtepMac: own.vtepMac }]));
}

/** The others: what is compared with that address cannot be judged of them. */
export function unreadVteps(inventory: Inventory): readonly { readonly where: string; readonly reason: string }[] {
  return flannelNodes(inventory)
    .filter(({ vtepMac }) => vtepMac === null)
    .map(({ node }) => {
      const data = flannelAnnotation(node, 'backend-data');
      const state = data === null ? 'is missing' : `cannot be read: ${data.slice(0, 60)}`;
      return { where: node.name, reason: `${annotationName('backend-data')} ${state}` };
    });
}

/** A node of flannel's host-gw backend: the address that it told the others, and its pod network. */
export type HostGwNode = Omit<FlannelNode, 'vtepMac'>;

/** The nodes that run flannel's host-gw backend, by their annotations. */
export function hostGwNodes(inventory: Inventory): readonly HostGwNode[] {
  return inventory.nodes.flatMap((node) => {
    const publicIp = flannelAnnotation(node, 'public-ip');
    const podCIDR = firstIPv4(node.podCIDRs);
    return flannelAnnotation(node, 'backend-type') === 'host-gw' && publicIp !== null && podCIDR !== null
      ? [{ node, publicIp, podCIDR }]
      : [];
  });
}

/** flannel's configuration for the whole cluster: the pod network, if it names one, and the backend; null where it cannot be read. */
export function clusterConf(inventory: Inventory): {
  readonly network: string | null;
  readonly backend: { readonly type: string; readonly vni: number | undefined; readonly port: number | undefined };
  readonly source: string;
} | null {
  const found = configMapOf(inventory);
  const config = found === null ? null : parse(NetConf, found.text);
  if (found === null || config === null) return null;
  const { Type: type, VNI: vni, Port: port } = config.Backend;
  return { network: config.Network ?? null, backend: { type, vni, port }, source: `ConfigMap ${found.name}` };
}

/** net-conf.json with the `NAMESPACE/NAME` of its ConfigMap, the first that can be read. */
function configMapOf(inventory: Inventory): { readonly name: string; readonly text: string } | null {
  for (const name of ['kube-flannel/kube-flannel-cfg', 'kube-system/kube-flannel-cfg']) {
    const text = inventory.configs[name]?.['net-conf.json'];
    if (text !== undefined && parse(NetConf, text) !== null) return { name, text };
  }
  return null;
}

/** VNI and UDP port of flannel's configuration, with the kernel's defaults where it is silent, or null. */
export function netConf(inventory: Inventory): { readonly vni: number; readonly port: number; readonly source: string } | null {
  const config = clusterConf(inventory);
  if (config?.backend.type !== 'vxlan') return null;
  return { vni: config.backend.vni ?? 1, port: config.backend.port ?? 8472, source: config.source };
}

/** The node's annotation of flannel's with this name, or null. */
export function flannelAnnotation({ annotations }: Node, name: string): string | null {
  return annotations[`${PREFIX}/${name}`] ?? null;
}

/** The full name of an annotation of flannel's, as messages cite it. */
export function annotationName(name: string): string {
  return `annotation ${PREFIX}/${name}`;
}

/**
 * How flannel's pod on a node is: `unknown` where flannel runs in no pods (as a service of the host, inside k3s), where
 * pods could not be listed, or where the kubelet says nothing any more, which makes every pod of its node look not ready.
 */
export type FlannelPod =
  | { readonly state: 'ready' | 'not-ready'; readonly pod: Pod }
  | { readonly state: 'missing'; readonly pod: null }
  | { readonly state: 'unknown'; readonly pod: Pod | null };

export function flannelPodOn(inventory: Inventory, node: Node): FlannelPod {
  const pods = inventory.pods.filter((pod) => isFlannelPod(pod) && !pod.terminating);
  const pod = pods.find((candidate) => candidate.node === node.name) ?? null;
  if (pods.length === 0 || inventory.gaps.some(({ what }) => what === 'pods') || node.os !== 'linux')
    return { state: 'unknown', pod };
  if (pod === null) return { state: 'missing', pod };
  if (pod.ready) return { state: 'ready', pod };
  return node.ready === 'Unknown' ? { state: 'unknown', pod } : { state: 'not-ready', pod };
}

/** flannel's own manifests label its pods so; Canal's run flannel beside Calico's policies. */
function isFlannelPod({ labels }: Pod): boolean {
  return labels['app'] === 'flannel' || ['flannel', 'canal'].includes(labels['k8s-app'] ?? '');
}

/** The remedy that restarts flannel on a node by deleting exactly its pod there; nothing where it is not known. */
export function restartFlannel(inventory: Inventory, name: string): RemedyOffer | undefined {
  const node = inventory.nodes.find((candidate) => candidate.name === name);
  const pod = node === undefined ? null : flannelPodOn(inventory, node).pod;
  if (pod === null) return undefined;
  return { id: 'restart-flannel', node: name, params: { namespace: pod.namespace, pod: pod.name, uid: pod.uid } };
}

/**
 * The remedy that restarts flannel on several nodes, one after the other; on one alone where it is one, and nothing where
 * a pod of theirs is not known.
 */
export function restartFlannelOn(inventory: Inventory, names: readonly string[]): RemedyOffer | undefined {
  const offers = names.map((name) => restartFlannel(inventory, name));
  const [first] = offers;
  if (offers.length < 2 || first === undefined) return first;
  const pods = offers.map((offer) => (offer === undefined ? null : `${offer.params['pod']}=${offer.params['uid']}`));
  const { namespace = '' } = first.params;
  return pods.includes(null)
    ? undefined
    : { id: 'restart-flannel-on-nodes', node: null, params: { namespace, pods: pods.join(',') } };
}

/** The remedies that change flannel's backend: to another UDP port, and to routes over the peers where `isOneLink`. */
export function backendOffers(inventory: Inventory, isOneLink: boolean): readonly RemedyOffer[] {
  const found = configMapOf(inventory);
  const daemonSet = inventory.nodes.map((node) => flannelPodOn(inventory, node).pod?.owner).find((owner) => owner != null);
  if (found === null || daemonSet?.kind !== 'DaemonSet') return [];
  const { name, text } = found;
  const [namespace = '', configMap = ''] = name.split('/');
  const config = parse(z.looseObject({ Backend: z.looseObject({ Type: z.string() }) }), text);
  if (config?.Backend.Type !== 'vxlan') return [];
  // Read anew, so that everything else stays where it stands.
  const whole = JSON.parse(text) as object;
  const offer = (id: string, backend: object): RemedyOffer => ({
    id,
    node: null,
    params: {
      namespace,
      configMap,
      daemonSet: daemonSet.name,
      from: text,
      to: JSON.stringify({ ...whole, Backend: backend }, null, 2),
    },
  });
  return [
    offer('move-flannel-port', { ...config.Backend, Port: OTHER_PORT }),
    ...(isOneLink ? [offer('set-flannel-host-gw', { Type: 'host-gw' })] : []),
  ];
}

/** G1's choice, and what most guides name: not the IANA port of VXLAN, which clouds block as well. */
const OTHER_PORT = 8475;

/** subnet.env of a node: the cluster's network, the node's own subnet with its bridge's address, and the pods' MTU. */
export type SubnetEnv = { readonly network: string | null; readonly subnet: string; readonly mtu: number | null };

/** Parses the evidence of `FLANNEL_SUBNET_ENV`; null where the file is missing or empty. Source: flannel, pkg/subnet. */
export function parseSubnetEnv(evidence: Evidence): Parsed<SubnetEnv | null> {
  if (evidence.exitCode === 1 && evidence.stderr.includes('No such file')) return ok(null);
  return parseComplete(evidence, (stdout) => {
    const lines = stdout.split('\n').filter((line) => line.trim() !== '');
    if (lines.length === 0) return null;
    const values = new Map(
      lines.map((line) => {
        const [, key = '', value = ''] = /^([A-Z0-9_]+)=(.*)$/.exec(line) ?? [];
        if (key === '') throw new Error(`no assignment: ${line}`);
        return [key, value] as const;
      }),
    );
    const subnet = values.get('FLANNEL_SUBNET');
    if (subnet === undefined || !/^[\d.]+\/\d+$/.test(subnet)) throw new Error('no FLANNEL_SUBNET');
    const mtu = Number(values.get('FLANNEL_MTU'));
    return { network: values.get('FLANNEL_NETWORK') ?? null, subnet, mtu: Number.isInteger(mtu) && mtu > 0 ? mtu : null };
  });
}

function parse<T>(schema: z.ZodType<T>, text: string | undefined): T | null {
  try {
    return schema.parse(JSON.parse(text ?? ''));
  } catch {
    return null;
  }
}
