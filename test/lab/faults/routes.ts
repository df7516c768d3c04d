import type { Handle } from '../handle.ts';
import { RACK } from '../topology.ts';
import type { At } from './fault.ts';
import { type Fault, failedBy } from './fault.ts';
import { expectPackets, ping } from './packets.ts';
import { otherNode, podIp } from './where.ts';

/** A node sends nothing to a peer's pods, everything else passes. */
const proveCutFromPods: Fault['prove'] = async (lab, at) => {
  const third = otherNode(lab, at.node, at.peer);
  await expectPackets(lab, {
    pass: [
      ping(at.node, lab.node(at.peer).ip),
      ...(third === null ? [] : [ping(at.node, lab.node(third).bridgeIp), ping(third, lab.node(at.peer).bridgeIp)]),
    ],
    fail: [ping(at.node, podIp(lab, 'web', at.peer)), ping(at.peer, podIp(lab, 'web', at.node))],
  });
};

type RouteFault = Pick<Fault, 'name' | 'title' | 'placement' | 'prove' | 'expects'> & {
  readonly change: (lab: Handle, at: At) => string;
  readonly undo: (lab: Handle, at: At) => string;
};

function routeFault({ change, undo, ...rest }: RouteFault): Fault {
  return {
    ...rest,
    row: 'N17',
    async inject(lab, at) {
      await lab.sh(at.node, change(lab, at));
      return {};
    },
    async heal(lab, at) {
      await lab.sh(at.node, undo(lab, at));
    },
  };
}

const halfOf = (lab: Handle, { peer }: At): string => lab.node(peer).podCIDR.replace('/24', '/25');

export const blackholeRoute = routeFault({
  name: 'blackhole-route',
  title: "a blackhole route on a node covers a peer's pods",
  placement: 'pair',
  change: (lab, at) => `ip route add blackhole ${halfOf(lab, at)}`,
  undo: (lab, at) => `ip route del blackhole ${halfOf(lab, at)}`,
  prove: proveCutFromPods,
  expects: (_lab, at) =>
    failedBy('blackhole-route', 'L3', at, { nodes: [at.node, at.peer], mentions: ['blackhole'], lost: 'from-peer' }),
});

export const policyRuleSteals = routeFault({
  name: 'policy-rule-steals',
  title: "a policy rule on a node sends what its pods say to a peer's pods to the default gateway",
  placement: 'pair',
  change: (lab, at) => `ip route add default via ${RACK.gateway.ip} table 100
ip rule add from ${lab.node(at.node).podCIDR} to ${lab.node(at.peer).podCIDR} lookup 100 priority 1000`,
  undo: () => `ip rule del priority 1000
ip route del default table 100`,
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, podIp(lab, 'web', at.peer))],
      fail: [
        ping(`default/client-${lab.node(at.node).index}`, podIp(lab, 'web', at.peer)),
        ping(`default/client-${lab.node(at.peer).index}`, podIp(lab, 'web', at.node)),
      ],
    }),
  expects: (_lab, at) =>
    failedBy('policy-rule-steals-traffic', 'L3', at, {
      nodes: [at.node, at.peer],
      mentions: ['lookup 100'],
      lost: 'from-peer',
      lostOf: 'pods',
    }),
});

/** The first eight addresses of which some are the nodes', as a container network would take them. */
const DOCKER = '10.28.87.56/29';

export const containerNetworkSteals = routeFault({
  name: 'container-network-steals',
  title: "a container runtime's bridge network on a node overlaps with the nodes' addresses",
  placement: 'node',
  change: () => `ip link add br-4f0c1e type bridge
ip addr add ${DOCKER} dev br-4f0c1e
ip link set br-4f0c1e up`,
  undo: () => 'ip link del br-4f0c1e',
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, RACK.controlPlane.ip), ping(at.node, podIp(lab, 'web', at.node))],
      fail: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, lab.node(at.node).ip)],
    }),
  expects: (_lab, at) => failedBy('route-steals-traffic', 'L3', at, { mentions: ['br-4f0c1e'], lost: 'from' }),
});

export const bridgeDown: Fault = {
  name: 'bridge-down',
  row: 'P1',
  title: 'the pod bridge of a node was set down',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, 'ip link set cni0 down');
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, podIp(lab, 'web', at.peer))],
      fail: [ping(at.node, podIp(lab, 'web', at.node)), ping(at.peer, podIp(lab, 'web', at.node))],
    }),
  async heal(lab, at) {
    await lab.sh(at.node, 'ip link set cni0 up');
  },
  expects: (_lab, at) => failedBy('bridge-down', 'L2', at, { lost: 'both', lostOf: 'pods' }),
};

export const podCidrOverlap: Fault = {
  name: 'pod-cidr-overlap',
  row: 'N17',
  title: "the podCIDR of a peer's Node covers that of a node as well; the network is as it was",
  placement: 'pair',
  async inject(lab, at) {
    const [own, peer] = [lab.node(at.node).index, lab.node(at.peer).index];
    let size = 2;
    while (Math.floor(own / size) !== Math.floor(peer / size)) size *= 2;
    const first = lab.node(at.peer).podCIDR.split('.', 2).join('.');
    const wide = `${first}.${(Math.floor(peer / size) * size) % 256}.0/${24 - Math.log2(size)}`;
    await setPodCidr(lab, at.peer, wide);
    return {};
  },
  async prove(lab, at) {
    const { body } = await lab.api('GET', `/api/v1/nodes/${at.peer}`);
    const text = JSON.stringify(body);
    if (text.includes(lab.node(at.peer).podCIDR)) throw new Error(`${at.peer} has its podCIDR still`);
  },
  heal: (lab, at) => setPodCidr(lab, at.peer, lab.node(at.peer).podCIDR),
  expects(lab, at) {
    // By the Node objects flannel's entries for the peer are wrong everywhere; the network, which works, was not changed.
    const others = lab.topology.nodes.filter(({ name }) => name !== at.peer);
    const entries = others.flatMap(() => ['flannel-neighbour-wrong', 'flannel-route-wrong']);
    return { status: 'healthy', layer: null, codes: [], risks: [...entries, 'pod-cidr-overlap'], nodes: [] };
  },
};

async function setPodCidr(lab: Handle, node: string, podCIDR: string): Promise<void> {
  await lab.api('PATCH', `/api/v1/nodes/${node}`, { spec: { podCIDR, podCIDRs: [podCIDR] } });
}
