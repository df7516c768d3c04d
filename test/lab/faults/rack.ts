import type { Handle } from '../handle.ts';
import { CLUSTER, RACK } from '../topology.ts';
import { type At, type Expectation, type Fault, failedBy, locatedOnly } from './fault.ts';
import { expectPackets, type Packet, ping, pingLoss, tcp } from './packets.ts';
import { otherNode, podIp } from './where.ts';

/*
 * What goes wrong outside every node: nft rules on the rack's ports, which no node can see, and which count their hits.
 * A port's ingress is what comes from its node, its egress what goes to it.
 */

type Rules = { readonly port: string; readonly hook: 'ingress' | 'egress'; readonly rules: readonly string[] };

type RackFault = Pick<Fault, 'name' | 'row' | 'title' | 'placement' | 'networks' | 'expects' | 'prove'> & {
  readonly rules: (lab: Handle, at: At) => readonly Rules[];
};

function rackFault({ rules, ...rest }: RackFault): Fault {
  const table = (at: At): string => `netdev ${rest.name}-${rest.placement === 'cluster' ? 'all' : at.node}`;
  return {
    ...rest,
    async inject(lab, at) {
      const chains = rules(lab, at).map(
        ({ port, hook, rules: lines }, index) =>
          `  chain c${index} {\n    type filter hook ${hook} device "${port}" priority 0; policy accept;\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`,
      );
      await lab.sh('rack', `nft -f - <<'END'\ntable ${table(at)} {\n${chains.join('')}}\nEND`);
      return {};
    },
    async heal(lab, at) {
      await lab.sh('rack', `nft delete table ${table(at)}`);
    },
  };
}

/** The same rules for what comes from a node and what goes to it. */
function bothWays(port: string, ...rules: readonly string[]): Rules[] {
  return [
    { port, hook: 'ingress', rules },
    { port, hook: 'egress', rules },
  ];
}

/** Packets between all others than these nodes, which must pass: none in a lab that has too few. */
function between(lab: Handle, at: At): Packet[] {
  const third = otherNode(lab, at.node, at.peer);
  return third === null ? [] : [ping(third, lab.node(at.peer).bridgeIp), ping(at.peer, lab.node(third).ip)];
}

export const pathMtuBlackHole = rackFault({
  name: 'path-mtu-black-hole',
  row: 'N14',
  title: 'the network drops packets over 1414 bytes at a node, and says nothing',
  placement: 'node',
  networks: ['vxlan', 'kubenet'],
  rules: (_lab, at) => bothWays(at.node, 'ip length > 1414 counter drop'),
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [
        ping(at.node, lab.node(at.peer).ip),
        ping(at.node, lab.node(at.peer).ip, 1400),
        ping(at.peer, lab.node(at.node).bridgeIp),
        ...between(lab, at),
      ],
      fail: [
        ping(at.node, lab.node(at.peer).ip, 1500),
        ping(at.peer, lab.node(at.node).ip, 1500),
        ping(at.peer, podIp(lab, 'web', at.node), 1450),
      ],
    }),
  expects: (_lab, at) => failedBy('path-mtu-black-hole', 'L3', at),
});

const DROP_VXLAN = `udp dport ${CLUSTER.vxlan.port} counter drop`;

export const vxlanPortBlocked = rackFault({
  name: 'vxlan-port-blocked',
  row: 'F1',
  title: 'the network drops UDP 8472 to and from a node',
  placement: 'node',
  rules: (_lab, at) => bothWays(at.node, DROP_VXLAN),
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ...between(lab, at)],
      fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.peer, podIp(lab, 'web', at.node))],
    }),
  expects: (_lab, at) => failedBy('vxlan-port-blocked', 'L4', at, { lost: 'both', risks: ['dns-fails-across-nodes'] }),
});

export const vxlanPortBlockedOneWay = rackFault({
  name: 'vxlan-port-blocked-one-way',
  row: 'F1',
  title: 'the network drops UDP 8472 from one node to another, not back',
  placement: 'pair',
  rules: (lab, at) => [{ port: at.node, hook: 'ingress', rules: [`ip daddr ${lab.node(at.peer).ip} ${DROP_VXLAN}`] }],
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ...between(lab, at)],
      fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.peer, lab.node(at.node).bridgeIp)],
    }),
  expects: (_lab, at) =>
    failedBy('vxlan-port-blocked', 'L4', at, {
      codes: [{ code: 'vxlan-port-blocked' }],
      nodes: [at.node, at.peer],
      lost: 'from-peer',
    }),
});

