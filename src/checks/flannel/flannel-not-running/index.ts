import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory, Node } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { firstIPv4, isWithin } from '../../kit/cidr.ts';
import {
  clusterConf,
  type FlannelPod,
  flannelAnnotation,
  flannelNodes,
  flannelPodOn,
  parseSubnetEnv,
  restartFlannel,
  type SubnetEnv,
} from '../../kit/flannel.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, FLANNEL_SUBNET_ENV } from '../../kit/readings.ts';

type Facts = { readonly links: readonly Link[]; readonly env: SubnetEnv | null };

const [FILE] = FLANNEL_SUBNET_ENV.files;

/** F5. Source: flannel, pkg/subnet/kube and the CNI plugin's README: subnet.env holds the lease, which is the podCIDR. */
export const flannelNotRunning = defineCheck({
  id: 'flannel-not-running',
  row: 'F5',
  layer: 'L3',
  scope: 'cluster',
  title: 'flannel does not run on a node, or its lease is missing or wrong',
  why: 'Without flannel a node keeps what it had and learns nothing new; after a reboot it has nothing at all.',
  codes: {
    'flannel-not-running': 'No running flannel pod is on the node; where the tunnel device is gone too, its pods are cut off.',
    'flannel-subnet-missing': 'subnet.env is missing or empty: no new pod on the node gets a network.',
    'flannel-subnet-wrong': "subnet.env hands out addresses that are not in the node's podCIDR: nobody routes to them.",
    'flannel-network-mismatch': "flannel's network, its configuration and the nodes' podCIDRs do not agree.",
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, env: FLANNEL_SUBNET_ENV },
  parse: ({ addresses, env }) => allParsed<Facts>({ links: parseLinks(addresses), env: parseSubnetEnv(env) }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory }) => {
    const users = flannelUsers(inventory);
    return [
      ...users.flatMap((node) => judgeNode(node, facts.get(node.name), inventory)),
      ...networkMismatch(users, facts, inventory),
    ];
  },
});

/** The nodes that flannel serves, or should: it keeps its notes on them, or has a pod on others of the same cluster. */
function flannelUsers(inventory: Inventory): readonly Node[] {
  return inventory.nodes.filter(
    (node) =>
      node.os === 'linux' &&
      firstIPv4(node.podCIDRs) !== null &&
      (flannelAnnotation(node, 'backend-type') !== null || flannelPodOn(inventory, node).state !== 'unknown'),
  );
}

function judgeNode(node: Node, facts: Facts | undefined, inventory: Inventory): readonly Draft[] {
  const flannel = flannelPodOn(inventory, node);
  if (flannel.state === 'missing' || flannel.state === 'not-ready') return [notRunning(node, flannel, facts, inventory)];
  if (facts === undefined) return [];
  if (facts.env === null) return [subnetMissing(node, inventory)];
  return subnetWrong(node, facts.env, inventory);
}

function notRunning(node: Node, { pod }: FlannelPod, facts: Facts | undefined, inventory: Inventory): Draft {
  const hasTunnel = flannelAnnotation(node, 'backend-type') === 'vxlan' || flannelNodes(inventory).length > 0;
  const overlay = facts === undefined ? undefined : networkOf(inventory, node.name, facts.links).overlay;
  const isCutOff = hasTunnel && overlay?.up !== true;
  const remedy = restartFlannel(inventory, node.name);
  const told: Citation = {
    where: 'Kubernetes API',
    source: 'pods',
    text:
      pod === null
        ? `no flannel pod on ${node.name}, on other nodes there is one`
        : `${pod.namespace}/${pod.name}: not ready, phase ${pod.phase}`,
  };
  const device = overlay == null ? 'no VXLAN device' : `${overlay.name}: not UP`;
  const consequence = overlay == null ? 'its VXLAN device is gone' : `${overlay.name} is down`;
  return {
    code: 'flannel-not-running',
    entity: nodeEntity(node.name),
    at: [{ place: nodePlace(node.name), point: 'tunnel' }],
    harms: isCutOff ? [{}] : [],
    severity: isCutOff ? 'critical' : 'warning',
    certainty: facts === undefined ? 'suspect' : 'certain',
    summary: `flannel ${pod === null ? 'has no pod' : 'is not running'} on ${node.name}${isCutOff && facts !== undefined ? `, and ${consequence}` : ''}`,
    advice:
      pod === null
        ? `Find out why its DaemonSet puts no pod on ${node.name} (kubectl -n kube-flannel get ds,pods -o wide): node selector, a taint that it does not tolerate, or a pod that was just deleted.`
        : `kubectl -n ${pod.namespace} logs ${pod.name} --all-containers --previous says why it stops; then restart it.`,
    evidence: [
      told,
      ...(facts === undefined || !isCutOff ? [] : [{ where: node.name, source: ADDRESSES.argv.join(' '), text: device }]),
      ...(facts === undefined || facts.env !== null ? [] : [fileGone(node.name)]),
    ],
    remedy,
  };
}

