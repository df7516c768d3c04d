import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withReading } from '../../../../test/fixtures.ts';
import { networkManagerInterferes } from './index.ts';

const inCase = (name: string) => readCase('linux/network-manager-interferes', name);
const NOTHING = { findings: [], acquitted: [], gaps: [] };

const risk = {
  check: 'network-manager-interferes',
  layer: 'L3',
  severity: 'info',
  certainty: 'suspect',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [],
  harms: [],
};
const GONE = { where: 'node-2', source: 'ip -j route show table all', text: 'no route to 172.27.3.0/24' };

test('all routes are there', () => {
  expect(evaluated(networkManagerInterferes, inCase('healthy'))).toEqual(NOTHING);
});

test('NetworkManager manages everything, and a route is gone', () => {
  expect(evaluated(networkManagerInterferes, inCase('networkmanager'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...risk,
        code: 'networkmanager-manages-pod-devices',
        summary:
          'the route to pods (172.27.3.0/24) is gone from node-2, and NetworkManager runs there without being told to leave cni0 and flannel.1 alone',
        advice:
          'Write /etc/NetworkManager/conf.d/kubernetes.conf with the lines "[keyfile]" and "unmanaged-devices=interface-name:cni*;interface-name:cbr*;interface-name:flannel*;interface-name:veth*", then systemctl reload NetworkManager, and restart the pod of the network plugin, which sets its routes again.',
        evidence: [
          { where: 'node-2', source: 'ps -e -o comm=', text: 'NetworkManager' },
          { where: 'node-2', source: '/etc/NetworkManager', text: 'nothing there makes cni0 and flannel.1 unmanaged' },
          GONE,
        ],
      },
    ],
  });
});

test('a network of systemd-networkd covers everything, and a route is gone', () => {
  const file = '/run/systemd/network/90-all.network';
  expect(evaluated(networkManagerInterferes, inCase('networkd'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...risk,
        code: 'networkd-manages-pod-devices',
        summary: `the route to pods (172.27.3.0/24) is gone from node-2, and systemd-networkd runs there with ${file}, which covers cni0 and flannel.1`,
        advice:
          'Write /etc/systemd/network/00-kubernetes.network with the lines "[Match]", "Name=cni* cbr* flannel* veth*", "[Link]" and "Unmanaged=yes", and /etc/systemd/networkd.conf.d/kubernetes.conf with "[Network]", "ManageForeignRoutes=no" and "ManageForeignRoutingPolicyRules=no"; then restart the pod of the network plugin, which sets its routes again.',
        evidence: [
          { where: 'node-2', source: 'ps -e -o comm=', text: 'systemd-network' },
          { where: 'node-2', source: file, text: 'covers cni0, and does not leave it unmanaged' },
          { where: 'node-2', source: file, text: 'covers flannel.1, and does not leave it unmanaged' },
          GONE,
        ],
      },
    ],
  });
});

/** What is found where a file says this. */
function configured(name: 'networkmanager' | 'networkd', ...files: readonly (readonly [string, string])[]) {
  const stdout = files.map(([path, text]) => `==> ${path} <==\n${text}\n`).join('');
  const reading = name === 'networkd' ? '/etc/systemd/network' : '/etc/NetworkManager';
  const bundle = withReading(inCase(name), reading, (item) => ({ ...item, stdout }), 'node-2');
  return findingsIn(networkManagerInterferes, bundle).map(
    ({ summary }) => / (?:leave|covers) (.*?)(?: alone)?$/.exec(summary)?.[1],
  );
}

test.for<[string, readonly string[]]>([
  ['[keyfile]\nunmanaged-devices=interface-name:cni*;interface-name:flannel*', []],
  ['[keyfile]\n# unmanaged-devices=interface-name:cni*', ['cni0 and flannel.1']],
  ['[keyfile]\nunmanaged-devices+=interface-name:cali*,interface-name:cni0', ['flannel.1']],
  ['[keyfile]\nunmanaged-devices=*,except:interface-name:flannel.1', ['flannel.1']],
  ['[device-cni]\nmatch-device=interface-name:cni0;interface-name:flannel.?\nmanaged=0', []],
  ['[device-cni]\nmatch-device=interface-name:cni0\nmanaged=1', ['cni0 and flannel.1']],
  ['[main]\nunmanaged-devices=interface-name:*', ['cni0 and flannel.1']],
])('NetworkManager is told %j', ([text, managed]) => {
  expect(configured('networkmanager', ['/etc/NetworkManager/conf.d/k8s.conf', text])).toEqual(managed);
});

const ALL = ['/etc/systemd/network/90-all.network', '[Match]\nName=*\n[Network]\nDHCP=yes'] as const;

test.for<[string, readonly (readonly [string, string])[], readonly string[]]>([
  ['no network', [], []],
  ['one for cards', [['/run/systemd/network/10-netplan-eth0.network', '[Match]\nName=eth0 ens*\n']], []],
  ['one for cards by their address', [['/etc/systemd/network/10-x.network', '[Match]\nMACAddress=02:00:00:00:00:01\n']], []],
  ['one for what is like a card', [['/etc/systemd/network/10-x.network', '[Match]\nType=ether\n']], []],
  ['one for bridges', [['/etc/systemd/network/10-x.network', '[Match]\nKind=bridge\n']], ['cni0']],
  ['one for all but cards', [['/etc/systemd/network/10-x.network', '[Match]\nName=!eth* cni*\n']], ['flannel.1']],
  ['one without conditions', [['/etc/systemd/network/10-x.network', '[Network]\nDHCP=yes\n']], []],
  [
    'an earlier one that leaves them alone',
    [['/etc/systemd/network/00-k8s.network', '[Match]\nName=cni* flannel*\n[Link]\nUnmanaged=yes'], ALL],
    [],
  ],
  [
    'a later one that leaves them alone',
    [ALL, ['/etc/systemd/network/99-k8s.network', '[Match]\nName=cni*\n[Link]\nUnmanaged=yes']],
    ['cni0 and flannel.1'],
  ],
  ['routes of others left alone', [['/etc/systemd/networkd.conf.d/k8s.conf', '[Network]\nManageForeignRoutes=no'], ALL], []],
  [
    'one that a file of the same name masks',
    [
      ['/etc/systemd/network/90-all.network', ''],
      ['/usr/lib/systemd/network/90-all.network', '[Match]\nName=*'],
    ],
    [],
  ],
])('systemd-networkd has %s', ([, files, covered]) => {
  expect(configured('networkd', ...files)).toEqual(covered);
});

test('a manager that does not run took nothing', () => {
  for (const name of ['networkmanager', 'networkd']) {
    const stopped = withReading(inCase(name), 'ps -e', (item) => ({ ...item, stdout: 'tini\nps\nNetworkManager-w\n' }), 'node-2');
    expect(evaluated(networkManagerInterferes, stopped)).toEqual(NOTHING);
  }
});
