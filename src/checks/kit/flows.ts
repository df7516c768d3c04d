import type { Hop } from '../../model/hop.ts';
import { nodePlace } from '../../model/hop.ts';
import type { Endpoint, Inventory, Node, Pod } from '../../model/inventory.ts';
import type { Probe } from '../../model/probe.ts';
import { addressAt, familyOf, firstIPv4 } from './cidr.ts';
import type { AddressType, FilterPacket, HookAt } from './netfilter/packet.ts';
import type { NodeNetwork } from './node-network.ts';
import { matchesSelector } from './policy.ts';

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
 * an answer (`answer`).
 */
export type Flow = {
  readonly from: Party;
  readonly to: Party;
  readonly answer: boolean;
  /** A packet of the tunnel between nodes, with pods' packets inside. */
  readonly tunnel: boolean;
  readonly sources: readonly string[];
  readonly targets: readonly string[];
  readonly ports: readonly number[];
  readonly steps: readonly FlowStep[];
};

/** What the flows of a node are built from. `bridged` is whether rules see frames that stay on the pod bridge. */
export type FlowContext = {
  readonly inventory: Inventory;
  readonly node: Node;
  readonly network: NodeNetwork;
  readonly bridged: boolean;
  readonly probes: readonly Probe[];
};

/** What tells addresses and ports apart; see netfilter/classes.ts. */
export type Apart = { readonly address: (ip: string) => number; readonly port: (port: number) => number };

type Service = { readonly proto: 'tcp' | 'udp'; readonly port: number };

/** Someone who may be an end of a flow, with what is served there. */
type Member = {
  readonly ip: string;
  readonly services: readonly Service[];
  readonly answersPing: boolean;
  readonly mayCall: boolean;
};

/** Members that no rule tells apart, one of which stands for all; their addresses; and what they serve, port by port class. */
type Group = {
  readonly members: readonly Member[];
  readonly ips: readonly string[];
  readonly services: readonly { readonly proto: 'tcp' | 'udp'; readonly ports: readonly number[] }[];
};

/** A client's port, from the range that the kernel picks from. */
const EPHEMERAL = 47_011;

/** A TCP port that stands for any other, where a pod names none. */
const ANY_PORT = 18_080;

/**
 * The flows that must work on a node, both directions of each; requests of TCP and UDP as new and as established
 * connections. What a NetworkPolicy
 * may deny is left out, except where a probe is planned because it does not. Addresses and ports that `apart` does not tell
 * apart are walked once.
 */
export function flowsOf(context: FlowContext, apart: Apart): Flow[] {
  const parties = partiesOf(context, apart);
  const exchanges = [...hostExchanges(context, parties), ...podExchanges(context, parties)];
  return [...exchanges.flatMap((exchange) => packetsOf(exchange, context)), ...tunnelFlows(context, parties)];
}

type Parties = {
  readonly ownPods: readonly Group[];
  readonly farPods: readonly Group[];
  readonly own: readonly Group[];
  readonly ownBridge: readonly Group[];
  readonly ownOverlay: readonly Group[];
  readonly farNodes: readonly Group[];
  readonly farOverlays: readonly Group[];
  readonly farBridges: readonly Group[];
  readonly apiServers: readonly Group[];
};

function partiesOf({ inventory, node, probes }: FlowContext, apart: Apart): Parties {
  const probed = probedServices(probes);
  const api = inventory.endpoints.filter(isApiServer);
  const host = (ip: string, services: readonly Service[] = []): Member => {
    const served = api.filter((endpoint) => endpoint.ip === ip).flatMap(servicesOf);
    return { ip, services: [...services, ...served, ...(probed.get(ip)?.services ?? [])], answersPing: true, mayCall: true };
  };
  const pods = podMembers(inventory, probed);
  const far = inventory.nodes.filter((other) => other.name !== node.name);
  const inPodNetwork = (owner: Node, index: number): string[] => {
    const block = firstIPv4(owner.podCIDRs);
    return block === null ? [] : [addressAt(block, index)];
  };
  const kubelet = (owner: Node): Service => ({ proto: 'tcp', port: owner.kubeletPort });
  const group = (members: readonly Member[]): Group[] => groupsOf(members, apart);
  return {
    ownPods: group(pods(node)),
    farPods: group(far.flatMap(pods)),
    own: group(node.ip === null ? [] : [host(node.ip, [kubelet(node)])]),
    ownBridge: group(inPodNetwork(node, 1).map((ip) => host(ip, [kubelet(node)]))),
    ownOverlay: group(inPodNetwork(node, 0).map((ip) => host(ip))),
    farNodes: group(far.flatMap((other) => (other.ip === null ? [] : [host(other.ip, [kubelet(other)])]))),
    farOverlays: group(far.flatMap((other) => inPodNetwork(other, 0)).map((ip) => host(ip))),
    farBridges: group(far.flatMap((other) => inPodNetwork(other, 1)).map((ip) => host(ip))),
    apiServers: group(api.filter(({ ip }) => ip !== node.ip && !far.some((other) => other.ip === ip)).map(({ ip }) => host(ip))),
  };
}

