import type { Handle } from '../handle.ts';
import { CLUSTER, hasDynamicNeighbours, RACK } from '../topology.ts';
import { type At, type Fault, failedBy } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';
import { otherNode, podIp } from './where.ts';

/** The MAC address of a network card that is not there any more. */
const OLD_MAC = '02:00:0a:1c:de:ad';

/** An hour, in milliseconds: how long an entry counts as reachable without being asked again. */
const LONG = 3_600_000;

function stale(name: string, title: string, state: 'reachable' | 'permanent'): Fault {
  return {
    name,
    row: 'N10',
    title,
    placement: 'pair',
    async inject(lab, at) {
      const [node, peer] = [lab.node(at.node), lab.node(at.peer)];
      const saved = await describeBoth(lab, at);
      // The peer must ask for nobody: every question of its own is heard by all and would correct the entry.
      await asksNobody(lab, peer.name, node);
      await lab.sh(node.name, entry(peer.ip, OLD_MAC, state));
      return saved;
    },
    async prove(lab, at) {
      const third = otherNode(lab, at.node, at.peer);
      await expectPackets(lab, {
        pass:
          third === null
            ? [ping(at.node, lab.node(at.node).ip)]
            : [ping(at.node, lab.node(third).ip), ping(third, lab.node(at.peer).ip)],
        fail: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, lab.node(at.node).ip)],
      });
    },
    heal: restoreBoth,
    expects: (_lab, at) =>
      failedBy('stale-neighbour', 'L2', at, { nodes: [at.node, at.peer], mentions: [OLD_MAC], lost: 'from-peer' }),
  };
}

function entry(ip: string, mac: string, state: string): string {
  return `ip ntable change name arp_cache dev eth0 base_reachable ${LONG}
ip neigh replace ${ip} lladdr ${mac} dev eth0 nud ${state}`;
}

/** Gives a node an entry for everybody on the link, or for its peer where entries are permanent, so that it asks for nobody. */
async function asksNobody(lab: Handle, node: string, peer: { readonly ip: string; readonly mac: string }): Promise<void> {
  const known = hasDynamicNeighbours(lab.topology)
    ? [...lab.topology.nodes.filter(({ name }) => name !== node), RACK.controlPlane, RACK.gateway, RACK.resolver]
    : [peer];
  await lab.sh(node, known.map(({ ip, mac }) => entry(ip, mac, 'reachable')).join('\n'));
}

/** What `ip neigh` says of the entries of two nodes for each other, or nothing, and how long theirs count as reachable. */
async function describeBoth(lab: Handle, { node, peer }: At) {
  const describe = (name: string, ip: string): Promise<string> => lab.sh(name, `ip neigh show to ${ip} dev eth0`);
  const table = (name: string): Promise<string> => lab.sh(name, 'ip ntable show name arp_cache dev eth0');
  return {
    own: await describe(node, lab.node(peer).ip),
    peers: await describe(peer, lab.node(node).ip),
    reachable: await table(node),
    peersReachable: await table(peer),
  };
}

const restoreBoth: Fault['heal'] = async (lab, at, saved) => {
  const [node, peer] = [lab.node(at.node), lab.node(at.peer)];
  await restore(lab, node.name, peer.ip, peer.mac, saved['own'] ?? '', saved['reachable'] ?? '');
  await restore(lab, peer.name, node.ip, node.mac, saved['peers'] ?? '', saved['peersReachable'] ?? '');
};

async function restore(lab: Handle, node: string, ip: string, mac: string, before: string, ntable: string): Promise<void> {
  const reachable = /base_reachable (\d+)/.exec(ntable)?.[1] ?? '30000';
  const isPermanent = before.includes('PERMANENT');
  await lab.sh(
    node,
    `ip ntable change name arp_cache dev eth0 base_reachable ${reachable}
ip neigh del ${ip} dev eth0 2>/dev/null || :
${isPermanent ? `ip neigh replace ${ip} lladdr ${mac} dev eth0 nud permanent` : ''}`,
  );
}

export const staleNeighbour = stale(
  'stale-neighbour',
  "a node's learnt neighbour entry for another node has an old MAC",
  'reachable',
);

export const staleNeighbourPermanent = stale(
  'stale-neighbour-permanent',
  "a node's neighbour entry for another node has an old MAC and was set by hand",
  'permanent',
);

/** A machine of another maker that was given a node's address. */
const TWIN_MAC = '00:50:56:9a:3f:01';

