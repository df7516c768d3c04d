import { type Hop, nodePlace } from '../../model/hop.ts';
import type { Inventory, Node } from '../../model/inventory.ts';
import type { Probe } from '../../model/probe.ts';
import { type Addresses, createParties, type Group, type Member, type Parties } from './flow-parties.ts';
import type { Classes } from './netfilter/classes.ts';
import type { AddressType, FilterPacket, HookAt } from './netfilter/packet.ts';
import type { NodeNetwork } from './node-network.ts';

/*
 * The traffic that has to pass a node for the cluster to work, hook by hook. IPv4 only.
 */

/** Who sends or receives, seen from the node; the words are used in sentences. */
export type Party = 'its pods' | 'pods on other nodes' | 'the node itself' | 'other nodes' | 'the API server';

/** A packet where a rule may meet it: the hook, and the hop that stands for it in the path of a probe. */
export type FlowStep = { readonly hook: HookAt; readonly hop: Hop; readonly packet: FilterPacket };

/**
 * One packet of a flow through the node: `from` and `to` say whose it is, `sources` and `targets` all addresses, and
 * `ports` all ports, that no rule tells from the ones in the packet. `ports` are destination ports, or the source ports of
 * an answer (`answer`). Flows with the same addresses share the very same `Addresses`.
 */
export type Flow = {
  readonly from: Party;
  readonly to: Party;
  readonly answer: boolean;
  /** A packet of the tunnel between nodes, with pods' packets inside. */
  readonly tunnel: boolean;
  /** Only netcheck's own probes are known to need it. */
  readonly own: boolean;
  readonly sources: Addresses;
  readonly targets: Addresses;
  readonly ports: readonly number[];
  readonly steps: readonly FlowStep[];
};

/** A node with its devices; `bridged` is whether rules see frames that stay on the pod bridge. */
export type FlowNode = { readonly node: Node; readonly network: NodeNetwork; readonly bridged: boolean };

/** A client's port, from the range that the kernel picks from. */
const EPHEMERAL = 47_011;

/**
 * Prepares the flows that must work in a cluster. The function that it returns gives those that pass a node, both
 * directions of each; requests of TCP and UDP as new and as established connections. What a NetworkPolicy may deny is left
 * out, except where a probe is planned because it does not. Addresses and ports that `classes` do not tell apart are
 * walked once, and only at hooks where there are rules.
 */
export function createFlows(inventory: Inventory, probes: readonly Probe[]): (at: FlowNode, classes: Classes) => Flow[] {
  const partiesAt = createParties(inventory, probes);
  return (at, classes) => {
    const parties = partiesAt(at.node.name, classes);
    const exchanges = [...hostExchanges(at, parties), ...podExchanges(at, parties)];
    return [...exchanges.flatMap((exchange) => packetsOf(exchange, at, classes)), ...tunnelFlows(at, parties, classes)];
  };
}

/** Where a direction of an exchange passes, with what is known of the packet there. */
type Passage = { readonly hook: HookAt; readonly hop: Omit<Hop, 'place'>; readonly on: Partial<FilterPacket> };

type Exchange = {
  readonly client: Party;
  readonly server: Party;
  readonly from: readonly Group[];
  readonly to: readonly Group[];
  readonly there: readonly Passage[];
  readonly back: readonly Passage[];
  /** kube-proxy chose the server: the destination of the connection is translated on this node. */
  readonly dnat?: true;
};

function hostExchanges({ network }: FlowNode, parties: Parties): Exchange[] {
  const { uplink } = network;
  if (uplink === null) return [];
  const { own, farNodes, apiServers } = parties;
  const there = arriving(uplink.name, 'dev');
  const back = leaving(uplink.name, 'dev');
  const inward = { to: own, server: 'the node itself', there, back } as const;
  const outward = { from: own, client: 'the node itself', there: back, back: there } as const;
  return [
    { ...inward, from: farNodes, client: 'other nodes' },
    { ...inward, from: apiServers, client: 'the API server' },
    { ...outward, to: farNodes, server: 'other nodes' },
    { ...outward, to: apiServers, server: 'the API server' },
  ];
}

