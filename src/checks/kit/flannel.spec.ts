import { expect, test } from 'vitest';
import { readCase } from '../../../test/fixtures.ts';
import type { Inventory } from '../../model/inventory.ts';
import { flannelNodes, netConf } from './flannel.ts';

const { inventory } = readCase('flannel/vxlan-settings-mismatch', 'healthy');

test('the nodes are known by what flannel notes of itself', () => {
  expect(flannelNodes(inventory).map(({ node, ...told }) => ({ node: node.name, ...told }))).toEqual([
    { node: 'node-1', publicIp: '10.28.87.59', podCIDR: '172.27.1.0/24', vtepMac: '0e:42:10:e2:82:c3' },
    { node: 'node-2', publicIp: '10.28.87.60', podCIDR: '172.27.2.0/24', vtepMac: '0e:bc:63:65:6b:f6' },
    { node: 'node-3', publicIp: '10.28.87.61', podCIDR: '172.27.3.0/24', vtepMac: '0e:d6:0c:b9:3f:01' },
  ]);
});

const PREFIX = 'flannel.alpha.coreos.com';

test.for<[string, Readonly<Record<string, string>>]>([
  ['another backend', { [`${PREFIX}/backend-type`]: 'host-gw' }],
  ['no data of the tunnel', { [`${PREFIX}/backend-data`]: 'null' }],
  ['unreadable data', { [`${PREFIX}/backend-data`]: '{"VtepMAC":' }],
])('a node with %s is left out', ([, change]) => {
  const nodes = inventory.nodes.map((node, index) =>
    index > 0 ? node : { ...node, annotations: { ...node.annotations, ...change } },
  );
  expect(flannelNodes({ ...inventory, nodes }).map(({ node }) => node.name)).toEqual(['node-2', 'node-3']);
});

test('a node without an IPv4 pod network is left out', () => {
  const nodes = inventory.nodes.map((node, index) => (index > 0 ? node : { ...node, podCIDRs: ['fd00::/64'] }));
  expect(flannelNodes({ ...inventory, nodes }).map(({ node }) => node.name)).toEqual(['node-2', 'node-3']);
});

const configured = (namespace: string, text: string): Inventory => ({
  ...inventory,
  configs: { [`${namespace}/kube-flannel-cfg`]: { 'net-conf.json': text } },
});

test('port and VNI are those of the configuration, and the kernel’s defaults where it is silent', () => {
  expect([
    netConf(inventory),
    netConf(configured('kube-system', '{"Backend":{"Type":"vxlan","VNI":42,"Port":8475}}')),
    netConf(configured('kube-flannel', '{"Backend":{"Type":"host-gw"}}')),
    netConf(configured('kube-flannel', '{')),
    netConf({ ...inventory, configs: {} }),
  ]).toEqual([
    { vni: 1, port: 8472, source: 'ConfigMap kube-flannel/kube-flannel-cfg' },
    { vni: 42, port: 8475, source: 'ConfigMap kube-system/kube-flannel-cfg' },
    null,
    null,
    null,
  ]);
});
