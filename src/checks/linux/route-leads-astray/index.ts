import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { addressAt, firstIPv4, isWithin } from '../../kit/cidr.ts';
import { createLookup, type Decision, type Flow, isInside, prefixLength, without } from '../../kit/fib.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { isResolved, type Neighbour, parseNeighbours } from '../../kit/neighbours.ts';
import { type NodeNetwork, networkOf } from '../../kit/node-network.ts';
import { type PolicyRule, parsePolicyRules, policyRuleText } from '../../kit/policy-rules.ts';
import { ADDRESSES, NEIGHBOURS, POLICY_RULES, ROUTES } from '../../kit/readings.ts';
import { devicesOf, parseRoutes, type Route, routeText } from '../../kit/routes.ts';

type Facts = {
  readonly links: readonly Link[];
  readonly routes: readonly Route[];
  readonly rules: readonly PolicyRule[];
  readonly neighbours: readonly Neighbour[];
};

/**
 * Addresses that a node sends to: another node's own, an API server's, or a pod network, its own among them. `ask` are
 * the addresses that are looked up for it.
 */
type Target = {
  readonly kind: 'host' | 'peer-pods' | 'own-pods';
  readonly name: string;
  readonly block: string;
  readonly ask: readonly string[];
};

/** Traffic that is decided on by a route or rule that refuses it or leads it elsewhere. */
type Strayed = { readonly target: Target; readonly flow: Flow; readonly decision: Decision };

const REFUSING = new Set(['blackhole', 'unreachable', 'prohibit']);
const ORDINARY_TABLES = new Set(['local', 'main', 'default']);