function podExchanges({ network, bridged }: FlowNode, parties: Parties): Exchange[] {
  const { bridge, overlay, uplink } = network;
  const { ownPods, farPods, own, ownBridge, ownOverlay, farNodes, farOverlays, farBridges, apiServers } = parties;
  if (bridge === null) return [];
  const pods = bridge.name;
  const exchanges: Exchange[] = [
    {
      client: 'the node itself',
      server: 'its pods',
      from: ownBridge,
      to: ownPods,
      there: leaving(pods, 'bridge'),
      back: arriving(pods, 'bridge'),
    },
    {
      client: 'its pods',
      server: 'the node itself',
      from: ownPods,
      to: [...own, ...ownBridge],
      there: arriving(pods, 'bridge'),
      back: leaving(pods, 'bridge'),
    },
    {
      client: 'its pods',
      server: 'its pods',
      from: ownPods,
      to: ownPods,
      there: [forward(pods, pods, bridged)],
      back: [forward(pods, pods, bridged)],
      dnat: true,
    },
    withinBridge(ownPods, pods, bridged),
  ];
  const beyond = overlay ?? uplink;
  if (beyond !== null) {
    const point = overlay === null ? 'dev' : 'tunnel';
    const [out, into] = [crossing(pods, 'bridge', beyond.name, point), crossing(beyond.name, point, pods, 'bridge')];
    exchanges.push(
      { client: 'its pods', server: 'pods on other nodes', from: ownPods, to: farPods, there: out, back: into },
      {
        client: 'its pods',
        server: 'pods on other nodes',
        from: ownPods,
        to: farPods,
        there: afterTranslation(out),
        back: into,
        dnat: true,
      },
      { client: 'pods on other nodes', server: 'its pods', from: farPods, to: ownPods, there: into, back: out },
    );
    // without a tunnel, nodes use their own addresses in the pod network
    const [self, others] = overlay === null ? [own, farNodes] : [ownOverlay, farOverlays];
    const [there, back] = [arriving(beyond.name, point), leaving(beyond.name, point)];
    exchanges.push(
      { client: 'other nodes', server: 'its pods', from: others, to: ownPods, there: into, back: out },
      { client: 'other nodes', server: 'the node itself', from: others, to: ownBridge, there, back },
      { client: 'pods on other nodes', server: 'the node itself', from: farPods, to: ownBridge, there, back },
      { client: 'the node itself', server: 'pods on other nodes', from: self, to: farPods, there: back, back: there },
      { client: 'the node itself', server: 'other nodes', from: self, to: farBridges, there: back, back: there },
    );
  }
  if (uplink !== null) {
    const [out, into] = [crossing(pods, 'bridge', uplink.name, 'dev'), crossing(uplink.name, 'dev', pods, 'bridge')];
    exchanges.push(
      { client: 'its pods', server: 'other nodes', from: ownPods, to: farNodes, there: out, back: into },
      {
        client: 'its pods',
        server: 'the API server',
        from: ownPods,
        to: apiServers,
        there: afterTranslation(out),
        back: into,
        dnat: true,
      },
    );
  }
  return exchanges;
}

/**
 * Two pods of the node on one bridge; br_netfilter (`bridged`) shows their frames to the rules of the IP layer as well.
 * Without it they pass those hops unseen.
 */
function withinBridge(ownPods: readonly Group[], bridge: string, bridged: boolean): Exchange {
  const frame = (hook: HookAt): Passage => ({ hook, hop: { point: 'bridge', dev: bridge }, on: { bridged: true } });
  const unseen: Passage = { ...frame('bridge-forward'), hop: { point: 'forward', iif: bridge, oif: bridge } };
  const layer3 = bridged
    ? [prerouting(bridge, 'unicast'), forward(bridge, bridge, true), postrouting(bridge, 'unicast')]
    : [unseen];
  const way = [frame('bridge-prerouting'), frame('bridge-forward'), ...layer3, frame('bridge-postrouting')];
  return { client: 'its pods', server: 'its pods', from: ownPods, to: ownPods, there: way, back: way };
}