export const addressConflict: Fault = {
  name: 'address-conflict',
  row: 'N11',
  title: "another machine on the link has a node's address, and a peer has learnt it",
  placement: 'pair',
  async inject(lab, at) {
    const [node, peer] = [lab.node(at.node), lab.node(at.peer)];
    const saved = await describeBoth(lab, at);
    await lab.sh(
      'rack',
      `ip netns add twin
ip link add twin type veth peer name eth0 address ${TWIN_MAC} netns twin
ip link set twin master rack0 up
ip -n twin addr add ${node.ip}/${RACK.prefix} dev eth0
ip -n twin link set eth0 up
ip -n twin neigh replace ${peer.ip} lladdr ${peer.mac} dev eth0 nud permanent
nft -f - <<'END'
table netdev twin {
  chain answers {
    type filter hook ingress device "twin" priority 0; policy accept;
    # Who of the two answers first is chance: the peer has lost the race already, whoever asks for a conflict hears of it.
    arp operation reply arp daddr ip != 0.0.0.0 drop
  }
}
END`,
    );
    // Nobody may ask for anybody else: every question is heard by all and settles who has which entry.
    await asksNobody(lab, node.name, peer);
    await lab.sh(peer.name, entry(node.ip, TWIN_MAC, 'reachable'));
    return saved;
  },
  async prove(lab, at) {
    const third = otherNode(lab, at.node, at.peer);
    await expectPackets(lab, {
      pass: [
        ping(at.peer, lab.node(at.node).ip),
        ...(third === null ? [] : [tcp(third, lab.node(at.node).ip, CLUSTER.kubeletPort)]),
      ],
      fail: [tcp(at.peer, lab.node(at.node).ip, CLUSTER.kubeletPort), ping(at.node, lab.node(at.peer).ip)],
    });
  },
  async heal(lab, at, saved) {
    await lab.sh('rack', 'nft delete table netdev twin\nip link del twin\nip netns del twin');
    await restoreBoth(lab, at, saved);
  },
  expects: (_lab, at) =>
    failedBy('address-conflict', 'L2', at, {
      nodes: [at.node, at.peer],
      mentions: [TWIN_MAC, 'VMware, Inc.', at.peer],
      lost: 'to-peer',
    }),
};

/** Addresses of the link's network that nobody has, more than a tenth of what the kernel's table holds by default. */
const NOBODY = { first: '10.28.200.1', last: '10.28.200.150' };
const SCAN_PID = '/run/scan.pid';

export const neighboursUnresolved: Fault = {
  name: 'neighbours-unresolved',
  row: 'N12',
  title: 'something on a node sends to 150 addresses that nobody has: nothing is broken yet',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(
      at.node,
      `setsid sh -c 'while :; do fping -q -r 0 -t 100 -i 1 -g ${NOBODY.first} ${NOBODY.last} || :; sleep 1; done' </dev/null >/dev/null 2>&1 &
echo $! >${SCAN_PID}
until ip neigh show ${NOBODY.last} dev eth0 | grep -qE 'INCOMPLETE|FAILED'; do sleep 0.1; done`,
    );
    return {};
  },
  async prove(lab, at) {
    const unresolved = await lab.sh(at.node, "ip neigh show dev eth0 | grep -cE 'INCOMPLETE|FAILED'");
    if (Number(unresolved) < 120) throw new Error(`only ${unresolved.trim()} entries wait for an answer`);
    await expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, podIp(lab, 'web', at.node))],
      fail: [],
    });
  },
  async heal(lab, at) {
    await lab.sh(
      at.node,
      `scan=$(cat ${SCAN_PID}); rm ${SCAN_PID}
kill -- "-$scan"
while kill -0 -- "-$scan" 2>/dev/null; do sleep 0.1; done`,
    );
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['neighbours-unresolved'], nodes: [] }),
};

export const neighbourTableWasFull: Fault = {
  name: 'neighbour-table-was-full',
  row: 'N12',
  title: 'the kernel of a node is said to have had a full neighbour table some minutes ago',
  placement: 'node',
  async inject(lab, at) {
    // The table is the whole machine's, and so is the log; a node of the lab has another one.
    await lab.sh(
      at.node,
      `awk '{ printf "6,4712,%.0f,-;neighbour: arp_cache: neighbor table overflow!\\n", ($1 - 600) * 1000000 }' /proc/uptime >>/dev/kmsg`,
    );
    return {};
  },
  async prove(lab, at) {
    const said = await lab.sh(at.node, 'cat /dev/kmsg');
    if (!said.includes('neighbor table overflow')) throw new Error(`the log of ${at.node} must say it, and says: ${said}`);
  },
  async heal(lab, at) {
    await lab.sh(at.node, ': >/dev/kmsg');
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['neighbour-table-was-full'], nodes: [] }),
};
