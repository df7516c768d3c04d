import { CLUSTER, RACK } from '../topology.ts';
import { type Fault, failedBy } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';
import { podIp } from './where.ts';

/** A rule that an iptables command puts first into a chain, and that kills what is forwarded on the node. */
function forwardRule(system: 'legacy' | 'iptables-nft', command: string): Fault {
  const rule = '-m comment --comment "default deny" -j REJECT --reject-with icmp-host-prohibited';
  return {
    name: `forward-reject-${system}`,
    row: 'N2',
    title: `a REJECT ahead of everything in FORWARD on a node, in ${system === 'legacy' ? 'iptables-legacy' : system}`,
    placement: 'node',
    networks: system === 'legacy' ? ['vxlan', 'kubenet'] : ['vxlan', 'host-gw'],
    async inject(lab, at) {
      await lab.sh(at.node, `${command} -I FORWARD 1 ${rule}`);
      return {};
    },
    prove: proveNothingForwarded,
    async heal(lab, at) {
      await lab.sh(at.node, `${command} -D FORWARD ${rule}`);
    },
    expects: (_lab, at) => failedBy('filter-rule-drops', 'L4', at, { lost: 'both', lostOf: 'pods' }),
  };
}

const proveNothingForwarded: Fault['prove'] = (lab, at) => {
  const pod = `default/client-${lab.node(at.node).index}`;
  return expectPackets(lab, {
    pass: [
      ping(at.node, lab.node(at.peer).ip),
      tcp(at.node, podIp(lab, 'web', at.node), 8080),
      ping(at.peer, lab.node(at.node).bridgeIp),
    ],
    fail: [
      tcp(pod, podIp(lab, 'web', at.peer), 8080),
      tcp(at.peer, podIp(lab, 'web', at.node), 8080),
      tcp(pod, podIp(lab, 'web', at.node), 8080),
    ],
  });
};

export const forwardRejectLegacy = forwardRule('legacy', 'iptables-legacy');

export const forwardRejectIptablesNft = forwardRule('iptables-nft', 'iptables-nft');

export const forwardDropNft: Fault = {
  name: 'forward-drop-nft',
  row: 'N2',
  title: 'a DROP in a forward chain of a native nftables table on a node',
  placement: 'node',
  networks: ['vxlan', 'kubenet'],
  async inject(lab, at) {
    await lab.sh(
      at.node,
      `nft -f - <<'END'
table inet hardening {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state invalid drop
    counter drop comment "no routing on this host"
  }
}
END`,
    );
    return {};
  },
  prove: proveNothingForwarded,
  async heal(lab, at) {
    await lab.sh(at.node, 'nft delete table inet hardening');
  },
  expects: (_lab, at) => failedBy('filter-rule-drops', 'L4', at, { lost: 'both', lostOf: 'pods' }),
};

const VXLAN_DROP = '-p udp -m udp --dport 8472 -j DROP';

export const inputDropVxlan: Fault = {
  name: 'input-drop-vxlan',
  row: 'N2',
  title: "a DROP for flannel's UDP port in INPUT on a node",
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, `iptables-nft -I INPUT 1 ${VXLAN_DROP}`);
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, lab.node(at.node).ip), ping(at.node, podIp(lab, 'web', at.node))],
      fail: [ping(at.peer, lab.node(at.node).bridgeIp), ping(at.node, podIp(lab, 'web', at.peer))],
    }),
  async heal(lab, at) {
    await lab.sh(at.node, `iptables-nft -D INPUT ${VXLAN_DROP}`);
  },
  expects: (_lab, at) => failedBy('filter-rule-drops', 'L4', at, { lost: 'to' }),
};

const RAW_DROP = '-p udp -m multiport --dports 4789,8472 -j DROP';

export const rawDropVxlan: Fault = {
  name: 'raw-drop-vxlan',
  row: 'N2',
  title: "a DROP for a list of ports, flannel's among them, in the raw table of iptables-legacy on a node",
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, `iptables-legacy -t raw -A PREROUTING ${RAW_DROP}`);
    return {};
  },
  prove: inputDropVxlan.prove,
  async heal(lab, at) {
    await lab.sh(at.node, `iptables-legacy -t raw -D PREROUTING ${RAW_DROP}`);
  },
  expects: (_lab, at) => failedBy('filter-rule-drops', 'L4', at, { mentions: ['multiport --dports 4789,8472'] }),
};

export const nftMapDropsKubelet: Fault = {
  name: 'nft-map-drops-kubelet',
  row: 'N2',
  title: 'a verdict map of a native nftables table drops the kubelet’s port on a node, but for the control plane',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(
      at.node,
      `nft -f - <<'END'
table inet edge {
  set admins { type ipv4_addr; flags interval; elements = { ${RACK.gateway.ip}, ${RACK.controlPlane.ip} } }
  map ports { type inet_service : verdict; elements = { 22 : accept, ${CLUSTER.kubeletPort} : jump closed } }
  chain closed {
    counter drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    ct state established,related accept
    iifname != "eth0" accept
    ip saddr @admins accept
    tcp dport vmap @ports
  }
}
END`,
    );
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [
        ping(at.peer, lab.node(at.node).ip),
        tcp(at.node, lab.node(at.peer).ip, CLUSTER.kubeletPort),
        tcp(RACK.controlPlane.name, lab.node(at.node).ip, CLUSTER.kubeletPort),
      ],
      fail: [tcp(at.peer, lab.node(at.node).ip, CLUSTER.kubeletPort)],
    }),
  async heal(lab, at) {
    await lab.sh(at.node, 'nft delete table inet edge');
  },
  expects: (_lab, at) => failedBy('filter-rule-drops', 'L4', at, { mentions: ['chain closed'] }),
};

export const icmpFiltered: Fault = {
  name: 'icmp-filtered',
  row: 'M6',
  title: 'every node drops ICMP in INPUT: nothing is broken',
  placement: 'cluster',
  async inject(lab) {
    await Promise.all(lab.topology.nodes.map((node) => lab.sh(node.name, 'iptables-nft -I INPUT 1 -p icmp -j DROP')));
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [
        tcp(at.node, lab.node(at.peer).ip, 10250),
        ping(`default/client-${lab.node(at.node).index}`, podIp(lab, 'web', at.peer)),
      ],
      fail: [ping(at.node, lab.node(at.peer).ip), ping(at.node, podIp(lab, 'web', at.peer))],
    }),
  async heal(lab) {
    await Promise.all(lab.topology.nodes.map((node) => lab.sh(node.name, 'iptables-nft -D INPUT -p icmp -j DROP')));
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['icmp-filtered', 'filter-rule-drops'], nodes: [] }),
};
