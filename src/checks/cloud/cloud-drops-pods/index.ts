import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, nodePlace } from '../../../model/hop.ts';
import type { Node } from '../../../model/inventory.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { firstIPv4 } from '../../kit/cidr.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { instanceOf } from '../../kit/provider.ts';
import { ADDRESSES } from '../../kit/readings.ts';

type Facts = { readonly links: readonly Link[] };

/** What the network does to a node's pods; which of the two ways is not known where nothing was measured one way. */
type Lost = {
  readonly node: Node;
  readonly podCIDR: string;
  readonly in: boolean;
  readonly out: boolean;
  readonly proof: readonly Probed[];
};

/** F9. Source: "kubenet", Kubernetes documentation, network plugins (routes by the cloud provider); the clouds' own on forwarding. */
export const cloudDropsPods = defineCheck({
  id: 'cloud-drops-pods',
  row: 'F9',
  layer: 'L3',
  scope: 'cluster',
  title: 'The network between the nodes drops packets of pods',
  why: 'Where pods have no tunnel, the network itself must know which node has which pods, and let their addresses through.',
  codes: {
    'cloud-route-missing': 'Packets for the pods of a node leave the other nodes and never arrive, while the node is reached.',
    'cloud-source-check': "Packets with the addresses of a node's pods leave it and never arrive, while its own do.",
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES },
  parse: ({ addresses }) => allParsed<Facts>({ links: parseLinks(addresses) }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) => {
    // Through a tunnel nobody on the way sees the addresses of pods.
    const networks = [...facts].map(([node, { links }]) => networkOf(inventory, node, links));
    if (!networks.some(({ bridge }) => bridge !== null) || networks.some(({ overlay }) => overlay !== null)) return [];
    const lost = inventory.nodes.flatMap((node) => lostOf(node, probed));
    return lost.length * 2 > inventory.nodes.length && lost.length > 2 ? together(lost) : lost.map((one) => draftOf([one]));
  },
});

function lostOf(node: Node, probed: readonly Probed[]): readonly Lost[] {
  const podCIDR = firstIPv4(node.podCIDRs);
  if (podCIDR === null) return [];
  const reached = between(probed, 'node-to-node', node.name).filter(
    ({ probe, result }) => probe.method !== 'arp' && result.status === 'pass',
  );
  const isUp = (from: string, to: string): boolean =>
    reached.some(({ probe }) => probe.from.node === from && probe.to.node === to);
  const known = probed.filter(
    ({ probe, result }) => result.status !== 'unknown' && probe.to.node !== null && isUp(probe.from.node, probe.to.node),
  );
  const oneWay = (check: string) => known.filter(({ probe }) => probe.check === check && probe.method === 'udp');
  const into = oneWay('node-to-pod-network').filter(({ probe }) => probe.to.node === node.name);
  const from = oneWay('node-to-pod-network').filter(
    ({ probe, result }) => probe.from.node === node.name && 2 * result.delivered > result.sent,
  );
  // What the node itself sends to the pods of the others arrives: then only the address of its pods can be the reason.
  const out = oneWay('pod-to-pod').filter(
    ({ probe }) => probe.from.node === node.name && from.some((own) => own.probe.to.node === probe.to.node),
  );
  // Where few ways were measured one way, those that failed were: an answer anywhere shows that the addresses get through.
  const answered = (check: string): boolean =>
    between(known, check, node.name).some(({ probe, result }) => probe.method !== 'udp' && result.status === 'pass');
  const isOfPods = answered('pod-to-pod');
  const lost = { in: isAllLost(into) && !isOfPods, out: isAllLost(out) && !isOfPods };
  if (lost.in || lost.out) return [{ node, podCIDR, ...lost, proof: [...(lost.in ? into : []), ...(lost.out ? out : [])] }];
  const asked = known.filter(
    ({ probe }) => probe.check === 'node-to-pod-network' && probe.method !== 'udp' && probe.to.node === node.name,
  );
  const isSilent = asked.every(({ result }) => result.how === 'timeout');
  return into.length === 0 && isAllLost(asked) && isSilent ? [{ node, podCIDR, in: true, out: false, proof: asked }] : [];
}

