import { expect, test } from 'vitest';
import { readCase } from '../../test/fixtures.ts';
import { createView } from '../dataplane/view.ts';
import type { Bundle } from '../model/bundle.ts';
import { detect } from './detect.ts';
import { networksOf } from './judge.ts';

const found = ({ inventory, evidence }: Bundle) =>
  detect(inventory, evidence, createView(inventory, networksOf(inventory, evidence)));
const values = (bundle: Bundle) => Object.fromEntries(found(bundle).map(({ what, value }) => [what, value]));
const healthy = readCase('cluster/nodes-disagree', 'healthy');
const withInventory = (bundle: Bundle, change: Partial<Bundle['inventory']>): Bundle => ({
  ...bundle,
  inventory: { ...bundle.inventory, ...change },
});

test('each thing is told with how it is known', () => {
  expect(found(healthy)).toEqual([
    {
      what: 'network',
      value: 'flannel vxlan (VNI 1, UDP 8472)',
      source: 'the device flannel.1, Node annotation flannel.alpha.coreos.com/backend-type',
    },
    { what: 'proxy', value: 'kube-proxy iptables', source: 'its rules on the nodes' },
    { what: 'runtime', value: 'containerd 2.1.4', source: 'what the kubelet reports' },
    { what: 'versions', value: 'Kubernetes v1.35.0', source: 'the API server, and what the kubelets report' },
  ]);
});

test('where nodes differ, every kind is told with its number of nodes', () => {
  expect([
    values(readCase('cluster/nodes-disagree', 'proxy-mode')),
    values(readCase('cluster/nodes-disagree', 'backend')),
  ]).toMatchObject([
    { proxy: 'kube-proxy iptables on 2 nodes, kube-proxy nftables on 1 node' },
    { network: 'flannel vxlan (VNI 1, UDP 8472) on 2 nodes, flannel host-gw on 1 node' },
  ]);
});

test('a bridge without a tunnel is kubenet when it is cbr0', () => {
  const kubenet = readCase('cloud/cloud-drops-pods', 'healthy');
  const renamed: Bundle = JSON.parse(JSON.stringify(kubenet).replaceAll('cbr0', 'br-pods')) as Bundle;
  expect([values(kubenet), values(renamed)]).toMatchObject([{ network: 'kubenet' }, { network: 'bridge (br-pods)' }]);
});

test('what nothing was read of is left out, and a network that nobody knows is called so', () => {
  const nodes = healthy.inventory.nodes.map((node) => ({ ...node, annotations: {}, podCIDRs: [], runtime: '' }));
  const bare = withInventory(healthy, { nodes, configs: {}, version: 'unknown' });
  const [first] = healthy.evidence;
  const plain = (stdout: string) => stdout.replaceAll('flannel.1', 'tun0').replaceAll('vxlan', 'tun');
  const evidence = first === undefined ? [] : [JSON.parse(plain(JSON.stringify(first))) as typeof first];
  expect(values({ ...bare, evidence: [] })).toEqual({});
  expect(values({ ...bare, evidence })).toMatchObject({ network: 'an unknown pod network' });
});

test('the configuration is believed where nothing was seen', () => {
  const nodes = healthy.inventory.nodes.map((node) => ({ ...node, annotations: {} }));
  const configs = {
    'kube-flannel/kube-flannel-cfg': { 'net-conf.json': '{"Backend":{"Type":"wireguard"}}' },
    'kube-system/kube-proxy': { 'config.conf': 'kind: KubeProxyConfiguration\nmode: "ipvs"\n' },
    'kube-system/kubeadm-config': {
      ClusterConfiguration: 'networking:\n  dnsDomain: corp.test\n  serviceSubnet: 10.96.0.0/12\n',
    },
  };
  expect(values({ ...withInventory(healthy, { nodes, configs }), evidence: [] })).toMatchObject({
    network: 'flannel wireguard',
    proxy: 'kube-proxy ipvs',
    domain: 'corp.test',
    services: 'services 10.96.0.0/12',
  });
});

test('the addresses of Services show at least where they are', () => {
  const service = (name: string, clusterIP: string | null) => ({
    namespace: 'kube-system',
    name,
    type: 'ClusterIP',
    clusterIP,
    selector: {},
    ports: [],
  });
  const services = [service('kube-dns', '10.96.0.10'), service('web', '10.99.1.2'), service('headless', null)];
  const bundle = { ...healthy, inventory: { ...healthy.inventory, services } } as unknown as Bundle;
  expect(values(bundle)).toMatchObject({ services: 'services in 10.96.0.0/14', dns: 'DNS 10.96.0.10' });
});