export const rackCutNode: Fault = {
  name: 'rack-cut-node',
  row: 'N13',
  title: 'the cable of a node is out',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh('rack', `ip link set ${at.node} down`);
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, podIp(lab, 'web', at.node)), ...between(lab, at)],
      fail: [ping(at.peer, lab.node(at.node).ip)],
    }),
  async heal(lab, at) {
    await lab.sh('rack', `ip link set ${at.node} up`);
  },
  expects: (_lab, at) => ({ ...locatedOnly('failed', 'L2', [at.node]), lost: 'both' }),
};

export const rackDropIp = rackFault({
  name: 'rack-drop-ip',
  row: 'M7',
  title: 'the network drops every IP packet to and from a node; ARP passes',
  placement: 'node',
  rules: (_lab, at) => bothWays(at.node, 'ip version 4 counter drop'),
  async prove(lab, at) {
    await expectPackets(lab, { pass: between(lab, at), fail: [ping(at.peer, lab.node(at.node).ip)] });
    await proveArp(lab, at);
  },
  expects: (_lab, at) => ({ ...locatedOnly('failed', 'L3', [at.node]), lost: 'both' }),
});

const pairPackets: Fault['prove'] = async (lab, at) => {
  await expectPackets(lab, {
    pass: between(lab, at),
    fail: [
      ping(at.node, lab.node(at.peer).ip),
      ping(at.peer, lab.node(at.node).ip),
      tcp(at.node, lab.node(at.peer).ip, CLUSTER.kubeletPort),
    ],
  });
  await proveArp(lab, at);
};

export const rackDropPair = rackFault({
  name: 'rack-drop-pair',
  row: 'M7',
  title: 'the network drops every IP packet between two nodes, both ways',
  placement: 'pair',
  rules: (lab, at) => [
    { port: at.node, hook: 'ingress', rules: [`ip daddr ${lab.node(at.peer).ip} counter drop`] },
    { port: at.node, hook: 'egress', rules: [`ip saddr ${lab.node(at.peer).ip} counter drop`] },
  ],
  prove: pairPackets,
  expects: (_lab, at) => ({ ...locatedOnly('failed', 'L3', [at.node, at.peer]), lost: 'both-peer' }),
});

export const rackDropPairOneWay = rackFault({
  name: 'rack-drop-pair-one-way',
  row: 'M7',
  title: 'the network drops every IP packet from one node to another, not back',
  placement: 'pair',
  rules: (lab, at) => [{ port: at.node, hook: 'ingress', rules: [`ip daddr ${lab.node(at.peer).ip} counter drop`] }],
  prove: pairPackets,
  expects: (_lab, at) => ({ ...locatedOnly('failed', 'L3', [at.node, at.peer]), lost: 'from-peer' }),
});

export const rackLossOneWay = rackFault({
  name: 'rack-loss-one-way',
  row: 'M7',
  title: 'the network loses one IP packet in five from one node to another, not back',
  placement: 'pair',
  rules: (lab, at) => [
    { port: at.node, hook: 'ingress', rules: [`ip daddr ${lab.node(at.peer).ip} numgen random mod 100 < 20 counter drop`] },
  ],
  async prove(lab, at) {
    await expectPackets(lab, { pass: between(lab, at), fail: [] });
    const loss = await pingLoss(lab, at.node, lab.node(at.peer).ip, 200);
    if (loss < 8 || loss > 35)
      throw new Error(`${loss} % of 200 pings from ${at.node} to ${at.peer} are lost, and must be about 20 %`);
  },
  expects: (_lab, at) => ({ ...locatedOnly('degraded', 'L3', [at.node, at.peer]), lost: 'from-peer' }),
});

/** The nodes in two halves: the first half is the smaller one. */
function halves(lab: Handle): [Handle['topology']['nodes'], Handle['topology']['nodes']] {
  const { nodes } = lab.topology;
  const half = Math.floor(nodes.length / 2);
  return [nodes.slice(0, half), nodes.slice(half)];
}

