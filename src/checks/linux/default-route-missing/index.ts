import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { createLookup } from '../../kit/fib.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { type PolicyRule, parsePolicyRules } from '../../kit/policy-rules.ts';
import { ADDRESSES, POLICY_RULES, ROUTES } from '../../kit/readings.ts';
import { parseRoutes, type Route } from '../../kit/routes.ts';

type Facts = { readonly links: readonly Link[]; readonly routes: readonly Route[]; readonly rules: readonly PolicyRule[] };

/** An address of nobody (TEST-NET-1, RFC 5737): where it has a route, everything has one. */
const ANYWHERE = '192.0.2.1';

/** N13. Source: the kernel looks up the route before a Service's address is translated; ip_output.c, nf_nat_core.c. */
export const defaultRouteMissing = defineCheck({
  id: 'default-route-missing',
  row: 'N13',
  layer: 'L3',
  scope: 'cluster',
  title: 'A node has no default route',
  why: 'The node reaches nothing outside its own links, and no Service: their addresses have no route of their own.',
  codes: { 'default-route-missing': 'A node has no route for addresses that others reach by their default route.' },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, routes: ROUTES, rules: POLICY_RULES },
  parse: ({ addresses, routes, rules }) =>
    allParsed<Facts>({ links: parseLinks(addresses), routes: parseRoutes(routes), rules: parsePolicyRules(rules) }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) => {
    const without = new Map(
      [...facts].flatMap(([node, { links, routes, rules }]) => {
        // With the uplink down its routes are gone as well: that is another check's finding.
        if (networkOf(inventory, node, links).uplink?.up === false) return [];
        const lookup = createLookup(routes, rules);
        const hasRoute = (dst: string): boolean => lookup({ dst, src: null, iif: null }) !== null;
        return hasRoute(ANYWHERE) ? [] : [[node, hasRoute] as const];
      }),
    );
    return [...without].flatMap(([node, hasRoute]) => {
      const harms = unreachable(node, hasRoute, inventory, probed);
      // Where no node has one, as in a cluster of one link with routes for its Services, it is meant so.
      return harms.length > 0 || without.size < facts.size ? [draftOf(node, harms)] : [];
    });
  },
});

/** The addresses that are probed and that the node has no route to. For a Service that concerns what the node itself sends. */
function unreachable(
  node: string,
  hasRoute: (dst: string) => boolean,
  { nodes, services }: Inventory,
  probed: readonly Probed[],
): readonly PacketMatch[] {
  const own = nodes.find(({ name }) => name === node)?.ip ?? null;
  const asked = probed.filter(({ probe }) => probe.from.node === node && probe.from.pod === null && !probe.to.ip.includes(':'));
  const addresses = [...new Set(asked.map(({ probe }) => probe.to.ip))].filter((ip) => !hasRoute(ip));
  return addresses.map((dst) =>
    own !== null && services.some(({ clusterIP }) => clusterIP === dst) ? { src: own, dst } : { dst },
  );
}

function draftOf(node: string, harms: readonly PacketMatch[]): Draft {
  const place = nodePlace(node);
  return {
    code: 'default-route-missing',
    entity: nodeEntity(node),
    at: [
      { place, point: 'nat' },
      { place, point: 'route' },
    ],
    harms: [...harms],
    severity: harms.length > 0 ? 'critical' : 'warning',
    summary: `${node} has no default route${harms.length > 0 ? ', and nothing else leads to addresses that it needs' : ''}: it reaches nothing outside its own links, and no Service that has no route of its own`,
    advice: `Set it again as the node's network configuration has it (compare ip route on another node), and find out what took it: a DHCP lease that ended, a network manager, somebody by hand.`,
    evidence: [
      { where: node, source: ROUTES.argv.join(' '), text: 'no default route' },
      ...harms.slice(0, 5).map(({ dst = '' }) => ({ where: node, source: ROUTES.argv.join(' '), text: `no route to ${dst}` })),
    ],
  };
}
