import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { addressAt } from '../../kit/cidr.ts';
import { type FdbEntry, parseFdb } from '../../kit/fdb.ts';
import { restartFlannel, unreadVteps, type VtepNode, vtepNodes } from '../../kit/flannel.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { type Neighbour, parseNeighbours } from '../../kit/neighbours.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, FDB, NEIGHBOURS, ROUTES } from '../../kit/readings.ts';
import { parseRoutes, type Route } from '../../kit/routes.ts';

type Facts = {
  readonly links: readonly Link[];
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
};

/** What is wrong with one entry, and what it should be. */
type Wrong = { readonly peer: VtepNode; readonly is: string; readonly should: string };

/** F3. Source: flannel, pkg/backend/vxlan/vxlan_network.go: a route, an ARP entry and an FDB entry for every peer. */
export const peerEntriesWrong = defineCheck({
  id: 'peer-entries-wrong',
  row: 'F3',
  layer: 'L2',
  scope: 'cluster',
  title: "flannel's entries for a peer are missing or stale",
  why: 'The node sends packets for a peer nowhere, or to where the peer used to be.',
  codes: {
    'flannel-fdb-wrong': 'The forwarding database entry for a peer is missing or names another address (L2).',
    'flannel-neighbour-wrong': 'The neighbour entry for a peer is missing or has another MAC address (L2).',
    'flannel-route-wrong': 'The route to a pod network of a peer is missing or leads elsewhere (L3).',
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, routes: ROUTES, neighbours: NEIGHBOURS, fdb: FDB },
  parse: ({ addresses, routes, neighbours, fdb }) =>
    allParsed<Facts>({
      links: parseLinks(addresses),
      routes: parseRoutes(routes),
      neighbours: parseNeighbours(neighbours.after),
      fdb: parseFdb(fdb),
    }),
  unread: unreadVteps,
  acquits: (facts: ReadonlyMap<string, Facts>, inventory) => {
    const flannel = vtepNodes(inventory);
    return [...facts].flatMap(([node, own]) => rightEntries(node, own, flannel, inventory));
  },
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory }) => {
    const flannel = vtepNodes(inventory);
    return [...facts].flatMap(([node, own]) =>
      judgeNode(node, own, flannel, inventory).map((found) => ({ ...found, remedy: restartFlannel(inventory, node) })),
    );
  },
});

function judgeNode(name: string, facts: Facts, flannel: readonly VtepNode[], inventory: Inventory): readonly Draft[] {
  const dev = networkOf(inventory, name, facts.links).overlay;
  // Without the device, or with it down, the kernel keeps none of the entries: that is another check's finding.
  if (dev === null || !dev.up) return [];
  const peers = tunnelPeers(name, dev.name, facts.routes, flannel);
  const place = nodePlace(name);
  const drafts: Draft[] = [];
  const fdb = peers.flatMap((peer) => wrongFdb(facts.fdb, dev.name, peer));
  if (fdb.length > 0) {
    const at = fdb.map(({ peer }) => ({ place, point: 'fdb' as const, dev: dev.name, via: peer.node.ip ?? peer.publicIp }));
    drafts.push(draft('flannel-fdb-wrong', name, 'forwarding database', FDB.argv, fdb, { at, harms: [{}] }));
  }
  const neighbours = peers.flatMap((peer) => wrongNeighbour(facts.neighbours, dev.name, peer));
  if (neighbours.length > 0) {
    const at = neighbours.map(({ peer }) => ({ place, point: 'neigh' as const, dev: dev.name, via: addressAt(peer.podCIDR, 0) }));
    drafts.push(draft('flannel-neighbour-wrong', name, 'neighbour table', NEIGHBOURS.argv, neighbours, { at, harms: [{}] }));
  }
  const routes = peers.flatMap((peer) => wrongRoute(facts.routes, dev.name, peer));
  if (routes.length > 0) {
    const harms = routes.map(({ peer }) => ({ dst: peer.podCIDR }));
    drafts.push({
      ...draft('flannel-route-wrong', name, 'routing table', ROUTES.argv, routes, { at: [{ place, point: 'route' }], harms }),
      layer: 'L3',
    });
  }
  return drafts;
}

