import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { vxlanSettingsMismatch } from './index.ts';

const inCase = (name: string) => readCase('flannel/vxlan-settings-mismatch', name);

const LINKS = 'address show';
const SOCKETS = 'ss -H -lunp';
const tunnelOf = (node: string) => ({ place: `node/${node}`, point: 'tunnel' });

const wrong = {
  check: 'vxlan-settings-mismatch',
  layer: 'L4',
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [tunnelOf('node-2')],
  harms: [{}],
} as const;
const MAKE_AGAIN = 'Restart flannel on node-2: it creates the device again from its configuration.';

test('every device has the settings of flannel’s configuration: its tunnel is acquitted', () => {
  expect(evaluated(vxlanSettingsMismatch, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: ['node-1', 'node-2', 'node-3'].map(tunnelOf),
    gaps: [],
  });
});

test.for([
  ['another-vni', 'vxlan-vni-mismatch', 'VNI', 42, 1],
  ['another-port', 'vxlan-port-mismatch', 'UDP port', 8475, 8472],
] as const)('%s', ([name, code, what, is, should]) => {
  expect(evaluated(vxlanSettingsMismatch, inCase(name))).toEqual({
    findings: [
      {
        ...wrong,
        code,
        summary: `flannel.1 on node-2 has the ${what} ${is}, the cluster uses ${should}`,
        advice: MAKE_AGAIN,
        evidence: [
          { where: 'node-2', source: 'ip -j -d -s address show', text: `flannel.1: ${what} ${is}` },
          { where: 'cluster', source: 'ConfigMap kube-flannel/kube-flannel-cfg', text: `${what} ${should}` },
        ],
      },
    ],
    acquitted: ['node-1', 'node-3'].map(tunnelOf),
    gaps: [],
  });
});

/** The process that the capture held the port with. */
const holder = /pid=(\d+)/.exec(
  inCase('port-taken').evidence[1]?.items[`node: ${SOCKETS}`]?.stdout.match(/.*socat.*/)?.[0] ?? '',
)?.[1];

test('another process holds the port', () => {
  expect(evaluated(vxlanSettingsMismatch, inCase('port-taken'))).toEqual({
    findings: [
      {
        ...wrong,
        code: 'vxlan-port-taken',
        summary: `UDP port 8472 on node-2 is held by socat (PID ${holder}), so that the VXLAN device flannel.1 is down`,
        advice: `Stop socat (PID ${holder}) on node-2, then restart flannel there.`,
        evidence: [
          { where: 'node-2', source: SOCKETS, text: `UNCONN 0 0 0.0.0.0:8472 0.0.0.0:* users:(("socat",pid=${holder},fd=5))` },
          { where: 'node-2', source: 'ip -j -d -s address show', text: 'flannel.1: not UP' },
        ],
      },
    ],
    acquitted: ['node-1', 'node-3'].map(tunnelOf),
    gaps: [],
  });
});

test('another process holds the port, and there is no device', () => {
  const gone = withReading(inCase('port-taken'), LINKS, said(withoutDevice), 'node-2');
  expect(findingsIn(vxlanSettingsMismatch, gone)).toMatchObject([
    {
      code: 'vxlan-port-taken',
      summary: `UDP port 8472 on node-2 is held by socat (PID ${holder}), so that the VXLAN device is missing`,
      evidence: [{}, { text: 'no VXLAN device' }],
    },
  ]);
});

test('a device that is up has its port, whoever else listens', () => {
  const socket = 'UNCONN 0 0 127.0.0.1:8472 0.0.0.0:* users:(("socat",pid=9,fd=5))\n';
  const beside = withReading(
    inCase('healthy'),
    SOCKETS,
    said((stdout) => stdout + socket),
    'node-2',
  );
  expect(findingsIn(vxlanSettingsMismatch, beside)).toEqual([]);
});

test('a device that was set down', () => {
  expect(evaluated(vxlanSettingsMismatch, inCase('device-down'))).toEqual({
    findings: [
      {
        ...wrong,
        code: 'vxlan-device-down',
        layer: 'L2',
        summary: 'the VXLAN device flannel.1 is down on node-2',
        advice:
          'Restart flannel on node-2: it makes the device and all of its entries again. Setting the device up by hand brings back neither routes nor neighbours.',
        evidence: [{ where: 'node-2', source: 'ip -j -d -s address show', text: 'flannel.1: not UP' }],
      },
    ],
    acquitted: ['node-1', 'node-3'].map(tunnelOf),
    gaps: [],
  });
});

test('a device that is missing', () => {
  const gone = withReading(inCase('healthy'), LINKS, said(withoutDevice), 'node-2');
  expect(findingsIn(vxlanSettingsMismatch, gone)).toMatchObject([
    {
      code: 'vxlan-device-down',
      summary: 'the VXLAN device is missing on node-2',
      evidence: [{ text: 'no VXLAN device' }],
    },
  ]);
});

