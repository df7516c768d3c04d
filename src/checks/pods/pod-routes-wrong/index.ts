import { z } from 'zod';
import { nodeEntity, podEntity } from '../../../model/entity.ts';
import { nodePlace, podPlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PodNamespace, PodState } from '../../../model/wire/agent.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { complementOf, familyOf } from '../../kit/cidr.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { attachmentOf, type PodOnNode, parsePods, podName, podsOn, routeTo } from '../../kit/pods.ts';
import { ADDRESSES, PODS, ROUTES } from '../../kit/readings.ts';
import { parseRoutes, type Route } from '../../kit/routes.ts';

type Facts = { readonly pods: PodState; readonly links: readonly Link[]; readonly routes: readonly Route[] };

/** P3. Source: CNI specification and plugins (bridge, ptp, host-local); ip-route(8). */
export const podRoutesWrong = defineCheck({
  id: 'pod-routes-wrong',
  row: 'P3',
  layer: 'L3',
  scope: 'node',
  title: "A pod's address or routes are not as its CNI plugin made them",
  why: 'The pod answers nobody beyond its own node, or nobody at all, while its process is fine.',
  codes: {
    'pod-address-missing': 'The pod does not have the address that the API server says it has.',
    'pod-default-route-missing': 'The pod has no default route, while the other pods of its node have one.',
    'pod-gateway-wrong':
      "The pod's default route goes to an address that its node does not have, and another one than that of the other pods.",
    'pod-route-missing': 'The node routes packets for the pod elsewhere than to it.',
  },
  params: z.strictObject({}),
  collect: { pods: PODS, addresses: ADDRESSES, routes: ROUTES },
  parse: ({ pods, addresses, routes }) =>
    allParsed<Facts>({ pods: parsePods(pods), links: parseLinks(addresses), routes: parseRoutes(routes) }),
  evaluate: (facts: Facts, { node, inventory }) => judge(facts, node, inventory),
});

/** Only pods with one interface, the end of a veth pair: with more of them, whoever added those decides on the routes. */
function judge({ pods, links, routes }: Facts, node: string, inventory: Inventory): readonly Draft[] {
  const attached = podsOn(pods, inventory, node).flatMap((found) => {
    const { pod, namespace } = found;
    const attachment = attachmentOf(namespace, links);
    const isPlain = namespace.devices.length === 1 && familyOf(pod.ip) === 4 && !pod.terminating && pod.runtimeClass === null;
    return attachment === null || !isPlain ? [] : [{ found, outside: attachment.outside }];
  });
  const isRouted = attached.filter(({ found }) => defaultOf(found.namespace) !== undefined).length * 2 > attached.length;
  // Plugins that route to each pod by itself, such as ptp and Calico: here most pods have a route to their own device.
  const isByPod =
    attached.filter(({ found, outside }) => routeTo(found.pod.ip, routes)?.dev === outside.name).length * 2 > attached.length;
  const vias = attached.flatMap(({ found }) => defaultOf(found.namespace)?.via ?? []);
  const gateway = vias.find((via) => vias.filter((other) => other === via).length * 2 > attached.length) ?? null;
  const gateways = new Set(links.flatMap(({ addresses }) => addresses.map(({ ip }) => ip)));
  const strays: Stray[] = [];
  const own = attached.flatMap(({ found, outside }) => {
    const bridge = links.find(({ name, kind }) => kind === 'bridge' && name === outside.master);
    const to = bridge ?? (isByPod && outside.master === null ? outside : undefined);
    const route = routeTo(found.pod.ip, routes);
    // Routes that refuse packets are another fault, and a bridge that is down, with which the kernel drops its routes.
    if (to?.up === true && route?.dev !== to.name && (route === null || route.type === 'unicast'))
      strays.push({ found, to, route });
    return [...addressOf(found, node), ...inside(found, node, { isRouted, gateway, own: gateways })];
  });
  return [...own, ...unrouted(strays, node)];
}

/** A pod for which the node has no route to the device that it has to go to. */
type Stray = { readonly found: PodOnNode; readonly to: Link; readonly route: Route | null };

function defaultOf({ routes }: PodNamespace): PodNamespace['routes'][number] | undefined {
  return routes.find(({ dst, rejects }) => dst === '0.0.0.0/0' && !rejects);
}

