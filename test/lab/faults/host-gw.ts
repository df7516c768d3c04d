import { hostGwRoutes } from '../build.ts';
import { RACK } from '../topology.ts';
import { type Fault, failedBy } from './fault.ts';
import { aroundPair, expectPackets, ping } from './packets.ts';
import { podIp } from './where.ts';

/* Faults of flannel's host-gw: routes over peers. */

export const hostGwRouteMissing: Fault = {
  name: 'host-gw-route-missing',
  row: 'F6',
  title: "host-gw's route to a peer's pods is missing on a node",
  placement: 'pair',
  networks: ['host-gw'],
  async inject(lab, at) {
    await lab.sh(at.node, `ip route del ${lab.node(at.peer).podCIDR}`);
    return {};
  },
  async prove(lab, at) {
    await expectPackets(lab, {
      pass: aroundPair(lab, at),
      fail: [ping(at.node, lab.node(at.peer).bridgeIp)],
    });
  },
  async heal(lab, at) {
    const { podCIDR, ip } = lab.node(at.peer);
    await lab.sh(at.node, `ip route add ${podCIDR} via ${ip} dev eth0`);
  },
  expects: (_lab, at) => failedBy('host-gw-route-wrong', 'L3', at, { nodes: [at.node, at.peer], lost: 'from-peer' }),
};

export const hostGwPeerOffLink: Fault = {
  name: 'host-gw-peer-off-link',
  row: 'F6',
  title: 'a node has a /32 address and a router, as clouds hand them out: host-gw gets no route over any peer',
  placement: 'node',
  networks: ['host-gw'],
  async inject(lab, at) {
    const { ip } = lab.node(at.node);
    // With the prefix go all routes that lead over it.
    await lab.sh(
      at.node,
      `ip addr del ${ip}/${RACK.prefix} dev eth0
ip addr add ${ip}/32 dev eth0
ip route add ${RACK.gateway.ip} dev eth0 scope link
ip route add default via ${RACK.gateway.ip} dev eth0`,
    );
    return {};
  },
  async prove(lab, at) {
    const refused = await lab.exec(at.node, ['ip', 'route', 'add', lab.node(at.peer).podCIDR, 'via', lab.node(at.peer).ip]);
    if (refused.exitCode === 0) throw new Error('the kernel must refuse a route over a peer that is not on the link');
    await expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), ping(at.peer, lab.node(at.node).ip)],
      fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.node, podIp(lab, 'web', at.peer))],
    });
  },
  async heal(lab, at) {
    const node = lab.node(at.node);
    await lab.sh(
      at.node,
      `ip addr del ${node.ip}/32 dev eth0
ip route flush dev eth0
ip addr add ${node.ip}/${RACK.prefix} brd + dev eth0
ip -batch - <<'END'
route add default via ${RACK.gateway.ip}
${hostGwRoutes(lab.topology, node).join('\n')}
END`,
    );
  },
  expects: (_lab, at) => failedBy('host-gw-peer-off-link', 'L3', at, { mentions: ['/32'], lost: 'from' }),
};
