import { expect, test } from 'vitest';
import { setFlannelHostGw } from './index.ts';

test('the backend is changed in the ConfigMap, and flannel restarted node by node', () => {
  const from = '{"Backend":{"Type":"vxlan"}}';
  const to = '{"Backend":{"Type":"host-gw"}}';
  const params = { namespace: 'kube-system', configMap: 'kube-flannel-cfg', daemonSet: 'kube-flannel-ds', from, to };
  expect(setFlannelHostGw.commands(params)).toEqual([
    [
      'PATCH',
      '/api/v1/namespaces/kube-system/configmaps/kube-flannel-cfg',
      JSON.stringify({ metadata: { annotations: { 'netcheck.io/net-conf-before': from } }, data: { 'net-conf.json': to } }),
    ],
    ['ROLL', 'daemonsets/kube-system/kube-flannel-ds', 'one node at a time, 90s each'],
  ]);
});