function addressOf({ pod, namespace }: PodOnNode, node: string): readonly Draft[] {
  if (namespace.addresses.includes(pod.ip)) return [];
  return [
    {
      code: 'pod-address-missing',
      entity: podEntity(pod.namespace, pod.name),
      at: [{ place: podPlace(pod.namespace, pod.name), point: 'dev', dir: 'in' }],
      harms: [{ dst: pod.ip, state: 'new' }],
      summary: `the pod ${podName(pod)} on ${node} does not have its address ${pod.ip}: it has ${namespace.addresses.join(', ') || 'none'}`,
      advice: 'Delete the pod, so that its network is made anew; look for software in it that configures the network.',
      evidence: [
        {
          where: node,
          source: `/proc/${namespace.pid}/net/fib_trie of ${podName(pod)}`,
          text: namespace.addresses.join(', ') || 'no address',
        },
      ],
    },
  ];
}

/** What is usual on the node: that pods have a default route, by which gateway, and the addresses that the node has. */
type Usual = { readonly isRouted: boolean; readonly gateway: string | null; readonly own: ReadonlySet<string> };

function inside({ pod, namespace }: PodOnNode, node: string, { isRouted, gateway, own }: Usual): readonly Draft[] {
  const route = defaultOf(namespace);
  const isMissing = route === undefined && isRouted;
  const isWrong = gateway !== null && route?.via != null && route.via !== gateway && !own.has(route.via);
  if (!isMissing && !isWrong) return [];
  const routes = namespace.routes.map(({ dst, via, dev }) => `${dst}${via === null ? '' : ` via ${via}`} dev ${dev}`).join(', ');
  const connected = namespace.routes.find(({ dst, via }) => via === null && dst !== '0.0.0.0/0')?.dst;
  return [
    {
      code: isMissing ? 'pod-default-route-missing' : 'pod-gateway-wrong',
      entity: podEntity(pod.namespace, pod.name),
      at: [{ place: podPlace(pod.namespace, pod.name), point: 'route' }],
      // What is on its own subnet needs no gateway.
      harms: connected === undefined ? [{}] : complementOf(connected).map((dst) => ({ dst })),
      summary: isMissing
        ? `the pod ${podName(pod)} on ${node} has no default route: it reaches only ${connected ?? 'itself'}`
        : `the pod ${podName(pod)} on ${node} sends by the gateway ${route?.via}, the other pods there by ${gateway}`,
      advice:
        'Delete the pod, so that its network is made anew; look for software in it, or an initContainer, that changes routes.',
      evidence: [{ where: node, source: `/proc/${namespace.pid}/net/route of ${podName(pod)}`, text: routes || 'no route' }],
    },
  ];
}

/** One finding for all pods of the node: what removes the route of a bridge takes it from all of them. */
function unrouted(strays: readonly Stray[], node: string): readonly Draft[] {
  const [first] = strays;
  if (first === undefined) return [];
  const pods = strays.map(({ found }) => found.pod);
  const [pod] = pods;
  const names = pods
    .slice(0, SHOWN)
    .map((one) => `${podName(one)} (${one.ip})`)
    .join(', ');
  const ways = [...new Set(strays.map(({ route }) => (route === null ? 'no route' : described(route))))].slice(0, SHOWN);
  return [
    {
      code: 'pod-route-missing',
      entity: pod !== undefined && pods.length === 1 ? podEntity(pod.namespace, pod.name) : nodeEntity(node),
      at: pods.map(({ ip }) => ({ place: nodePlace(node), point: 'route', via: ip })),
      harms: pods.map(({ ip }) => ({ dst: ip })),
      summary: `${node} has no route by ${first.to.name} to its ${pods.length === 1 ? 'pod' : 'pods'} ${names}${pods.length > SHOWN ? ` and ${pods.length - SHOWN} more` : ''}: packets for them go by ${ways.join('; ')}`,
      advice:
        'Restart the pod of the CNI plugin on this node, or delete the pods, so that their network is made anew; see what removes routes (NetworkManager, systemd-networkd).',
      evidence: [{ where: node, source: ROUTES.argv.join(' '), text: ways.join('; ') }],
    },
  ];
}

const SHOWN = 3;

function described({ dst, gateway, dev }: Route): string {
  return `${dst}${gateway === undefined ? '' : ` via ${gateway}`}${dev === undefined ? '' : ` dev ${dev}`}`;
}