/** What a device is: a network card, a tunnel, or a bridge with ports of its own before it. */
type DevicePoint = 'dev' | 'tunnel' | 'bridge';

function arriving(dev: string, point: DevicePoint): Passage[] {
  return [
    ...ingress(dev, point),
    prerouting(dev, 'local'),
    { hook: 'input', hop: { point: 'input', iif: dev }, on: { iif: dev, srcType: 'unicast' } },
  ];
}

function leaving(dev: string, point: DevicePoint): Passage[] {
  return [
    { hook: 'output', hop: { point: 'output', oif: dev }, on: { oif: dev, dstType: 'unicast' } },
    postrouting(dev, 'local'),
    ...egress(dev, point),
  ];
}

function crossing(iif: string, inPoint: DevicePoint, oif: string, outPoint: DevicePoint): Passage[] {
  return [
    ...ingress(iif, inPoint),
    prerouting(iif, 'unicast'),
    forward(iif, oif, false),
    postrouting(oif, 'unicast'),
    ...egress(oif, outPoint),
  ];
}

/** What stands before the translation sees the service's address, which rules are not asked about here. */
function afterTranslation(passages: readonly Passage[]): Passage[] {
  return passages.filter(({ hook }) => hook !== 'ingress' && !hook.endsWith('prerouting') && hook !== 'bridge-input');
}

function ingress(dev: string, point: DevicePoint): Passage[] {
  const arrival: Passage = {
    hook: 'ingress',
    hop: { point: point === 'tunnel' ? 'tunnel' : 'dev', dev, dir: 'in' },
    on: { iif: dev },
  };
  return point === 'bridge' ? [frameAt('bridge-prerouting', dev, 'in'), frameAt('bridge-input', dev, 'in'), arrival] : [arrival];
}

function egress(dev: string, point: DevicePoint): Passage[] {
  const departure: Passage = {
    hook: 'egress',
    hop: { point: point === 'tunnel' ? 'tunnel' : 'dev', dev, dir: 'out' },
    on: { oif: dev },
  };
  return point === 'bridge'
    ? [departure, frameAt('bridge-output', dev, 'out'), frameAt('bridge-postrouting', dev, 'out')]
    : [departure];
}

/** A frame between a pod and the node's own stack; which of the bridge's ports it takes cannot be told. */
function frameAt(hook: HookAt, dev: string, dir: 'in' | 'out'): Passage {
  return { hook, hop: { point: 'bridge', dev, dir }, on: {} };
}

function prerouting(iif: string, dstType: AddressType): Passage {
  return { hook: 'prerouting', hop: { point: 'prerouting', iif }, on: { iif, srcType: 'unicast', dstType } };
}

function forward(iif: string, oif: string, bridged: boolean): Passage {
  return { hook: 'forward', hop: { point: 'forward', iif, oif }, on: { iif, oif, bridged } };
}

function postrouting(oif: string, srcType: AddressType): Passage {
  return { hook: 'postrouting', hop: { point: 'postrouting', oif }, on: { oif, srcType, dstType: 'unicast' } };
}

/** Every packet of an exchange that rules may treat differently. */
function packetsOf(exchange: Exchange, at: FlowNode, classes: Classes): Flow[] {
  const ways = { there: locate(exchange.there, at, classes), back: locate(exchange.back, at, classes) };
  return exchange.from.flatMap((from) => exchange.to.flatMap((to) => packetsBetween(exchange, ways, from, to)));
}

type LocatedPassage = Omit<Passage, 'hop'> & { readonly hop: Hop };

/**
 * The passages on a node where rules look at packets, and those that share a hop with one where they do. Only what came in
 * by the bridge has a bridge port.
 */
function locate(passages: readonly Passage[], { node, network }: FlowNode, { hooks }: Classes): LocatedPassage[] {
  const place = nodePlace(node.name);
  const isFrame = (hook: HookAt): boolean => hook.startsWith('bridge-');
  const seesFrames = [...hooks].some(isFrame);
  return passages
    .filter(
      ({ hook, hop }) => hooks.has(hook) || (hop.point === 'forward' && hooks.has('forward')) || (seesFrames && isFrame(hook)),
    )
    .map(({ hook, hop, on }) => ({
      hook,
      hop: { place, ...hop },
      on: on.iif === network.bridge?.name ? on : { portIn: '', ...on },
    }));
}

