import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { isWithin } from '../../kit/cidr.ts';
import { type HostGwNode, hostGwNodes, restartFlannel } from '../../kit/flannel.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { ADDRESSES, ROUTES } from '../../kit/readings.ts';
import { parseRoutes, type Route } from '../../kit/routes.ts';

type Facts = { readonly links: readonly Link[]; readonly routes: readonly Route[] };

/** A peer that the node has no right route to; `is` what it has instead. */
type Wrong = { readonly peer: HostGwNode; readonly is: string; readonly isOnLink: boolean };

/** F6. Source: flannel, Documentation/backends.md (host-gw needs direct layer 2 connectivity) and pkg/backend/route_network.go. */
export const hostGwRouteWrong = defineCheck({
  id: 'host-gw-route-wrong',
  row: 'F6',
  layer: 'L3',
  scope: 'cluster',
  title: "flannel's host-gw has no route to the pods of a peer",
  why: 'The kernel takes a route over a peer only where that peer is on the same link: a node behind a router gets none.',
  codes: {
    'host-gw-peer-off-link': 'A peer is not on the same link: host-gw cannot reach its pods.',
    'host-gw-route-wrong': "The route to a peer's pods is missing or leads elsewhere.",
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, routes: ROUTES },
  parse: ({ addresses, routes }) => allParsed<Facts>({ links: parseLinks(addresses), routes: parseRoutes(routes) }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory }) => {
    const flannel = hostGwNodes(inventory);
    return flannel.flatMap(({ node }) => {
      const own = facts.get(node.name);
      return own === undefined ? [] : judgeNode(node.name, own, flannel, inventory);
    });
  },
});

function judgeNode(name: string, facts: Facts, flannel: readonly HostGwNode[], inventory: Inventory): readonly Draft[] {
  const wrong = flannel.filter(({ node }) => node.name !== name).flatMap((peer) => wrongRoute(peer, facts));
  const near = wrong.filter(({ isOnLink }) => isOnLink);
  const far = wrong.filter(({ isOnLink }) => !isOnLink);
  return [
    ...(far.length === 0 ? [] : [offLink(name, far, facts)]),
    ...(near.length === 0 ? [] : [routeWrong(name, near, inventory)]),
  ];
}

function wrongRoute(peer: HostGwNode, { links, routes }: Facts): readonly Wrong[] {
  const found = routes.filter((route) => route.dst === peer.podCIDR && route.table === 'main');
  if (found.some(({ type, gateway }) => type === 'unicast' && gateway === peer.publicIp)) return [];
  const is = found.map(
    ({ type, gateway, dev }) => `${type === 'unicast' ? '' : `${type} `}via ${gateway ?? '-'} dev ${dev ?? '-'}`,
  );
  return [{ peer, is: is.length === 0 ? 'missing' : is.join('; '), isOnLink: isOnLink(peer.publicIp, links, routes) }];
}

/** Whether an address is reached without a router: in a prefix of an interface, or by a route that names only a device. */
function isOnLink(ip: string, links: readonly Link[], routes: readonly Route[]): boolean {
  const blocks = links.flatMap(({ addresses }) =>
    addresses.flatMap((own) => (own.family === 4 && own.prefix < 32 ? [`${own.ip}/${own.prefix}`] : [])),
  );
  const direct = routes.flatMap((route) =>
    route.table === 'main' && route.type === 'unicast' && route.gateway === undefined && /^[\d./]+$/.test(route.dst)
      ? [route.dst]
      : [],
  );
  return [...blocks, ...direct].some((block) => isWithin(ip, block));
}

function namesOf(wrong: readonly Wrong[]): string {
  return wrong.length > 3 ? `${wrong.length} peers` : wrong.map(({ peer }) => peer.node.name).join(', ');
}

function common(name: string, wrong: readonly Wrong[]): Pick<Draft, 'entity' | 'at' | 'harms'> {
  return {
    entity: nodeEntity(name),
    at: [{ place: nodePlace(name), point: 'route' }],
    harms: wrong.map(({ peer }) => ({ dst: peer.podCIDR })),
  };
}

function offLink(name: string, wrong: readonly Wrong[], { links }: Facts): Draft {
  const own = links.flatMap(({ name: dev, addresses }) =>
    dev === 'lo' ? [] : addresses.flatMap(({ family, ip, prefix }) => (family === 4 ? [`${dev} ${ip}/${prefix}`] : [])),
  );
  return {
    code: 'host-gw-peer-off-link',
    ...common(name, wrong),
    summary: `${namesOf(wrong)} ${wrong.length === 1 ? 'is' : 'are'} not on a link of ${name}: flannel's host-gw cannot route to ${wrong.length === 1 ? 'its' : 'their'} pods`,
    advice: `host-gw works only between nodes of one layer 2 network. Use flannel's vxlan backend (with DirectRouting where nodes share a link), or have the routers between them carry the podCIDRs. Where they should share a link, correct the prefix of the address of ${name}.`,
    evidence: [
      { where: name, source: ADDRESSES.argv.join(' '), text: own.slice(0, 4).join(', ') },
      ...wrong
        .slice(0, 4)
        .map(({ peer, is }): Citation => ({ where: name, source: ROUTES.argv.join(' '), text: textOf(peer, is) })),
    ],
  };
}

function routeWrong(name: string, wrong: readonly Wrong[], inventory: Inventory): Draft {
  return {
    code: 'host-gw-route-wrong',
    ...common(name, wrong),
    summary: `${name} has ${wrong.every(({ is }) => is === 'missing') ? 'no route' : 'a wrong route'} to the pods of ${namesOf(wrong)}`,
    advice: `Restart flannel on ${name}: it writes all of its routes again.`,
    evidence: wrong.slice(0, 5).map(({ peer, is }) => ({ where: name, source: ROUTES.argv.join(' '), text: textOf(peer, is) })),
    remedy: restartFlannel(inventory, name),
  };
}

function textOf({ node, podCIDR, publicIp }: HostGwNode, is: string): string {
  return `${node.name}: ${podCIDR} ${is}; should be via ${publicIp}`;
}