function subnetMissing(node: Node, inventory: Inventory): Draft {
  return {
    code: 'flannel-subnet-missing',
    entity: nodeEntity(node.name),
    at: [{ place: nodePlace(node.name), point: 'opaque' }],
    harms: [],
    severity: 'warning',
    summary: `${FILE} is missing or empty on ${node.name}: pods that start there get no network`,
    advice: `Restart flannel on ${node.name}: it writes the file again. Pods that already run keep their network.`,
    evidence: [fileGone(node.name)],
    remedy: restartFlannel(inventory, node.name),
  };
}

function subnetWrong(node: Node, env: SubnetEnv, inventory: Inventory): readonly Draft[] {
  const podCIDR = firstIPv4(node.podCIDRs);
  const [address = '', prefix = ''] = env.subnet.split('/', 2);
  if (podCIDR === null || (isWithin(address, podCIDR) && Number(prefix) >= Number(podCIDR.split('/')[1]))) return [];
  return [
    {
      code: 'flannel-subnet-wrong',
      entity: nodeEntity(node.name),
      at: [{ place: nodePlace(node.name), point: 'tunnel' }],
      harms: [{ src: env.subnet }, { dst: env.subnet }],
      summary: `flannel on ${node.name} hands out addresses of ${env.subnet}, the node's podCIDR is ${podCIDR}: nobody routes to them`,
      advice: `The Node was probably registered again with another podCIDR. Restart flannel on ${node.name}, then delete the pods there that have an address outside ${podCIDR}.`,
      evidence: [
        { where: node.name, source: FILE, text: `FLANNEL_SUBNET=${env.subnet}` },
        { where: 'Kubernetes API', source: `Node ${node.name}`, text: `podCIDR ${podCIDR}` },
      ],
      remedy: restartFlannel(inventory, node.name),
    },
  ];
}

/** One finding however many nodes it concerns: the configuration is one for all of them. */
function networkMismatch(users: readonly Node[], facts: ReadonlyMap<string, Facts>, inventory: Inventory): readonly Draft[] {
  const conf = clusterConf(inventory);
  const network = conf?.network ?? null;
  if (conf === null || network === null || network.includes(':')) return [];
  const wrong = users.flatMap((node) => {
    const podCIDR = firstIPv4(node.podCIDRs);
    const used = facts.get(node.name)?.env?.network ?? null;
    const isOutside = podCIDR !== null && !isWithin(podCIDR.split('/')[0] ?? '', network);
    const isOlder = used !== null && !used.split(',').includes(network);
    if (!isOutside && !isOlder) return [];
    const text = [...(isOutside ? [`podCIDR ${podCIDR}`] : []), ...(isOlder ? [`FLANNEL_NETWORK=${used}`] : [])].join(', ');
    return [{ name: node.name, text }];
  });
  const [first] = wrong;
  if (first === undefined) return [];
  const names = wrong.map(({ name }) => name);
  const which = names.length > 3 ? `${names.length} nodes` : names.join(', ');
  return [
    {
      code: 'flannel-network-mismatch',
      entity: nodeEntity(first.name),
      at: [{ place: nodePlace(first.name), point: 'opaque' }],
      harms: [],
      severity: 'warning',
      summary: `flannel's configuration says that the pod network is ${network}, ${which} use${names.length === 1 ? 's' : ''} another: ${first.text}`,
      advice: `flannel refuses to start for a podCIDR outside its Network, and does not translate addresses as the configuration says. Correct Network in ${conf.source} to the cluster's pod network (the controller manager's --cluster-cidr), then restart flannel node by node.`,
      evidence: [
        { where: 'cluster', source: conf.source, text: `Network ${network}` },
        ...wrong.slice(0, 4).map(({ name, text }) => ({ where: name, source: `${FILE}, Node ${name}`, text })),
      ],
    },
  ];
}

function fileGone(node: string): Citation {
  return { where: node, source: FILE, text: 'missing or empty' };
}