function packetsBetween(
  exchange: Exchange,
  { there, back }: { readonly there: readonly LocatedPassage[]; readonly back: readonly LocatedPassage[] },
  from: Group,
  to: Group,
): Flow[] {
  const [client, server] = twoOf(from, to);
  if (client === undefined || server === undefined) return [];
  const { dnat } = exchange;
  const make = (
    steps: readonly LocatedPassage[],
    answer: boolean,
    packet: FilterPacket,
    ports: readonly number[],
    own = false,
  ): Flow => ({
    from: answer ? exchange.server : exchange.client,
    to: answer ? exchange.client : exchange.server,
    answer,
    tunnel: false,
    own,
    sources: answer ? to : from,
    targets: answer ? from : to,
    ports,
    steps: steps.map(({ hook, hop, on }) => ({ hook, hop, packet: { ...packet, ...on } })),
  });
  const request = { src: client.ip, dst: server.ip, dnat: dnat ?? false };
  const reply = { src: server.ip, dst: client.ip, dnat: dnat ?? false };
  const pings: Flow[] =
    server.answersPing && dnat === undefined
      ? [
          make(there, false, { ...request, proto: 'icmp', icmpType: 8, state: 'new' }, []),
          make(back, true, { ...reply, proto: 'icmp', icmpType: 0, state: 'established' }, []),
        ]
      : [];
  const connections = to.services.flatMap(({ proto, ports, own }) => {
    const [port] = ports;
    if (port === undefined) return [];
    const asked = { ...request, proto, sport: EPHEMERAL, dport: port };
    const answered = { ...reply, proto, sport: port, dport: EPHEMERAL };
    return [
      make(there, false, { ...asked, state: 'new' }, ports, own),
      make(there, false, { ...asked, state: 'established' }, ports, own),
      make(back, true, { ...answered, state: 'established', tcpFlags: ['syn', 'ack'] }, ports, own),
    ];
  });
  return [...pings, ...connections];
}

/** A member of each group, not the same one: a packet to oneself never leaves. */
function twoOf(from: Group, to: Group): readonly [client?: Member, server?: Member] {
  for (const client of from.some) {
    const server = client.mayCall ? to.some.find(({ ip }) => ip !== client.ip) : undefined;
    if (server !== undefined) return [client, server];
  }
  return [];
}

/** The tunnel's own packets between nodes. Their source port differs each way, so that none is ever an answer. */
function tunnelFlows(at: FlowNode, { own, farNodes }: Parties, classes: Classes): Flow[] {
  const { uplink, overlay } = at.network;
  const port = overlay?.vxlan?.port;
  const [self] = own;
  const ip = self?.some[0]?.ip;
  if (uplink === null || port === undefined || self === undefined || ip === undefined) return [];
  const ports = [port];
  const ways = { in: locate(arriving(uplink.name, 'dev'), at, classes), out: locate(leaving(uplink.name, 'dev'), at, classes) };
  return farNodes.flatMap((group) =>
    // rules that let established connections pass would let these pass too, if there were any
    (['new', 'established'] as const).flatMap((state) => {
      const peer = group.some[0]?.ip ?? '';
      const make = (dir: 'in' | 'out'): Flow => {
        const ends = dir === 'in' ? { src: peer, dst: ip } : { src: ip, dst: peer };
        const packet: FilterPacket = { proto: 'udp', ...ends, sport: EPHEMERAL, dport: port, state, dnat: false };
        return {
          from: dir === 'in' ? 'other nodes' : 'the node itself',
          to: dir === 'in' ? 'the node itself' : 'other nodes',
          answer: false,
          tunnel: true,
          own: false,
          sources: dir === 'in' ? group : self,
          targets: dir === 'in' ? self : group,
          ports,
          steps: ways[dir].map(({ hook, hop, on }) => ({ hook, hop, packet: { ...packet, ...on } })),
        };
      };
      return [make('in'), make('out')];
    }),
  );
}