/** The entries that are as flannel writes them; the route of a peer is known by the addresses that it leads to. */
function rightEntries(name: string, facts: Facts, flannel: readonly VtepNode[], inventory: Inventory): readonly HopPattern[] {
  const dev = networkOf(inventory, name, facts.links).overlay;
  if (dev === null || !dev.up) return [];
  const place = nodePlace(name);
  return tunnelPeers(name, dev.name, facts.routes, flannel).flatMap((peer) => [
    ...(wrongFdb(facts.fdb, dev.name, peer).length > 0
      ? []
      : [{ place, point: 'fdb' as const, dev: dev.name, via: peer.node.ip ?? peer.publicIp }]),
    ...(wrongNeighbour(facts.neighbours, dev.name, peer).length > 0
      ? []
      : [{ place, point: 'neigh' as const, dev: dev.name, via: addressAt(peer.podCIDR, 0) }]),
  ]);
}

/**
 * The peers that are reached through the tunnel. With DirectRouting flannel routes those on the same link past it. Of peers
 * with the same MAC address only one can have an entry: that is another check's finding.
 */
function tunnelPeers(name: string, dev: string, routes: readonly Route[], flannel: readonly VtepNode[]): readonly VtepNode[] {
  const isDirect = ({ podCIDR, publicIp }: VtepNode): boolean =>
    routes.some((route) => route.dst === podCIDR && route.table === 'main' && route.gateway === publicIp && route.dev !== dev);
  const isUnique = ({ vtepMac }: VtepNode): boolean => flannel.filter((other) => other.vtepMac === vtepMac).length === 1;
  return flannel.filter((peer) => peer.node.name !== name && !isDirect(peer) && isUnique(peer));
}

function wrongFdb(entries: readonly FdbEntry[], dev: string, peer: VtepNode): readonly Wrong[] {
  const should = `${peer.vtepMac} dst ${peer.publicIp}`;
  const found = entries.filter((entry) => entry.dev === dev && entry.mac === peer.vtepMac);
  if (found.some(({ dst }) => dst === peer.publicIp)) return [];
  return [{ peer, should, is: found.length === 0 ? 'missing' : `${peer.vtepMac} dst ${found.map(({ dst }) => dst).join(', ')}` }];
}

function wrongNeighbour(entries: readonly Neighbour[], dev: string, peer: VtepNode): readonly Wrong[] {
  const ip = addressAt(peer.podCIDR, 0);
  const found = entries.find((entry) => entry.dev === dev && entry.ip === ip);
  if (found?.mac === peer.vtepMac && found.state !== 'FAILED') return [];
  return [
    {
      peer,
      should: `${ip} lladdr ${peer.vtepMac}`,
      is:
        found?.mac == null
          ? `missing${found === undefined ? '' : ` (${ip} ${found.state})`}`
          : `${ip} lladdr ${found.mac} ${found.state}`,
    },
  ];
}

function wrongRoute(routes: readonly Route[], dev: string, peer: VtepNode): readonly Wrong[] {
  const via = addressAt(peer.podCIDR, 0);
  const found = routes.filter((route) => route.dst === peer.podCIDR && route.table === 'main');
  if (found.some((route) => route.type === 'unicast' && route.dev === dev && route.gateway === via)) return [];
  const is = found.map(
    (route) =>
      `${route.type === 'unicast' ? '' : `${route.type} `}${route.dst} via ${route.gateway ?? '-'} dev ${route.dev ?? '-'}`,
  );
  return [{ peer, should: `${peer.podCIDR} via ${via} dev ${dev} onlink`, is: is.length === 0 ? 'missing' : is.join('; ') }];
}

function isMissing({ is }: Wrong): boolean {
  return is.startsWith('missing');
}

function draft(
  code: string,
  node: string,
  table: string,
  argv: readonly string[],
  wrong: readonly Wrong[],
  where: Pick<Draft, 'at' | 'harms'>,
): Draft {
  const [first] = wrong;
  const peers = wrong.map(({ peer }) => peer.node.name);
  const which = peers.length > 3 ? `${peers.length} peers` : peers.join(', ');
  const how = wrong.every(isMissing) ? 'has no entry for' : 'has a wrong entry for';
  const evidence: Citation[] = wrong.slice(0, 5).map(({ peer, is, should }) => ({
    where: node,
    source: argv.join(' '),
    text: `${peer.node.name}: ${is}; should be ${should}`,
  }));
  return {
    code,
    entity: nodeEntity(node),
    ...where,
    summary: `the ${table} of ${node} ${how} ${which}${wrong.length === 1 && first !== undefined && !isMissing(first) ? `: ${first.is}, should be ${first.should}` : ''}`,
    advice: `Restart flannel on ${node}: it writes all of its entries again.`,
    evidence,
  };
}
