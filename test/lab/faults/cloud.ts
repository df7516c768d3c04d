import { RACK } from '../topology.ts';
import { type Fault, failedBy } from './fault.ts';
import { expectPackets, ping } from './packets.ts';
import { otherNode, podIp } from './where.ts';

/* What the cloud's network does to the packets of pods, in labs where they cross it as they are. No node can see it. */

const proveNotCarried: Fault['prove'] = (lab, at) => {
  const third = otherNode(lab, at.node, at.peer);
  return expectPackets(lab, {
    pass: [
      ping(at.node, lab.node(at.peer).ip),
      ping(at.node, podIp(lab, 'web', at.node)),
      ...(third === null ? [] : [ping(third, lab.node(at.peer).bridgeIp)]),
    ],
    fail: [
      ping(at.peer, lab.node(at.node).bridgeIp),
      ping(`default/client-${lab.node(at.node).index}`, podIp(lab, 'web', at.peer)),
    ],
  });
};

export const cloudRouteMissing: Fault = {
  name: 'cloud-route-missing',
  row: 'F9',
  title: "the cloud has no route for a node's podCIDR: packets for its pods are lost in the network",
  placement: 'node',
  networks: ['kubenet'],
  async inject(lab, at) {
    // A cloud says nothing where it has no route.
    await lab.sh(RACK.gateway.name, `ip route replace blackhole ${lab.node(at.node).podCIDR}`);
    return {};
  },
  prove: proveNotCarried,
  async heal(lab, at) {
    const { podCIDR, ip } = lab.node(at.node);
    await lab.sh(RACK.gateway.name, `ip route replace ${podCIDR} via ${ip} dev eth0`);
  },
  expects: (_lab, at) =>
    failedBy('cloud-route-missing', 'L3', at, {
      mentions: [`instance ${at.node} (Google Cloud`],
      lost: 'to',
      lostOf: 'pod-network',
    }),
};

export const cloudSourceCheck: Fault = {
  name: 'cloud-source-check',
  row: 'F9',
  title: 'the cloud lets a node send and receive its own address only: source/destination check',
  placement: 'node',
  networks: ['kubenet', 'host-gw'],
  async inject(lab, at) {
    const { podCIDR } = lab.node(at.node);
    const chain = (hook: string, rule: string): string =>
      `  chain ${hook} {\n    type filter hook ${hook} device "${at.node}" priority 0; policy accept;\n    ${rule} counter drop\n  }\n`;
    await lab.sh(
      'rack',
      `nft -f - <<'END'\ntable netdev source-check-${at.node} {\n${chain('ingress', `ip saddr ${podCIDR}`)}${chain('egress', `ip daddr ${podCIDR}`)}}\nEND`,
    );
    return {};
  },
  prove: proveNotCarried,
  async heal(lab, at) {
    await lab.sh('rack', `nft delete table netdev source-check-${at.node}`);
  },
  expects: (_lab, at) => failedBy('cloud-source-check', 'L3', at, { lost: 'both', lostOf: 'pod-network' }),
};