function between(probed: readonly Probed[], check: string, node: string): readonly Probed[] {
  return probed.filter(({ probe }) => probe.check === check && (probe.from.node === node || probe.to.node === node));
}

function isAllLost(probes: readonly Probed[]): boolean {
  return probes.length > 0 && probes.every(({ result }) => result.status === 'fail' && result.delivered === 0);
}

/** Where most nodes are concerned it is one fault of the network, not one of each of them. */
function together(lost: readonly Lost[]): readonly Draft[] {
  return [lost.filter((one) => one.out), lost.filter((one) => !one.out)].filter(({ length }) => length > 0).map(draftOf);
}

function draftOf(lost: readonly Lost[]): Draft {
  const [first] = lost;
  if (first === undefined) throw new TypeError('a group is never empty');
  const names = lost.map(({ node }) => node.name);
  const which = names.length > 3 ? `${names.length} nodes` : names.join(', ');
  const blocks = names.length > 3 ? '' : ` (${lost.map(({ podCIDR }) => podCIDR).join(', ')})`;
  return {
    code: first.out ? 'cloud-source-check' : 'cloud-route-missing',
    entity: nodeEntity(first.node.name),
    certainty: 'inferred',
    at: lost.flatMap(hopsOf),
    harms: lost.flatMap(harmsOf),
    summary: first.out
      ? `the network between the nodes drops what has an address of the pods of ${which}${blocks}${first.in ? ', both ways' : ''}: it leaves ${first.in ? 'one node' : which} and never arrives, while packets of the nodes themselves do`
      : `the network between the nodes does not deliver packets for the pods of ${which}${blocks}: they leave the other nodes and never arrive, while the nodes themselves are reached`,
    advice: adviceOf(lost),
    evidence: [...lost.slice(0, 2).flatMap(({ proof }) => proof.slice(0, 3).map(cite)), ...lost.slice(0, 2).flatMap(identity)],
  };
}

function hopsOf({ node, in: into, out }: Lost): readonly HopPattern[] {
  const port = { place: nodePlace(node.name), point: 'port' } as const;
  return [...(into ? [{ ...port, dir: 'in' as const }] : []), ...(out ? [{ ...port, dir: 'out' as const }] : [])];
}

function harmsOf({ podCIDR, in: into, out }: Lost): readonly PacketMatch[] {
  return [...(into ? [{ dst: podCIDR }] : []), ...(out ? [{ src: podCIDR }] : [])];
}

function adviceOf(lost: readonly Lost[]): string {
  const [first] = lost;
  const instance = first === undefined ? null : instanceOf(first.node);
  const what = lost.map(({ podCIDR, node }) => `${podCIDR} to ${node.ip}`).slice(0, 3);
  const route = `a route for ${what.join(', ')}${instance === null ? '' : ` in ${instance.route}`}`;
  const check = instance === null ? 'the source/destination check or port security of the machine' : instance.sourceCheck;
  const asked = first?.out === true ? `${check}${first.in ? `, and ${route}` : ''}` : route;
  return `Nothing on the nodes drops them: this is for whoever runs the network. Ask for ${asked}; security groups and ACLs must let the pod addresses through as well. The cloud controller manager (route controller) writes such routes: its log says why one is missing.`;
}

function cite({ probe, result }: Probed): Citation {
  return { where: probe.from.node, source: probe.id, text: `${result.delivered} of ${result.sent} arrived` };
}

function identity({ node }: Lost): readonly Citation[] {
  const instance = instanceOf(node);
  return instance === null
    ? []
    : [{ where: 'Kubernetes API', source: `Node ${node.name}, spec.providerID`, text: instance.text }];
}