test('a node that does not run flannel needs no device', () => {
  const gone = withReading(inCase('healthy'), LINKS, said(withoutDevice), 'node-2');
  const nodes = gone.inventory.nodes.map((node) => (node.name === 'node-2' ? { ...node, annotations: {} } : node));
  expect(findingsIn(vxlanSettingsMismatch, { ...gone, inventory: { ...gone.inventory, nodes } })).toEqual([]);
});

const unconfigured = (bundle: Bundle): Bundle => ({ ...bundle, inventory: { ...bundle.inventory, configs: {} } });
const told = (bundle: Bundle) => {
  const { findings, acquitted } = evaluated(vxlanSettingsMismatch, bundle);
  return {
    findings: findings.map(({ code, entity, evidence }) => `${code} on ${entity.name} by ${evidence[1]?.source}`),
    acquitted: acquitted.map(({ place }) => place),
  };
};

test('without flannel’s configuration, most nodes are right', () => {
  expect(told(unconfigured(inCase('another-vni')))).toEqual({
    findings: ['vxlan-vni-mismatch on node-2 by 2 of 3 nodes'],
    acquitted: ['node/node-1', 'node/node-3'],
  });
});

test('where no settings have most nodes, flannel’s defaults are right', () => {
  const apart = withReading(
    unconfigured(inCase('another-vni')),
    LINKS,
    said((stdout) => stdout.replace('"port":8472', '"port":8475')),
    'node-3',
  );
  expect(told(apart)).toEqual({
    findings: ['vxlan-vni-mismatch on node-2 by 1 of 3 nodes', 'vxlan-port-mismatch on node-3 by 1 of 3 nodes'],
    acquitted: ['node/node-1'],
  });
});

test('where nobody can say which node is wrong, none is accused and none is acquitted', () => {
  const apart = ['node-1', 'node-3'].reduce(
    (bundle, node, index) =>
      withReading(
        bundle,
        LINKS,
        said((stdout) => stdout.replace('"port":8472', `"port":${8475 + index}`)),
        node,
      ),
    unconfigured(inCase('another-vni')),
  );
  expect(told(apart)).toEqual({ findings: [], acquitted: [] });
});

test('a node that alone has what is configured by now is the one that the others do not reach; they have to follow it', () => {
  const bundle = inCase('another-vni');
  const config = { 'net-conf.json': '{"Network":"172.27.0.0/16","Backend":{"Type":"vxlan","VNI":42}}' };
  const changed = { ...bundle, inventory: { ...bundle.inventory, configs: { 'kube-flannel/kube-flannel-cfg': config } } };
  const pod = (node: number) => bundle.inventory.pods.find(({ name }) => name === `kube-flannel-ds-${node}`);
  expect(evaluated(vxlanSettingsMismatch, changed)).toEqual({
    findings: [
      {
        ...wrong,
        code: 'vxlan-vni-mismatch',
        summary: 'flannel.1 on node-2 has the VNI 42, as flannel is configured, the other nodes still have 1',
        advice: 'Restart flannel on all other nodes, one at a time: it creates the device again from its configuration.',
        evidence: [
          { where: 'node-2', source: 'ip -j -d -s address show', text: 'flannel.1: VNI 42' },
          { where: 'cluster', source: '2 of 3 nodes', text: 'VNI 1' },
          { where: 'cluster', source: 'ConfigMap kube-flannel/kube-flannel-cfg', text: 'VNI 42' },
        ],
        ...(pod(1) === undefined
          ? {}
          : {
              remedy: {
                id: 'restart-flannel-on-nodes',
                node: null,
                params: {
                  namespace: 'kube-flannel',
                  pods: [1, 3].map((node) => `${pod(node)?.name}=${pod(node)?.uid}`).join(','),
                },
              },
            }),
      },
    ],
    acquitted: ['node-1', 'node-3'].map(tunnelOf),
    gaps: [],
  });
});

test('a cluster without flannel has nothing to judge', () => {
  const bundle = inCase('another-vni');
  const nodes = bundle.inventory.nodes.map((node) => ({ ...node, annotations: {} }));
  expect(told({ ...bundle, inventory: { ...bundle.inventory, nodes } })).toEqual({ findings: [], acquitted: [] });
});

test('what cannot be read is unknown on that node, with the reason', () => {
  const gaps = (reading: string, stdout: string) =>
    evaluated(
      vxlanSettingsMismatch,
      withReading(inCase('another-vni'), reading, (item) => ({ ...item, stdout }), 'node-2'),
    );
  expect([gaps(LINKS, '[]'), gaps(SOCKETS, 'Segmentation fault\n')]).toEqual(
    [
      expect.stringMatching(/^ip -j -d -s address show: unreadable output \(.+\)$/),
      `${SOCKETS}: unreadable output (not a socket: Segmentation fault)`,
    ].map((reason) => ({
      findings: [],
      acquitted: ['node-1', 'node-3'].map(tunnelOf),
      gaps: [{ what: 'vxlan-settings-mismatch', where: 'node-2', reason }],
    })),
  );
});

function withoutDevice(stdout: string): string {
  return JSON.stringify((JSON.parse(stdout) as { ifname: string }[]).filter(({ ifname }) => ifname !== 'flannel.1'));
}