function groupsOf(members: readonly Member[], apart: Apart): Group[] {
  const key = ({ ip, answersPing, mayCall }: Member): string => `${apart.address(ip)} ${answersPing} ${mayCall}`;
  return [...Map.groupBy(members, key).values()].map((group) => ({
    members: group,
    ips: group.map(({ ip }) => ip),
    services: [
      ...Map.groupBy(
        group.flatMap(({ services }) => services),
        ({ proto, port }) => `${proto} ${apart.port(port)}`,
      ).values(),
    ].map((same) => ({
      proto: same[0]?.proto ?? 'tcp',
      ports: [...new Set(same.map(({ port }) => port))].toSorted((a, b) => a - b),
    })),
  }));
}

type Probed = { readonly services: readonly Service[]; readonly isPinged: boolean };

/** What the run's own probes expect to reach, by address. */
function probedServices(probes: readonly Probe[]): ReadonlyMap<string, Probed> {
  const byAddress = Map.groupBy(
    probes.filter((probe) => probe.expect === 'reach'),
    (probe) => probe.packet.dst,
  );
  return new Map(
    [...byAddress].map(([ip, found]) => {
      const services = found.flatMap(({ packet: { proto, dport } }): Service[] =>
        (proto === 'tcp' || proto === 'udp') && dport !== undefined ? [{ proto, port: dport }] : [],
      );
      return [ip, { services, isPinged: found.some(({ packet }) => packet.proto === 'icmp') }];
    }),
  );
}

function isApiServer(endpoint: Endpoint): boolean {
  return endpoint.namespace === 'default' && endpoint.service === 'kubernetes' && endpoint.ready && familyOf(endpoint.ip) === 4;
}

function servicesOf({ ports }: Pick<Endpoint, 'ports'>): Service[] {
  return ports.flatMap(({ protocol, port }) =>
    protocol === 'SCTP' ? [] : [{ proto: protocol === 'UDP' ? ('udp' as const) : ('tcp' as const), port }],
  );
}

/** The pods of each node; a node without one is stood for by the first address that its pods get. */
function podMembers(inventory: Inventory, probed: ReadonlyMap<string, Probed>): (node: Node) => Member[] {
  const usable = inventory.pods.filter(
    (pod) => pod.ip !== null && familyOf(pod.ip) === 4 && !pod.hostNetwork && !pod.terminating,
  );
  const byNode = Map.groupBy(usable, (pod) => pod.node);
  const behind = Map.groupBy(inventory.endpoints, (endpoint) => endpoint.ip);
  return (node) => {
    const pods = byNode.get(node.name) ?? [];
    const block = firstIPv4(node.podCIDRs);
    if (pods.length === 0 && block !== null)
      return [{ ip: addressAt(block, 2), services: [{ proto: 'tcp', port: ANY_PORT }], answersPing: true, mayCall: true }];
    return pods.map((pod): Member => {
      const ip = pod.ip ?? '';
      const isolated = isolation(inventory, pod);
      const expected = probed.get(ip) ?? { services: [], isPinged: false };
      const declared = [...servicesOf(pod), ...(behind.get(ip) ?? []).flatMap(servicesOf)];
      const any: Service[] = declared.some(({ proto }) => proto === 'tcp') ? [] : [{ proto: 'tcp', port: ANY_PORT }];
      return {
        ip,
        services: [...(isolated.ingress ? [] : [...declared, ...any]), ...expected.services],
        answersPing: !isolated.ingress || expected.isPinged,
        mayCall: !isolated.egress,
      };
    });
  };
}

