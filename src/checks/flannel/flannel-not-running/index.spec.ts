import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { flannelNotRunning } from './index.ts';

const inCase = (name: string) => readCase('flannel/flannel-not-running', name);

test('after a reboot', () => {
  expect(evaluated(flannelNotRunning, inCase('after-a-reboot'))).toEqual({
    findings: [
      {
        check: 'flannel-not-running',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'pods',
            text: 'kube-flannel/kube-flannel-ds-2: not ready, phase Running',
          },
          {
            where: 'node-2',
            source: 'ip -j -d -s address show',
            text: 'no VXLAN device',
          },
          {
            where: 'node-2',
            source: '/run/flannel/subnet.env',
            text: 'missing or empty',
          },
        ],
        code: 'flannel-not-running',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'tunnel',
          },
        ],
        harms: [{}],
        summary: 'flannel is not running on node-2, and its VXLAN device is gone',
        advice: 'kubectl -n kube-flannel logs kube-flannel-ds-2 --all-containers --previous says why it stops; then restart it.',
        remedy: {
          id: 'restart-flannel',
          node: 'node-2',
          params: {
            namespace: 'kube-flannel',
            pod: 'kube-flannel-ds-2',
            uid: expect.any(String),
          },
        },
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('healthy', () => {
  expect(evaluated(flannelNotRunning, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test('network mismatch', () => {
  expect(evaluated(flannelNotRunning, inCase('network-mismatch'))).toEqual({
    findings: [
      {
        check: 'flannel-not-running',
        layer: 'L3',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'cluster',
            source: 'ConfigMap kube-flannel/kube-flannel-cfg',
            text: 'Network 10.244.0.0/16',
          },
          {
            where: 'node-1',
            source: '/run/flannel/subnet.env, Node node-1',
            text: 'podCIDR 172.27.1.0/24, FLANNEL_NETWORK=172.27.0.0/16',
          },
          {
            where: 'node-2',
            source: '/run/flannel/subnet.env, Node node-2',
            text: 'podCIDR 172.27.2.0/24, FLANNEL_NETWORK=172.27.0.0/16',
          },
          {
            where: 'node-3',
            source: '/run/flannel/subnet.env, Node node-3',
            text: 'podCIDR 172.27.3.0/24, FLANNEL_NETWORK=172.27.0.0/16',
          },
        ],
        code: 'flannel-network-mismatch',
        entity: {
          kind: 'Node',
          name: 'node-1',
        },
        at: [
          {
            place: 'node/node-1',
            point: 'opaque',
          },
        ],
        harms: [],
        summary:
          "flannel's configuration says that the pod network is 10.244.0.0/16, node-1, node-2, node-3 use another: podCIDR 172.27.1.0/24, FLANNEL_NETWORK=172.27.0.0/16",
        advice:
          "flannel refuses to start for a podCIDR outside its Network, and does not translate addresses as the configuration says. Correct Network in ConfigMap kube-flannel/kube-flannel-cfg to the cluster's pod network (the controller manager's --cluster-cidr), then restart flannel node by node.",
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('no pod', () => {
  expect(evaluated(flannelNotRunning, inCase('no-pod'))).toEqual({
    findings: [
      {
        check: 'flannel-not-running',
        layer: 'L3',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'pods',
            text: 'no flannel pod on node-2, on other nodes there is one',
          },
        ],
        code: 'flannel-not-running',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'tunnel',
          },
        ],
        harms: [],
        summary: 'flannel has no pod on node-2',
        advice:
          'Find out why its DaemonSet puts no pod on node-2 (kubectl -n kube-flannel get ds,pods -o wide): node selector, a taint that it does not tolerate, or a pod that was just deleted.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('subnet missing', () => {
  expect(evaluated(flannelNotRunning, inCase('subnet-missing'))).toEqual({
    findings: [
      {
        check: 'flannel-not-running',
        layer: 'L3',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: '/run/flannel/subnet.env',
            text: 'missing or empty',
          },
        ],
        code: 'flannel-subnet-missing',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'opaque',
          },
        ],
        harms: [],
        summary: '/run/flannel/subnet.env is missing or empty on node-2: pods that start there get no network',
        advice: 'Restart flannel on node-2: it writes the file again. Pods that already run keep their network.',
        remedy: {
          id: 'restart-flannel',
          node: 'node-2',
          params: {
            namespace: 'kube-flannel',
            pod: 'kube-flannel-ds-2',
            uid: expect.any(String),
          },
        },
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('subnet wrong', () => {
  expect(evaluated(flannelNotRunning, inCase('subnet-wrong'))).toEqual({
    findings: [
      {
        check: 'flannel-not-running',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: '/run/flannel/subnet.env',
            text: 'FLANNEL_SUBNET=172.27.200.1/24',
          },
          {
            where: 'Kubernetes API',
            source: 'Node node-2',
            text: 'podCIDR 172.27.2.0/24',
          },
        ],
        code: 'flannel-subnet-wrong',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'tunnel',
          },
        ],
        harms: [
          {
            src: '172.27.200.1/24',
          },
          {
            dst: '172.27.200.1/24',
          },
        ],
        summary:
          "flannel on node-2 hands out addresses of 172.27.200.1/24, the node's podCIDR is 172.27.2.0/24: nobody routes to them",
        advice:
          'The Node was probably registered again with another podCIDR. Restart flannel on node-2, then delete the pods there that have an address outside 172.27.2.0/24.',
        remedy: {
          id: 'restart-flannel',
          node: 'node-2',
          params: {
            namespace: 'kube-flannel',
            pod: 'kube-flannel-ds-2',
            uid: expect.any(String),
          },
        },
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

/** The bundle with other pods of flannel, or the node changed. */
function otherwise(
  bundle: Bundle,
  { pods, node }: { pods?: (pods: Bundle['inventory']['pods']) => Bundle['inventory']['pods']; node?: object },
): Bundle {
  const { inventory } = bundle;
  const nodes = inventory.nodes.map((own) => (own.name === 'node-2' ? { ...own, ...node } : own));
  return { ...bundle, inventory: { ...inventory, nodes, pods: pods?.(inventory.pods) ?? inventory.pods } };
}

const codesIn = (bundle: Bundle) => findingsIn(flannelNotRunning, bundle).map(({ code, harms }) => [code, harms]);

test('without any pod of flannel, or with the pods not listed, only the file is judged', () => {
  const rebooted = inCase('after-a-reboot');
  const { inventory } = rebooted;
  const gaps = [{ what: 'pods', reason: 'forbidden' }];
  expect([codesIn(otherwise(rebooted, { pods: () => [] })), codesIn({ ...rebooted, inventory: { ...inventory, gaps } })]).toEqual(
    [[['flannel-subnet-missing', []]], [['flannel-subnet-missing', []]]],
  );
});

test('a node whose kubelet is silent has no pod that is ready, and nothing is said of it', () => {
  expect(codesIn(otherwise(inCase('after-a-reboot'), { node: { ready: 'Unknown' } }))).toEqual([['flannel-subnet-missing', []]]);
});

test('a pod that is on its way out does not count', () => {
  const leaving = otherwise(inCase('healthy'), {
    pods: (pods) => pods.map((pod) => (pod.node === 'node-2' ? { ...pod, terminating: true } : pod)),
  });
  expect(codesIn(leaving)).toEqual([['flannel-not-running', []]]);
});

test('of a node that was not read, flannel not running is a suspicion', () => {
  const rebooted = inCase('after-a-reboot');
  const unseen = { ...rebooted, evidence: rebooted.evidence.filter(({ node }) => node !== 'node-2') };
  expect(findingsIn(flannelNotRunning, unseen)).toMatchObject([
    { code: 'flannel-not-running', certainty: 'suspect', harms: [{}], summary: 'flannel is not running on node-2' },
  ]);
});

test('the device is there and down', () => {
  const down = withReading(
    inCase('no-pod'),
    'address show',
    said((stdout) => stdout.replace(/("ifname":"flannel\.1","flags":\[[^\]]*)"UP",/, '$1')),
    'node-2',
  );
  expect(findingsIn(flannelNotRunning, down)).toMatchObject([
    { code: 'flannel-not-running', harms: [{}], summary: 'flannel has no pod on node-2, and flannel.1 is down' },
  ]);
});

test.for<[string, string, readonly string[]]>([
  ['an empty file', '', ['flannel-subnet-missing']],
  ['the whole podCIDR', 'FLANNEL_NETWORK=172.27.0.0/16\nFLANNEL_SUBNET=172.27.2.1/24\n', []],
  ['a part of the podCIDR', 'FLANNEL_NETWORK=172.27.0.0/16\nFLANNEL_SUBNET=172.27.2.129/25\n', []],
  ['more than the podCIDR', 'FLANNEL_NETWORK=172.27.0.0/16\nFLANNEL_SUBNET=172.27.2.1/23\n', ['flannel-subnet-wrong']],
  ['another network', 'FLANNEL_NETWORK=172.16.0.0/12\nFLANNEL_SUBNET=172.27.2.1/24\n', ['flannel-network-mismatch']],
])('subnet.env has %s', ([, text, codes]) => {
  const bundle = withReading(inCase('healthy'), 'subnet.env', (item) => ({ ...item, stdout: text }), 'node-2');
  expect(codesIn(bundle).map(([code]) => code)).toEqual(codes);
});

test('a cluster without flannel has no such file, and that is no fault', () => {
  const bundle = inCase('subnet-missing');
  const nodes = bundle.inventory.nodes.map((node) => ({ ...node, annotations: {} }));
  expect(evaluated(flannelNotRunning, { ...bundle, inventory: { ...bundle.inventory, nodes, pods: [], configs: {} } })).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});
