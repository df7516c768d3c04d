import { expect, test } from 'vitest';
import type { Inventory, Node } from '../../model/inventory.ts';
import type { Link } from './links.ts';
import { networkOf, nodeNetwork } from './node-network.ts';

function link(name: string, kind: string, ...ips: readonly string[]): Link {
  return {
    name,
    index: null,
    peer: null,
    kind,
    up: true,
    carrier: true,
    mtu: 1500,
    mac: null,
    master: null,
    addresses: ips.map((ip) => ({ family: ip.includes(':') ? 6 : 4, ip, prefix: 24 })),
    vxlan: kind === 'vxlan' ? { vni: 1, port: 8472, local: null, dev: null } : null,
    packets: null,
  };
}

function found(links: readonly Link[], node: Partial<Node> = {}) {
  const whole = { ip: '10.28.87.60', podCIDRs: ['fd00::/64', '172.27.2.0/24'], ...node } as Node;
  const { uplink, bridge, overlay } = nodeNetwork(whole, links);
  return [uplink, bridge, overlay].map((device) => device?.name ?? null);
}

const UPLINK = link('bond0.7', 'vlan', '192.0.2.1', '10.28.87.60');
const BRIDGE = link('cbr0', 'bridge', '172.27.2.1');
const OVERLAY = link('vxlan0', 'vxlan', '172.27.2.0');
const DOCKER = link('docker0', 'bridge', '172.17.0.1');
const CALICO = link('vxlan.calico', 'vxlan', '192.168.7.0');

test('finds the devices by the addresses they hold, whatever their names', () => {
  expect(found([DOCKER, CALICO, UPLINK, BRIDGE, OVERLAY])).toEqual(['bond0.7', 'cbr0', 'vxlan0']);
});

test('takes a bridge that holds another address of the pod network, but the first address before it', () => {
  const other = link('br-x', 'bridge', '172.27.2.200');
  expect(found([UPLINK, other])).toEqual(['bond0.7', 'br-x', null]);
  expect(found([other, BRIDGE])).toEqual([null, 'cbr0', null]);
});

test('takes a tunnel without an address of the pod network only where it is flannel’s', () => {
  expect(found([CALICO])).toEqual([null, null, null]);
  expect(found([CALICO, link('flannel.1', 'vxlan')])).toEqual([null, null, 'flannel.1']);
});

test('what is no bridge or no tunnel is not taken for one', () => {
  expect(found([link('eth1', 'physical', '172.27.2.1'), link('tunl0', 'ipip', '172.27.2.0')])).toEqual([null, null, null]);
});

test('finds nothing for a node without addresses', () => {
  expect(found([UPLINK, BRIDGE, OVERLAY], { ip: null, podCIDRs: [] })).toEqual([null, null, null]);
  expect(found([UPLINK, BRIDGE, OVERLAY], { podCIDRs: ['fd00::/64'] })).toEqual(['bond0.7', null, null]);
});

test('knows a node by its name, and nothing of one that is not in the inventory', () => {
  const inventory = { nodes: [{ name: 'node-2', ip: '10.28.87.60', podCIDRs: [] as string[] }] } as Inventory;
  expect(networkOf(inventory, 'node-2', [UPLINK, BRIDGE])).toEqual({ uplink: UPLINK, bridge: null, overlay: null });
  expect(networkOf(inventory, 'node-9', [UPLINK, BRIDGE])).toEqual({ uplink: null, bridge: null, overlay: null });
});