export const rackSplitGroups = rackFault({
  name: 'rack-split-groups',
  row: 'M7',
  title: 'two halves of the nodes cannot reach each other; both reach the control plane',
  placement: 'cluster',
  rules(lab) {
    const [first, second] = halves(lab);
    const refuse = (from: typeof first, to: typeof first): Rules[] =>
      to.map((node) => ({
        port: node.name,
        hook: 'egress',
        rules: [`ether saddr { ${from.map((other) => other.mac).join(', ')} } counter drop`],
      }));
    return [...refuse(first, second), ...refuse(second, first)];
  },
  async prove(lab) {
    const [[first], [second, third]] = halves(lab);
    if (first === undefined || second === undefined) throw new Error('a lab of one node has no halves');
    await expectPackets(lab, {
      pass: [
        ping(first.name, RACK.controlPlane.ip),
        ping(second.name, RACK.controlPlane.ip),
        ...(third === undefined ? [] : [ping(second.name, third.bridgeIp)]),
      ],
      fail: [ping(first.name, second.ip), ping(second.name, first.ip)],
    });
  },
  expects: (lab): Expectation =>
    locatedOnly(
      'failed',
      'L2',
      lab.topology.nodes.map((node) => node.name),
    ),
});

export const rackDropKubeletPort = rackFault({
  name: 'rack-drop-tcp-10250',
  row: 'N24',
  title: 'the network drops TCP 10250 to a node: nobody reaches its kubelet',
  placement: 'node',
  rules: (_lab, at) => [{ port: at.node, hook: 'egress', rules: [`tcp dport ${CLUSTER.kubeletPort} counter drop`] }],
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [
        ping(at.peer, lab.node(at.node).ip),
        tcp(at.node, lab.node(at.peer).ip, CLUSTER.kubeletPort),
        tcp(at.peer, podIp(lab, 'web', at.node), 8080),
      ],
      fail: [
        tcp(at.peer, lab.node(at.node).ip, CLUSTER.kubeletPort),
        tcp(RACK.controlPlane.name, lab.node(at.node).ip, CLUSTER.kubeletPort),
      ],
    }),
  expects: (_lab, at) => locatedOnly('failed', 'L4', [at.node]),
});

export const rackDropApiServer = rackFault({
  name: 'rack-drop-api-server',
  row: 'M5',
  title: 'the network drops TCP 6443 to the control plane: no node reaches the API server',
  placement: 'cluster',
  rules: () => [{ port: RACK.controlPlane.name, hook: 'egress', rules: [`tcp dport ${CLUSTER.apiPort} counter drop`] }],
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, RACK.controlPlane.ip), tcp(RACK.controlPlane.name, lab.node(at.node).ip, CLUSTER.kubeletPort)],
      fail: [tcp(at.node, RACK.controlPlane.ip, CLUSTER.apiPort), tcp(at.node, CLUSTER.apiService, 443)],
    }),
  expects: () => locatedOnly('failed', 'L4', []),
});

/** Whether the node's address still answers ARP of its peer. */
async function proveArp(lab: Handle, at: At): Promise<void> {
  const { exitCode } = await lab.exec(at.peer, ['arping', '-q', '-f', '-c', '2', '-w', '2', '-I', 'eth0', lab.node(at.node).ip]);
  if (exitCode !== 0) throw new Error(`${at.node} does not answer ARP of ${at.peer}`);
}

/** What it would do in its kernel module, the network does here: nothing on the node shows it either way. */
export const securitySoftware: Fault = {
  ...rackDropPair,
  name: 'security-software',
  row: 'N4',
  title: 'security software runs on a node, and something drops every IP packet between it and another',
  async inject(lab, at) {
    await lab.sh(at.node, 'kesl infinity </dev/null >/dev/null 2>&1 &\necho $! >/run/kesl.pid');
    return rackDropPair.inject(lab, at);
  },
  async heal(lab, at, saved) {
    await rackDropPair.heal(lab, at, saved);
    await lab.sh(at.node, 'kill "$(cat /run/kesl.pid)"\nrm /run/kesl.pid');
  },
  expects: (lab, at) => ({ ...rackDropPair.expects(lab, at), risks: ['security-software'] }),
};