/** N17. Source: ip-route(8), ip-rule(8); net/ipv4/fib_rules.c. */
export const routeLeadsAstray = defineCheck({
  id: 'route-leads-astray',
  row: 'N17',
  layer: 'L3',
  scope: 'cluster',
  title: 'A route or a policy rule takes cluster traffic away',
  why: "Packets for another node or its pods are thrown away, or go to somebody else's network.",
  codes: {
    'blackhole-route': 'A blackhole, unreachable or prohibit route covers addresses of nodes or pods.',
    'route-steals-traffic': 'A more specific route leads addresses of nodes or pods elsewhere, and they cannot be reached.',
    'policy-rule-steals-traffic': 'A policy rule decides on traffic to nodes or pods, which is refused or led elsewhere.',
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, routes: ROUTES, rules: POLICY_RULES, neighbours: NEIGHBOURS },
  parse: ({ addresses, routes, rules, neighbours }) =>
    allParsed<Facts>({
      links: parseLinks(addresses),
      routes: parseRoutes(routes),
      rules: parsePolicyRules(rules),
      neighbours: parseNeighbours(neighbours.after),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) =>
    [...facts].flatMap(([node, own]) => judgeNode(node, own, inventory, probed)),
});

function judgeNode(node: string, facts: Facts, inventory: Inventory, probed: readonly Probed[]): readonly Draft[] {
  const network = networkOf(inventory, node, facts.links);
  const lookup = createLookup(facts.routes, facts.rules);
  const strayed = targetsOf(node, network, facts.routes, inventory).flatMap((target) =>
    flowsTo(target, node, network, facts.rules, inventory).flatMap((flow): Strayed[] => {
      const decision = lookup(flow);
      return decision !== null && isAstray(decision, target, flow, network, facts) ? [{ target, flow, decision }] : [];
    }),
  );
  const podCIDR = podCIDROf(node, inventory);
  const own = facts.links.flatMap(({ addresses }) => addresses.flatMap(({ family, ip }) => (family === 4 ? [ip] : [])));
  return [...Map.groupBy(strayed, ({ decision }) => decidingText(decision)).values()].flatMap((group) => {
    const draft = draftOf(node, group, own, podCIDR);
    // A route that leads another way is no fault while what it leads there arrives.
    return isRefused(group[0]?.decision) || hasFailed(node, draft, probed) ? [draft] : [];
  });
}

function targetsOf(node: string, network: NodeNetwork, routes: readonly Route[], inventory: Inventory): readonly Target[] {
  const hosts = [
    ...inventory.nodes.filter(({ name }) => name !== node).map(({ name, ip }) => ({ name, ip })),
    ...inventory.endpoints
      .filter(
        ({ namespace, service, ip }) =>
          namespace === 'default' && service === 'kubernetes' && !inventory.nodes.some((other) => other.ip === ip),
      )
      .map(({ ip }) => ({ name: 'the API server', ip })),
  ].flatMap(({ name, ip }): Target[] => (ip === null || ip.includes(':') ? [] : [{ kind: 'host', name, block: ip, ask: [ip] }]));
  // Elsewhere the addresses of pods need not come out of the podCIDR that the Node has.
  if (network.bridge === null && network.overlay === null) return hosts;
  const known = new Set(inventory.nodes.flatMap(({ podCIDRs }) => podCIDRs));
  const others = routes.filter(({ dst, table }) => table !== 'local' && !known.has(dst));
  const pods = inventory.nodes.flatMap(({ name, podCIDRs }): Target[] => {
    const block = firstIPv4(podCIDRs);
    if (block === null || (name === node && network.bridge === null)) return [];
    const inside = others.filter(({ dst }) => isInside(dst, block));
    const ask = [
      addressAt(block, name === node ? 2 : 1),
      ...inside.map(({ dst }) => addressAt(asBlock(dst), prefixLength(dst) > 30 ? 0 : 1)),
    ];
    return [{ kind: name === node ? 'own-pods' : 'peer-pods', name, block, ask: [...new Set(ask)] }];
  });
  return [...hosts, ...pods];
}

/** What a node sends itself, with the source that it answers from as well, and what it forwards from its pods or to them. */
function flowsTo(
  { kind, ask }: Target,
  node: string,
  { bridge, overlay }: NodeNetwork,
  rules: readonly PolicyRule[],
  inventory: Inventory,
): readonly Flow[] {
  if (rules.every(isOrdinary)) return ask.map((dst) => ({ dst, src: null, iif: null }));
  const { ip = null } = inventory.nodes.find(({ name }) => name === node) ?? {};
  const podCIDR = podCIDROf(node, inventory);
  const chosen = rules.flatMap(({ from }) => (from !== null && podCIDR !== null && isInside(from, podCIDR) ? [from] : []));
  const sources = podCIDR === null ? [] : [addressAt(podCIDR, 2), ...chosen.map((from) => from.split('/', 1)[0] ?? '')];
  return ask.flatMap((dst): Flow[] => [
    { dst, src: null, iif: null },
    ...(kind === 'host' && ip !== null ? [{ dst, src: ip, iif: null }] : []),
    ...(kind !== 'own-pods' && bridge !== null ? sources.map((src) => ({ dst, src, iif: bridge.name })) : []),
    ...(kind === 'own-pods' && overlay !== null ? [{ dst, src: null, iif: overlay.name }] : []),
  ]);
}

function isAstray(decision: Decision, target: Target, flow: Flow, network: NodeNetwork, facts: Facts): boolean {
  const { rule, route, prefix } = decision;
  // Without a route of its own the traffic takes the default one: that is a route that is missing, not one that takes it.
  const isChosen = !isOrdinary(rule) || prefix > 0;
  // flannel writes its own route over whatever stands in its place: that is a route of flannel that is wrong.
  if (target.kind === 'peer-pods' && network.overlay !== null && isOrdinary(rule) && route?.dst === target.block) return false;
  if (route === null || REFUSING.has(route.type)) return isChosen;
  if (route.type !== 'unicast' || !isChosen) return false;
  const devices = devicesOf(route);
  switch (target.kind) {
    case 'host':
      return (
        network.uplink !== null &&
        !devices.includes(network.uplink.name) &&
        !devices.some((dev) => isResolved(facts.neighbours, dev, route.gateway ?? flow.dst))
      );
    case 'own-pods':
      // What the main table has for the node's own pods is looked at pod by pod elsewhere (pod-routes-wrong).
      return !isOrdinary(rule) && network.bridge !== null && !devices.includes(network.bridge.name);
    case 'peer-pods': {
      if (network.overlay === null) return network.uplink !== null && !devices.includes(network.uplink.name);
      const right = facts.routes.find(({ dst, table, type }) => dst === target.block && table === 'main' && type === 'unicast');
      const isOther = right !== undefined && (right.gateway !== route.gateway || right.dev !== route.dev);
      return isOther && (!isOrdinary(rule) || prefix > prefixLength(target.block));
    }
  }
}

function isOrdinary({ from, to, iif, mark, isInverted, isParticular, table }: PolicyRule): boolean {
  const isForAll = from === null && to === null && iif === null && mark === null && !isInverted && !isParticular;
  return isForAll && table !== null && ORDINARY_TABLES.has(table);
}

function isRefused(decision: Decision | undefined): boolean {
  return decision !== undefined && (decision.route === null || REFUSING.has(decision.route.type));
}

function hasFailed(node: string, { harms }: Draft, probed: readonly Probed[]): boolean {
  const isHarmed = (address: string): boolean => harms.some(({ dst }) => dst !== undefined && isWithin(address, dst));
  return probed.some(
    ({ probe, result }) =>
      result.status === 'fail' &&
      ((probe.from.node === node && isHarmed(probe.to.ip)) || (probe.to.node === node && isHarmed(probe.from.ip))),
  );
}

/** The rule and the route that decide, so that what one of them does is told once. */
function decidingText({ rule, route }: Decision): string {
  return `${policyRuleText(rule)}\n${route === null ? '' : routeText(route)}`;
}

function podCIDROf(node: string, { nodes }: Inventory): string | null {
  return firstIPv4(nodes.find(({ name }) => name === node)?.podCIDRs ?? []);
}

function draftOf(node: string, group: readonly Strayed[], own: readonly string[], podCIDR: string | null): Draft {
  const [first] = group;
  if (first === undefined) throw new TypeError('a group is never empty');
  const { rule, route } = first.decision;
  const isByRule = !isOrdinary(rule);
  const harms = group.flatMap(({ target, flow }): PacketMatch[] => {
    const blocks = [
      target.block,
      ...(route === null ? [] : [route.dst]),
      ...(rule.to === null || rule.isInverted ? [] : [rule.to]),
    ];
    const dst = narrowest(blocks);
    if (isByRule && rule.from !== null && !rule.isInverted)
      return fromSources(rule.from, own).map((source) => ({ ...source, dst }));
    return isByRule && rule.iif !== null && flow.iif !== null && podCIDR !== null ? [{ src: podCIDR, dst }] : [{ dst }];
  });
  const unique = [...new Map(harms.map((harm) => [JSON.stringify(harm), harm])).values()];
  const names = [...new Set(group.map(({ target }) => (target.kind === 'host' ? target.name : `the pods of ${target.name}`)))];
  const what = isRefused(first.decision)
    ? `throws away what is for ${listed(names)}`
    : `leads what is for ${listed(names)} elsewhere`;
  const how = route === null ? '' : `${isByRule ? ', by the route ' : ''}${routeText(route)}`;
  return {
    code: isByRule ? 'policy-rule-steals-traffic' : isRefused(first.decision) ? 'blackhole-route' : 'route-steals-traffic',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'route' }],
    harms: unique,
    summary: isByRule
      ? `the policy rule "${policyRuleText(rule)}" of ${node} ${what}${how}`
      : `the route ${how} of ${node} ${what}`,
    advice: `Find out who set it (a VPN client, a container runtime, a routing daemon, a script), and take it out: ${isByRule ? `ip rule del priority ${rule.priority}` : `ip route del ${route === null ? '' : routeText(route)}`}.`,
    evidence: [
      ...(isByRule ? [{ where: node, source: POLICY_RULES.argv.join(' '), text: policyRuleText(rule) }] : []),
      ...(route === null ? [] : [{ where: node, source: ROUTES.argv.join(' '), text: routeText(route) }]),
    ],
  };
}

/**
 * The packets that a rule for these sources takes. For a packet of its own the node looks up the route before it has a
 * source, except in an answer and for a socket that is connected, for which it looks again: TCP, and what resolvers ask by.
 * Source: ip_route_connect, net/route.h, called by tcp_v4_connect and __ip4_datagram_connect.
 */
function fromSources(block: string, own: readonly string[]): readonly PacketMatch[] {
  return [
    ...without(block, own).map((src) => ({ src })),
    ...own
      .filter((ip) => isInside(ip, block))
      .flatMap((src): PacketMatch[] => [
        { src, proto: 'tcp' },
        { src, proto: 'udp', dport: 53 },
        { src, state: 'established' },
      ]),
  ];
}

function narrowest(blocks: readonly string[]): string {
  return blocks.reduce((narrow, block) => (prefixLength(block) > prefixLength(narrow) ? block : narrow));
}

function asBlock(dst: string): string {
  return dst.includes('/') ? dst : `${dst}/32`;
}

function listed(names: readonly string[]): string {
  return names.length > 4 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
}
