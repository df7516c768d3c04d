import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { type HopPattern, nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { ProbeResult } from '../../../model/probe.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { createIsWithin } from '../../kit/cidr.ts';
import { type Counters, parseCounters } from '../../kit/counters.ts';
import { backendOffers, flannelNodes } from '../../kit/flannel.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { groupPairs, type OrderedPair, type PairGroup, wire } from '../../kit/pairs.ts';
import { ADDRESSES, DEVICE_COUNTERS } from '../../kit/readings.ts';

type Facts = { readonly links: readonly Link[]; readonly before: Counters; readonly after: Counters };

/** F1. Source: "flannel communication abnormal", G1: UDP 8472 leaves and none arrives, while other UDP ports pass. */
export const vxlanPortBlocked = defineCheck({
  id: 'vxlan-port-blocked',
  row: 'F1',
  layer: 'L4',
  scope: 'cluster',
  title: 'The VXLAN port is blocked between nodes',
  why: 'The nodes reach each other, their pods do not: something in between drops the UDP port of the overlay.',
  codes: {
    'vxlan-port-blocked': 'The UDP port of the VXLAN overlay does not get through between nodes that reach each other otherwise.',
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, counters: DEVICE_COUNTERS },
  parse: ({ addresses, counters }) =>
    allParsed<Facts>({
      links: parseLinks(addresses),
      before: parseCounters(counters.before),
      after: parseCounters(counters.after),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) => {
    if (flannelNodes(inventory).length === 0) return [];
    const tunnels = tunnelsOf(facts, inventory);
    const [any] = tunnels.values();
    if (any === undefined) return [];
    // With the device of one end down, or not seen, nothing says that it is the network which drops.
    // Nor where the ends have different settings: what one sends, the other throws away.
    const measured = measure(probed).filter(({ from, to }) => {
      const [a, b] = [tunnels.get(from), tunnels.get(to)];
      return a !== undefined && b !== undefined && a.port === b.port && a.vni === b.vni;
    });
    const blocked = measured.filter(({ isBlocked }) => isBlocked);
    const groups = groupPairs(blocked, measured).filter(
      (group) => group.kind !== 'node' || isLostBetween(group, tunnels.get(group.node)),
    );
    if (groups.length === 0) return [];
    const offers = offersOf(inventory, facts);
    return groups.map((group) => ({ ...draftOf(group, any.port), ...offers }));
  },
});

/** Another port comes first: host-gw needs more of the network between the nodes. */
function offersOf(inventory: Inventory, facts: ReadonlyMap<string, Facts>): Pick<Draft, 'remedy' | 'moreRemedies'> {
  const [remedy, ...more] = backendOffers(inventory, areOnOneLink(inventory, facts));
  return { remedy, ...(more.length === 0 ? {} : { moreRemedies: more }) };
}

/** Whether every node has all others in the subnet of its own card; of a node that was not read that is not known. */
function areOnOneLink(inventory: Inventory, facts: ReadonlyMap<string, Facts>): boolean {
  const isInside = createIsWithin();
  return inventory.nodes.every(({ name }) => {
    const own = facts.get(name);
    const uplink = own === undefined ? null : networkOf(inventory, name, own.links).uplink;
    const subnet = uplink?.addresses.find(({ family }) => family === 4);
    return (
      subnet !== undefined && inventory.nodes.every(({ ip }) => ip !== null && isInside(ip, `${subnet.ip}/${subnet.prefix}`))
    );
  });
}

/** An ordered pair: whether the overlay fails from one to the other while the network below does not, and how that was seen. */
type Measured = OrderedPair & { readonly isBlocked: boolean; readonly isOneWay: boolean; readonly proof: readonly Probed[] };

/** A VXLAN device that is up: its UDP port and VNI, and the packets that it received and sent during the run. */
type Tunnel = { readonly port: number; readonly vni: number; readonly received: number; readonly sent: number };

function tunnelsOf(facts: ReadonlyMap<string, Facts>, inventory: Inventory): ReadonlyMap<string, Tunnel> {
  const tunnels = new Map<string, Tunnel>();
  for (const [node, { links, before, after }] of facts) {
    const { overlay } = networkOf(inventory, node, links);
    const [from, to] = [before.get(overlay?.name ?? ''), after.get(overlay?.name ?? '')];
    if (overlay?.up !== true || overlay.vxlan === null || from === undefined || to === undefined) continue;
    const { port, vni } = overlay.vxlan;
    tunnels.set(node, { port, vni, received: to.received - from.received, sent: to.sent - from.sent });
  }
  return tunnels;
}

/** Whether packets left the node's device, and none came in: what arrives there has passed the port. */
function isLostBetween({ in: into, out }: { readonly in: boolean; readonly out: boolean }, tunnel: Tunnel | undefined): boolean {
  return tunnel !== undefined && (!into || tunnel.received === 0) && (!out || tunnel.sent > 0);
}

/**
 * Compares, for each ordered pair, the probes of the nodes' own addresses with those of the pod bridges. One-way
 * datagrams decide where both networks were measured with them; else a pair counts when nothing comes back at all.
 */
function measure(probed: readonly Probed[]): readonly Measured[] {
  const below = byPair(probed, 'node-to-node');
  const above = byPair(probed, 'node-to-pod-network');
  return [...above].map(([key, overlay]) => {
    const [from = '', to = ''] = key.split('>', 2);
    const underlay = below.get(key) ?? [];
    const oneWay = overlay.find(({ probe }) => probe.method === 'udp');
    const control = underlay.find(({ probe }) => probe.method === 'udp');
    const isUp = underlay.some(({ probe, result }) => probe.method !== 'arp' && result.status === 'pass');
    const isMeasured = oneWay !== undefined && oneWay.result.status !== 'unknown' && mostArrived(control?.result);
    const twoWay = overlay.filter(({ probe }) => probe.method !== 'udp');
    const isSilent =
      twoWay.length > 0 &&
      twoWay.every(({ result }) => result.status === 'fail' && result.delivered === 0 && result.how === 'timeout');
    const isBlocked = isUp && isSilent && (!isMeasured || oneWay.result.delivered === 0);
    const proof = [oneWay, control, ...twoWay].filter((item): item is Probed => item !== undefined);
    return { from, to, isBlocked, isOneWay: isMeasured, proof };
  });
}

/** Whether most datagrams arrived: a busy receiver may lose one of many. */
function mostArrived(result: ProbeResult | undefined): boolean {
  return result !== undefined && result.status !== 'unknown' && 2 * result.delivered > result.sent;
}

function byPair(probed: readonly Probed[], check: string): ReadonlyMap<string, readonly Probed[]> {
  return Map.groupBy(
    probed.filter(({ probe }) => probe.check === check && probe.to.node !== null),
    ({ probe }) => `${probe.from.node}>${probe.to.node}`,
  );
}

function draftOf(group: PairGroup<Measured>, port: number): Draft {
  const hasDirection = group.pairs.every(({ isOneWay }) => isOneWay);
  const { where, at } = group.kind === 'node' ? placeOfNode(group, hasDirection) : placeOfPair(group, hasDirection);
  return {
    code: 'vxlan-port-blocked',
    entity: nodeEntity(group.kind === 'node' ? group.node : group.a),
    certainty: 'inferred',
    at,
    harms: [{ proto: 'udp', dport: port }],
    summary: `UDP ${port}, the VXLAN overlay, does not get through ${where}; the nodes reach each other otherwise${hasDirection ? ', other UDP ports included' : ''}`,
    advice: `Open UDP ${port} between the nodes (security group, firewall, ACL). Where that cannot be had soon, flannel can be moved to another port such as 8475, or to host-gw where the nodes share a link.`,
    evidence: group.pairs
      .flatMap(({ proof }) => proof)
      .slice(0, 6)
      .map(({ probe, result }) => ({
        where: probe.from.node,
        source: probe.id,
        text: `${result.delivered} of ${result.sent} arrived`,
      })),
  };
}

function placeOfNode(
  { node, in: into, out }: Extract<PairGroup, { kind: 'node' }>,
  hasDirection: boolean,
): { where: string; at: HopPattern[] } {
  const place = nodePlace(node);
  if (!hasDirection || (into && out)) {
    const way = hasDirection ? 'either way between' : 'between';
    return { where: `${way} ${node} and any other node`, at: [{ place, point: 'port' }] };
  }
  return out
    ? { where: `from ${node} to any other node`, at: [{ place, point: 'port', dir: 'out' }] }
    : { where: `to ${node} from any other node`, at: [{ place, point: 'port', dir: 'in' }] };
}

function placeOfPair(
  { a, b, both }: Extract<PairGroup, { kind: 'pair' }>,
  hasDirection: boolean,
): { where: string; at: HopPattern[] } {
  if (hasDirection && !both) return { where: `from ${a} to ${b}`, at: [wire(a, b)] };
  return { where: `${hasDirection ? 'either way ' : ''}between ${a} and ${b}`, at: [wire(a, b), wire(b, a)] };
}
