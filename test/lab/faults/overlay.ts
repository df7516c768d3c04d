import type { Vxlan } from '../build.ts';
import type { Handle } from '../handle.ts';
import { CLUSTER } from '../topology.ts';
import { type At, type Fault, failedBy } from './fault.ts';
import { rebuildScript } from './flannel.ts';
import { aroundPair, expectPackets, ping } from './packets.ts';
import { otherNode, podIp } from './where.ts';

/** The overlay of a node is dead in both directions, the network below it is not. */
const proveOverlayDead: Fault['prove'] = (lab, at) =>
  expectPackets(lab, {
    pass: [ping(at.node, lab.node(at.peer).ip), ping(at.node, podIp(lab, 'web', at.node))],
    fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.peer, lab.node(at.node).bridgeIp)],
  });

/** Makes flannel.1 anew, with its entries and routes, as flanneld would with this VNI and port. */
async function rebuild(lab: Handle, name: string, vxlan: Vxlan): Promise<void> {
  await lab.sh(name, rebuildScript(lab, lab.node(name), vxlan));
}

function mismatch(what: 'vni' | 'port', value: number): Fault {
  return {
    name: `vxlan-${what}-mismatch`,
    row: 'F2',
    title: `flannel.1 of a node has another VXLAN ${what === 'vni' ? 'VNI' : 'port'} than the others`,
    placement: 'node',
    async inject(lab, at) {
      await rebuild(lab, at.node, { ...CLUSTER.vxlan, [what]: value });
      return {};
    },
    prove: proveOverlayDead,
    heal: (lab, at) => rebuild(lab, at.node, CLUSTER.vxlan),
    expects: (_lab, at) => failedBy(`vxlan-${what}-mismatch`, 'L4', at, { lost: 'both' }),
  };
}

export const vxlanVniMismatch = mismatch('vni', 42);

export const vxlanPortMismatch = mismatch('port', 8475);

const CONFIG = '/api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg';

export const vxlanPortNotRolledOut: Fault = {
  name: 'vxlan-port-not-rolled-out',
  row: 'F2',
  title: "net-conf.json names another port since some time, and only one node's flannel was started again since",
  placement: 'node',
  async inject(lab, at) {
    const { body } = await lab.api('GET', CONFIG);
    const before = (body as { data: Record<string, string> }).data['net-conf.json'] ?? '';
    const config = JSON.parse(before) as { Backend: object };
    const after = JSON.stringify({ ...config, Backend: { ...config.Backend, Port: 8475 } });
    await lab.api('PATCH', CONFIG, { data: { 'net-conf.json': after } });
    await rebuild(lab, at.node, { ...CLUSTER.vxlan, port: 8475 });
    return { before };
  },
  prove: proveOverlayDead,
  async heal(lab, _at, saved) {
    await lab.api('PATCH', CONFIG, { data: { 'net-conf.json': saved['before'] } });
    for (const { name } of lab.topology.nodes) await rebuild(lab, name, CLUSTER.vxlan);
  },
  expects: (_lab, at) =>
    failedBy('vxlan-port-mismatch', 'L4', at, { lost: 'both', mentions: ['8475, as flannel is configured', 'still have 8472'] }),
};

export const vxlanPortTaken: Fault = {
  name: 'vxlan-port-taken',
  row: 'F2',
  title: "another process holds flannel's UDP port on a node, and flannel.1 cannot come up",
  placement: 'node',
  async inject(lab, at) {
    const { port } = CLUSTER.vxlan;
    const pid = await lab.sh(
      at.node,
      `ip link set flannel.1 down
socat -u UDP-RECV:${port} OPEN:/dev/null </dev/null >/dev/null 2>&1 &
until ss -Huln "sport = ${port}" | grep -q .; do kill -0 $!; done
if ip link set flannel.1 up 2>/dev/null; then exit 1; fi
echo $!`,
    );
    return { pid: pid.trim() };
  },
  prove: proveOverlayDead,
  async heal(lab, at, saved) {
    await lab.sh(at.node, `kill ${saved['pid']}\nwhile ss -Huln "sport = ${CLUSTER.vxlan.port}" | grep -q .; do :; done`);
    await rebuild(lab, at.node, CLUSTER.vxlan);
  },
  expects: (_lab, at) => failedBy('vxlan-port-taken', 'L4', at, { lost: 'both' }),
};

