import { expect, test } from 'vitest';
import { readCase } from '../../../test/fixtures.ts';
import type { Evidence } from '../../model/evidence.ts';
import type { Inventory } from '../../model/inventory.ts';
import { flannelNodes, netConf, parseSubnetEnv, restartFlannel, unreadVteps, vtepNodes } from './flannel.ts';

const { inventory } = readCase('flannel/vxlan-settings-mismatch', 'healthy');

test('the nodes are known by what flannel notes of itself', () => {
  expect(flannelNodes(inventory).map(({ node, ...told }) => ({ node: node.name, ...told }))).toEqual([
    { node: 'node-1', publicIp: '10.28.87.59', podCIDR: '172.27.1.0/24', vtepMac: '0e:42:10:e2:82:c3' },
    { node: 'node-2', publicIp: '10.28.87.60', podCIDR: '172.27.2.0/24', vtepMac: '0e:bc:63:65:6b:f6' },
    { node: 'node-3', publicIp: '10.28.87.61', podCIDR: '172.27.3.0/24', vtepMac: '0e:d6:0c:b9:3f:01' },
  ]);
});

const PREFIX = 'flannel.alpha.coreos.com';

/** The inventory with other annotations on node-1. */
function annotated(change: Readonly<Record<string, string>>): Inventory {
  const nodes = inventory.nodes.map((node, index) =>
    index > 0 ? node : { ...node, annotations: { ...node.annotations, ...change } },
  );
  return { ...inventory, nodes };
}

test('a node with another backend is left out', () => {
  const changed = annotated({ [`${PREFIX}/backend-type`]: 'host-gw' });
  expect(flannelNodes(changed).map(({ node }) => node.name)).toEqual(['node-2', 'node-3']);
  expect(unreadVteps(changed)).toEqual([]);
});

test.for(['null', '{"VtepMAC":', '{"VNI":1}'])(
  'a node whose data of the tunnel is %s has no MAC address, and that is a gap',
  (data) => {
    const changed = annotated({ [`${PREFIX}/backend-data`]: data });
    expect(flannelNodes(changed)[0]).toMatchObject({ node: { name: 'node-1' }, publicIp: '10.28.87.59', vtepMac: null });
    expect(vtepNodes(changed).map(({ node }) => node.name)).toEqual(['node-2', 'node-3']);
    const reason = `annotation ${PREFIX}/backend-data cannot be read: ${data}`;
    expect(unreadVteps(changed)).toEqual([{ where: 'node-1', reason }]);
  },
);

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

test('flannel is restarted by deleting exactly its pod on the node', () => {
  const { inventory: withPods } = readCase('flannel/flannel-not-running', 'healthy');
  expect([restartFlannel(withPods, 'node-2'), restartFlannel(withPods, 'node-9'), restartFlannel(inventory, 'node-2')]).toEqual([
    {
      id: 'restart-flannel',
      node: 'node-2',
      params: { namespace: 'kube-flannel', pod: 'kube-flannel-ds-2', uid: expect.stringMatching(/^[0-9a-f-]{36}$/) },
    },
    undefined,
    undefined,
  ]);
});

const file = (stdout: string): Evidence => ({
  argv: ['cat', '/run/flannel/subnet.env'],
  exitCode: 0,
  stdout,
  stderr: '',
  truncated: false,
  startedMs: 0,
  durationMs: 0,
});

test('subnet.env is read as flannel writes it', () => {
  const whole = 'FLANNEL_NETWORK=172.27.0.0/16\nFLANNEL_SUBNET=172.27.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n';
  expect([
    parseSubnetEnv(file(whole)),
    parseSubnetEnv(file('FLANNEL_SUBNET=172.27.2.1/24\nFLANNEL_MTU=\n')),
    parseSubnetEnv(file('\n')),
    parseSubnetEnv({ ...file(''), exitCode: 1, stderr: 'cat: /run/flannel/subnet.env: No such file or directory' }),
  ]).toEqual([
    { outcome: 'ok', facts: { network: '172.27.0.0/16', subnet: '172.27.2.1/24', mtu: 1450 } },
    { outcome: 'ok', facts: { network: null, subnet: '172.27.2.1/24', mtu: null } },
    { outcome: 'ok', facts: null },
    { outcome: 'ok', facts: null },
  ]);
});

test.for(['FLANNEL_NETWORK=172.27.0.0/16\n', 'FLANNEL_SUBNET=\n', 'not a line'])('subnet.env cannot be read: %j', (text) => {
  expect(parseSubnetEnv(file(text))).toMatchObject({ outcome: 'unknown' });
});