/** The directions in which some NetworkPolicy selects a pod: there, not everything has to work. */
function isolation({ policies }: Inventory, pod: Pod): { readonly ingress: boolean; readonly egress: boolean } {
  const selecting = policies.filter(
    (policy) => policy.namespace === pod.namespace && matchesSelector(policy.podSelector, pod.labels),
  );
  return {
    ingress: selecting.some((policy) => policy.ingress !== null),
    egress: selecting.some((policy) => policy.egress !== null),
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

function hostExchanges({ network }: FlowContext, parties: Parties): Exchange[] {
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

function podExchanges({ network, bridged }: FlowContext, parties: Parties): Exchange[] {
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
      there: leaving(pods, 'dev'),
      back: arriving(pods, 'dev'),
    },
    {
      client: 'its pods',
      server: 'the node itself',
      from: ownPods,
      to: [...own, ...ownBridge],
      there: arriving(pods, 'dev'),
      back: leaving(pods, 'dev'),
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
    ...(bridged ? [withinBridge(ownPods, pods)] : []),
  ];
  const beyond = overlay ?? uplink;
  if (beyond !== null) {
    const point = overlay === null ? 'dev' : 'tunnel';
    const [out, into] = [crossing(pods, 'dev', beyond.name, point), crossing(beyond.name, point, pods, 'dev')];
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
    const [out, into] = [crossing(pods, 'dev', uplink.name, 'dev'), crossing(uplink.name, 'dev', pods, 'dev')];
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

/** Two pods of the node on one bridge; br_netfilter shows their frames to the rules of the IP layer. */
function withinBridge(ownPods: readonly Group[], bridge: string): Exchange {
  const way = [prerouting(bridge, 'unicast'), forward(bridge, bridge, true), postrouting(bridge, 'unicast')];
  const frames: Passage[] = (['bridge-prerouting', 'bridge-forward', 'bridge-postrouting'] as const).map((hook) => ({
    hook,
    hop: { point: 'bridge', dev: bridge },
    on: { bridged: true },
  }));
  return {
    client: 'its pods',
    server: 'its pods',
    from: ownPods,
    to: ownPods,
    there: [...frames, ...way],
    back: [...frames, ...way],
  };
}

type DevicePoint = 'dev' | 'tunnel';

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
  return passages.filter(({ hook }) => hook !== 'ingress' && hook !== 'prerouting');
}

function ingress(dev: string, point: DevicePoint): Passage[] {
  return [{ hook: 'ingress', hop: { point, dev, dir: 'in' }, on: { iif: dev } }];
}

function egress(dev: string, point: DevicePoint): Passage[] {
  return [{ hook: 'egress', hop: { point, dev, dir: 'out' }, on: { oif: dev } }];
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
function packetsOf(exchange: Exchange, context: FlowContext): Flow[] {
  return exchange.from.flatMap((from) => exchange.to.flatMap((to) => packetsBetween(exchange, from, to, context)));
}

function packetsBetween(exchange: Exchange, from: Group, to: Group, { node, network }: FlowContext): Flow[] {
  const [client, server] = twoOf(from, to);
  if (client === undefined || server === undefined) return [];
  const { there, back, dnat } = exchange;
  const place = nodePlace(node.name);
  const make = (steps: readonly Passage[], answer: boolean, packet: FilterPacket, ports: readonly number[]): Flow => ({
    from: answer ? exchange.server : exchange.client,
    to: answer ? exchange.client : exchange.server,
    answer,
    tunnel: false,
    sources: answer ? to.ips : from.ips,
    targets: answer ? from.ips : to.ips,
    ports,
    steps: steps.map(({ hook, hop, on }) => ({
      hook,
      hop: { place, ...hop },
      packet: { ...packet, ...(on.iif === network.bridge?.name ? {} : { portIn: '' }), ...on },
    })),
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
  const connections = to.services.flatMap(({ proto, ports }) => {
    const [port = ANY_PORT] = ports;
    const asked = { ...request, proto, sport: EPHEMERAL, dport: port };
    const answered = { ...reply, proto, sport: port, dport: EPHEMERAL };
    return [
      make(there, false, { ...asked, state: 'new' }, ports),
      make(there, false, { ...asked, state: 'established' }, ports),
      make(back, true, { ...answered, state: 'established', tcpFlags: ['syn', 'ack'] }, ports),
    ];
  });
  return [...pings, ...connections];
}

/** A member of each group, not the same one: a packet to oneself never leaves. */
function twoOf(from: Group, to: Group): readonly [client?: Member, server?: Member] {
  for (const client of from.members.filter(({ mayCall }) => mayCall).slice(0, 2)) {
    const server = to.members.find(({ ip }) => ip !== client.ip);
    if (server !== undefined) return [client, server];
  }
  return [];
}

/** The tunnel's own packets between nodes. Their source port differs each way, so that none is ever an answer. */
function tunnelFlows({ node, network }: FlowContext, { own, farNodes }: Parties): Flow[] {
  const { uplink, overlay } = network;
  const port = overlay?.vxlan?.port;
  const [self] = own;
  const [ip] = self?.ips ?? [];
  if (uplink === null || port === undefined || self === undefined || ip === undefined) return [];
  const ports = [port];
  const place = nodePlace(node.name);
  return farNodes.flatMap((group) =>
    // rules that let established connections pass would let these pass too, if there were any
    (['new', 'established'] as const).flatMap((state) => {
      const [peer = ''] = group.ips;
      const make = (into: boolean): Flow => ({
        from: into ? 'other nodes' : 'the node itself',
        to: into ? 'the node itself' : 'other nodes',
        answer: false,
        tunnel: true,
        sources: into ? group.ips : self.ips,
        targets: into ? self.ips : group.ips,
        ports,
        steps: (into ? arriving(uplink.name, 'dev') : leaving(uplink.name, 'dev')).map(({ hook, hop, on }) => {
          const ends = into ? { src: peer, dst: ip } : { src: ip, dst: peer };
          return {
            hook,
            hop: { place, ...hop },
            packet: { proto: 'udp', ...ends, sport: EPHEMERAL, dport: port, state, dnat: false, portIn: '', ...on },
          };
        }),
      });
      return [make(true), make(false)];
    }),
  );
}
