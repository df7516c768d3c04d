import { z } from 'zod';
import { podEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, nodePlace, podPlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PodState } from '../../../model/wire/agent.ts';
import { allParsed, type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { type FdbEntry, parseFdb } from '../../kit/fdb.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { type Neighbour, parseNeighbours } from '../../kit/neighbours.ts';
import { attachmentOf, type PodOnNode, parsePods, podName, podsOn, routeTo } from '../../kit/pods.ts';
import { ADDRESSES, FDB, NEIGHBOURS, PODS, ROUTES } from '../../kit/readings.ts';
import { parseRoutes, type Route } from '../../kit/routes.ts';

type Facts = {
  readonly pods: PodState;
  readonly links: readonly Link[];
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
};

/** States in which the kernel sends to the address of the entry. Source: net/neighbour.h, NUD_VALID. */
const IN_USE = new Set(['REACHABLE', 'STALE', 'DELAY', 'PROBE', 'PERMANENT', 'NOARP']);

/** P2. Source: Google Kubernetes Engine, "Troubleshoot connectivity issues", Pods on a node; bridge(8). */
export const podDetached = defineCheck({
  id: 'pod-detached',
  row: 'P2',
  layer: 'L2',
  scope: 'cluster',
  title: "A pod's link to its node is cut",
  why: 'The pod is running and reaches nobody, nor does anybody reach it, while its neighbours on the node are fine.',
  codes: {
    'pod-link-down': "One end of the pod's veth pair is down.",
    'pod-off-bridge': "The node's end of the pair is not on the bridge that the pod's address is routed to.",
    'pod-neighbour-stale': "The node's neighbour entry for the pod has a MAC address that the pod's interface does not have.",
    'pod-mac-elsewhere': "The bridge sends frames for the pod's MAC address to another port.",
  },
  params: z.strictObject({}),
  collect: { pods: PODS, addresses: ADDRESSES, routes: ROUTES, neighbours: NEIGHBOURS, fdb: FDB },
  parse: ({ pods, addresses, routes, neighbours, fdb }) =>
    allParsed<Facts & { before: readonly Neighbour[] }>({
      pods: parsePods(pods),
      links: parseLinks(addresses),
      routes: parseRoutes(routes),
      before: parseNeighbours(neighbours.before),
      neighbours: parseNeighbours(neighbours.after),
      fdb: parseFdb(fdb),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) =>
    [...facts].flatMap(([node, own]) => judge(own, node, inventory, probed)),
});

function judge(facts: Facts, node: string, inventory: Inventory, probed: readonly Probed[]): readonly Draft[] {
  return podsOn(facts.pods, inventory, node).flatMap((found) => {
    const attached = attachmentOf(found.namespace, facts.links);
    if (attached === null || found.pod.terminating) return [];
    const { inside, outside } = attached;
    const { pod } = found;
    const place = podPlace(pod.namespace, pod.name);
    const draft = (rest: Pick<Draft, 'code' | 'summary' | 'at' | 'evidence'> & Pick<Draft, 'advice' | 'remedy'>): Draft => ({
      entity: podEntity(pod.namespace, pod.name),
      harms: [{}],
      ...rest,
    });
    const name = `the pod ${podName(pod)}`;
    const route = routeTo(pod.ip, facts.routes);
    const bridge = facts.links.find((link) => link.kind === 'bridge' && link.name === route?.dev && route.gateway === undefined);
    const onBridge: HopPattern = {
      place: nodePlace(node),
      point: 'bridge',
      ...(bridge === undefined ? {} : { dev: bridge.name }),
      via: pod.ip,
    };
    if (!outside.up || inside.up === false) {
      const end = outside.up ? `${inside.name} in it` : `its end ${outside.name} on ${node}`;
      return [
        draft({
          code: 'pod-link-down',
          at: outside.up ? [{ place, point: 'dev' }] : [onBridge],
          summary: `${name} on ${node} is cut off: ${end} is down`,
          advice: outside.up
            ? `Delete the pod, so that its network is made anew; its own software may have set ${inside.name} down.`
            : `Set it up (ip link set ${outside.name} up) and find out who set it down.`,
          evidence: [
            citation(node, outside),
            { where: podName(pod), source: `/sys/class/net/${inside.name}/flags`, text: `UP: ${inside.up}` },
          ],
        }),
      ];
    }
    if (bridge === undefined) return [];
    if (outside.master !== bridge.name) {
      return [
        draft({
          code: 'pod-off-bridge',
          at: [isHeard(probed, podName(pod)) ? { ...onBridge, dir: 'out' } : onBridge],
          summary: `${name} on ${node} is cut off: its end ${outside.name} is ${outside.master === null ? 'on no bridge' : `on ${outside.master}`}, while its address ${pod.ip} is routed to ${bridge.name}`,
          advice: `Put it back (ip link set ${outside.name} master ${bridge.name}), or delete the pod, so that its network is made anew.`,
          evidence: [
            citation(node, outside),
            { where: node, source: ROUTES.argv.join(' '), text: `${route?.dst} dev ${route?.dev}` },
          ],
        }),
      ];
    }
    return [
      ...staleEntry(facts, found, bridge, inside.mac, node, draft),
      ...elsewhere(facts, found, outside, inside.mac, onBridge, node, draft),
    ];
  });
}

/**
 * Whether what the pod itself sends arrives: off the bridge, its end of the pair is a device of the node like any other, which
 * answers ARP for the gateway and routes on, once the pod has forgotten the bridge's MAC address.
 */
function isHeard(probed: readonly Probed[], pod: string): boolean {
  return probed.some(({ probe, result }) => probe.method === 'udp' && probe.from.pod === pod && result.delivered > 0);
}

type Drafted = (rest: Pick<Draft, 'code' | 'summary' | 'at' | 'evidence'> & Pick<Draft, 'advice' | 'remedy'>) => Draft;

function staleEntry(
  facts: Facts,
  { pod }: PodOnNode,
  bridge: Link,
  mac: string | null,
  node: string,
  draft: Drafted,
): readonly Draft[] {
  const entry = facts.neighbours.find(({ ip, dev, state }) => ip === pod.ip && dev === bridge.name && IN_USE.has(state));
  if (entry?.mac == null || mac === null || entry.mac === mac) return [];
  const isPermanent = entry.state === 'PERMANENT';
  return [
    draft({
      code: 'pod-neighbour-stale',
      at: [{ place: nodePlace(node), point: 'neigh', dev: bridge.name, via: pod.ip }],
      summary: `${node} sends to the pod ${podName(pod)} (${pod.ip}) at the MAC address ${entry.mac}, but the pod's interface has ${mac}${isPermanent ? '; somebody has set the entry permanently' : ''}`,
      advice: isPermanent
        ? `The entry does not go away by itself: find out who set it before it is deleted (ip neigh del ${pod.ip} dev ${bridge.name}).`
        : undefined,
      evidence: [
        {
          where: node,
          source: NEIGHBOURS.argv.join(' '),
          text: `${pod.ip} dev ${bridge.name} lladdr ${entry.mac} ${entry.state}`,
        },
        { where: podName(pod), source: '/sys/class/net/eth0/address', text: mac },
      ],
      remedy: {
        id: isPermanent ? 'delete-neighbour' : 'flush-neighbour',
        node,
        params: { dev: bridge.name, ip: pod.ip, mac: entry.mac },
      },
    }),
  ];
}

/** A learnt entry moves with the next frame of the pod; one on another port of the same bridge that stays was set. */
function elsewhere(
  { fdb, links }: Facts,
  { pod }: PodOnNode,
  outside: Link,
  mac: string | null,
  at: HopPattern,
  node: string,
  draft: Drafted,
): readonly Draft[] {
  const ports = new Set(links.filter(({ master }) => master === outside.master).map(({ name }) => name));
  const entries = fdb.filter((entry) => entry.mac === mac && ports.has(entry.dev));
  const [wrong] = entries;
  if (wrong === undefined || entries.some(({ dev }) => dev === outside.name)) return [];
  return [
    draft({
      code: 'pod-mac-elsewhere',
      // What the pod itself sends comes in by its own port.
      at: [{ ...at, dir: 'out' }],
      summary: `${outside.master} on ${node} sends frames for the pod ${podName(pod)} (${mac}) to ${wrong.dev}, but the pod is behind ${outside.name}`,
      advice: `Delete the entry (bridge fdb del ${mac} dev ${wrong.dev} master), and see whether another pod or machine has the same MAC address.`,
      evidence: [
        { where: node, source: FDB.argv.join(' '), text: `${mac} dev ${wrong.dev} master ${outside.master}` },
        citation(node, outside),
      ],
    }),
  ];
}

function citation(node: string, { name, up, master, carrier }: Link): Citation {
  const text = `${name} ${up ? 'UP' : 'DOWN'}${carrier ? '' : ' NO-CARRIER'}${master === null ? ', no master' : ` master ${master}`}`;
  return { where: node, source: ADDRESSES.argv.join(' '), text };
}
