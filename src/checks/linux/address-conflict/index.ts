import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { type Neighbour, parseNeighbours } from '../../kit/neighbours.ts';
import { networkOf } from '../../kit/node-network.ts';
import { type Claim, parseOwnAddress } from '../../kit/own-address.ts';
import { ADDRESSES, NEIGHBOURS, OWN_ADDRESS, readingText } from '../../kit/readings.ts';
import { vendorOf } from '../../kit/vendor.ts';

/** `claims`: who else answered for the node's address. `neighbours` are those before the sweep, `later` after it. */
type Facts = {
  readonly links: readonly Link[];
  readonly neighbours: readonly Neighbour[];
  readonly later: readonly Neighbour[];
  readonly claims: readonly Claim[];
};
type Misled = { readonly node: string; readonly dev: string; readonly stays: boolean; readonly state: string };

/** N11. Source: RFC 5227; "Address conflicts" under arping, Google Distributed Cloud network troubleshooting. */
export const addressConflict = defineCheck({
  id: 'address-conflict',
  row: 'N11',
  layer: 'L2',
  scope: 'cluster',
  title: 'Two machines answer for one address',
  why: 'Who has learnt the wrong machine talks to it: some nodes reach the node, others do not, and it changes by itself.',
  codes: { 'address-conflict': "Another machine answers ARP for a node's own address." },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, neighbours: NEIGHBOURS, conflict: OWN_ADDRESS },
  parse: ({ addresses, neighbours: { before, after }, conflict }) =>
    allParsed<Facts>({
      links: parseLinks(addresses),
      neighbours: parseNeighbours(before),
      later: parseNeighbours(after),
      claims: parseOwnAddress(conflict),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) => {
    const counts = Map.groupBy(
      [...facts.values()].flatMap(({ claims }) => claims),
      ({ mac }) => mac,
    );
    const owners = ownersOf(facts, inventory);
    return [...facts].flatMap(([node, own]) => {
      // A node's second card on the same link answers for all of its addresses; that is how Linux does it.
      const ours = new Set(own.links.map(({ mac }) => mac));
      // What answers for several nodes and is none of ours is a router or a cloud's virtual switch.
      const isRouter = (mac: string): boolean => !owners.has(mac) && (counts.get(mac)?.length ?? 0) > 1;
      const others = own.claims.filter(({ mac }) => !ours.has(mac) && !isRouter(mac));
      return others.flatMap(({ mac }) => conflict(node, mac, facts, inventory, owners, probed) ?? []);
    });
  },
});

/** Whose card has a MAC address: a node's device, or a pod as its node has learnt it. */
function ownersOf(facts: ReadonlyMap<string, Facts>, { pods }: Inventory): ReadonlyMap<string, string> {
  const podNames = new Map(
    pods.flatMap(({ ip, hostNetwork, namespace, name }) => (ip === null || hostNetwork ? [] : [[ip, `${namespace}/${name}`]])),
  );
  const owners = new Map<string, string>();
  for (const [node, { later }] of facts) {
    for (const { ip, mac } of later) {
      const pod = podNames.get(ip);
      if (pod !== undefined && mac !== null) owners.set(mac, `the pod ${pod} on ${node}`);
    }
  }
  for (const [node, { links }] of facts)
    for (const { name, mac } of links) if (mac !== null) owners.set(mac, `${node}'s ${name}`);
  return owners;
}

function conflict(
  node: string,
  mac: string,
  facts: ReadonlyMap<string, Facts>,
  inventory: Inventory,
  owners: ReadonlyMap<string, string>,
  probed: readonly Probed[],
): Draft | null {
  const ip = inventory.nodes.find(({ name }) => name === node)?.ip ?? null;
  const { uplink } = networkOf(inventory, node, facts.get(node)?.links ?? []);
  if (ip === null || uplink?.mac == null) return null;
  const misled = [...facts].flatMap(([name, own]) => (name === node ? [] : misledOn(name, own, ip, mac)));
  const peers = misled.length > 0 ? misled : [...facts.keys()].flatMap((name) => (name === node ? [] : [{ node: name }]));
  const owner = owners.get(mac);
  const who = owner === undefined ? 'which is neither a node nor a pod of this cluster' : `which is ${owner}`;
  const names = misled.map((entry) => `${entry.node} ${entry.stays ? 'sends' : 'sent'} to the latter`);
  return {
    code: 'address-conflict',
    entity: nodeEntity(node),
    at: peers.map((peer) => ({
      place: nodePlace(peer.node),
      point: 'neigh',
      ...('dev' in peer ? { dev: peer.dev } : {}),
      via: ip,
    })),
    harms: harmsOf(new Set(peers.map((peer) => peer.node)), ip, probed),
    certainty: misled.length > 0 ? 'certain' : 'suspect',
    partial: misled.length > 0 && misled.every(({ stays }) => !stays),
    summary: `two machines answer for ${ip}: ${node}'s ${uplink.name} with ${described(uplink.mac)}, and ${described(mac)}, ${who}${names.length === 0 ? '' : `; ${names.join(', ')}`}`,
    advice:
      owner === undefined
        ? `Look the address ${mac} up in the MAC address table of the switch: it names the port that the other machine is on. Take ${ip} from it, or from the range that it got it from.`
        : `Take ${ip} from ${owner}.`,
    evidence: [
      { where: node, source: readingText(OWN_ADDRESS), text: `${ip} is answered for by ${mac}` },
      { where: node, source: ADDRESSES.argv.join(' '), text: `${uplink.name} ${ip} link/ether ${uplink.mac}` },
      ...misled.slice(0, 5).map((entry) => ({
        where: entry.node,
        source: NEIGHBOURS.argv.join(' '),
        text: `${ip} dev ${entry.dev} lladdr ${mac} ${entry.state}`,
      })),
    ],
  };
}

function misledOn(node: string, { neighbours, later }: Facts, ip: string, mac: string): readonly Misled[] {
  const isIt = (entry: Neighbour): boolean => entry.ip === ip && entry.mac === mac;
  const now = later.find(isIt);
  const entry = now ?? neighbours.find(isIt);
  return entry === undefined ? [] : [{ node, dev: entry.dev, stays: now !== undefined, state: entry.state }];
}

/** The other machine may answer too, a ping for instance: then only what comes back to the node's own question is lost. */
function harmsOf(nodes: ReadonlySet<string>, ip: string, probed: readonly Probed[]): PacketMatch[] {
  return (['icmp', 'tcp', 'udp'] as const).map((proto) => {
    const isAnswered = probed.some(
      ({ probe, result }) =>
        result.status === 'pass' && probe.packet.proto === proto && probe.to.ip === ip && nodes.has(probe.from.node),
    );
    return isAnswered ? { proto, state: 'established' as const } : { proto };
  });
}

function described(mac: string): string {
  const vendor = vendorOf(mac);
  return `${mac} (${vendor ?? 'a vendor that is not registered'})`;
}