export const vxlanDeviceDown: Fault = {
  name: 'vxlan-device-down',
  row: 'F2',
  title: 'flannel.1 of a node was set down',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, 'ip link set flannel.1 down');
    return {};
  },
  prove: proveOverlayDead,
  heal: (lab, at) => rebuild(lab, at.node, CLUSTER.vxlan),
  expects: (_lab, at) => failedBy('vxlan-device-down', 'L2', at, { lost: 'both' }),
};

/** A wrong or missing entry on a node for one peer. `change` and `undo` are lines of sh that run on the node. */
function entryFault(
  name: string,
  title: string,
  code: string,
  layer: 'L2' | 'L3',
  change: (lab: Handle, at: At) => string,
  undo: (lab: Handle, at: At) => string,
): Fault {
  return {
    name,
    row: 'F3',
    title,
    placement: 'pair',
    async inject(lab, at) {
      await lab.sh(at.node, change(lab, at));
      return {};
    },
    async prove(lab, at) {
      await expectPackets(lab, {
        pass: aroundPair(lab, at),
        fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.peer, lab.node(at.node).bridgeIp)],
      });
    },
    async heal(lab, at) {
      await lab.sh(at.node, undo(lab, at));
    },
    expects: (_lab, at) => failedBy(code, layer, at, { nodes: [at.node, at.peer], lost: 'from-peer' }),
  };
}

const fdbEntry = (lab: Handle, at: At): string => {
  const { vtepMac, ip } = lab.node(at.peer);
  return `bridge fdb append ${vtepMac} dev flannel.1 dst ${ip} self permanent`;
};
const fdbDelete = (lab: Handle, at: At): string => `bridge fdb del ${lab.node(at.peer).vtepMac} dev flannel.1`;
const neighbourEntry = (lab: Handle, at: At, mac = lab.node(at.peer).vtepMac): string =>
  `ip neigh replace ${lab.node(at.peer).overlayIp} lladdr ${mac} dev flannel.1 nud permanent`;
const routeEntry = (lab: Handle, at: At, via = lab.node(at.peer).overlayIp): string =>
  `ip route replace ${lab.node(at.peer).podCIDR} via ${via} dev flannel.1 onlink`;

export const flannelFdbMissing = entryFault(
  'flannel-fdb-missing',
  'the forwarding entry for a peer is missing on flannel.1 of a node',
  'flannel-fdb-wrong',
  'L2',
  fdbDelete,
  fdbEntry,
);

export const flannelFdbStale = entryFault(
  'flannel-fdb-stale',
  'the forwarding entry for a peer on flannel.1 of a node leads to another node',
  'flannel-fdb-wrong',
  'L2',
  (lab, at) => {
    const third = otherNode(lab, at.node, at.peer);
    const ip = third === null ? '10.28.99.99' : lab.node(third).ip;
    return `bridge fdb replace ${lab.node(at.peer).vtepMac} dev flannel.1 dst ${ip} self permanent`;
  },
  (lab, at) => `${fdbDelete(lab, at)}\n${fdbEntry(lab, at)}`,
);

export const flannelNeighbourMissing = entryFault(
  'flannel-neighbour-missing',
  "the neighbour entry for a peer's flannel.1 is missing on a node",
  'flannel-neighbour-wrong',
  'L2',
  (lab, at) => `ip neigh del ${lab.node(at.peer).overlayIp} dev flannel.1`,
  neighbourEntry,
);

export const flannelNeighbourStale = entryFault(
  'flannel-neighbour-stale',
  "the neighbour entry for a peer's flannel.1 has an old MAC on a node",
  'flannel-neighbour-wrong',
  'L2',
  (lab, at) => neighbourEntry(lab, at, '0e:5a:5a:5a:5a:5a'),
  neighbourEntry,
);

export const flannelRouteMissing = entryFault(
  'flannel-route-missing',
  "the route to a peer's pods is missing on a node",
  'flannel-route-wrong',
  'L3',
  (lab, at) => `ip route del ${lab.node(at.peer).podCIDR}`,
  routeEntry,
);

export const flannelRouteStale = entryFault(
  'flannel-route-stale',
  "the route to a peer's pods leads to a node that is gone",
  'flannel-route-wrong',
  'L3',
  (lab, at) => routeEntry(lab, at, '172.27.0.0'),
  routeEntry,
);
