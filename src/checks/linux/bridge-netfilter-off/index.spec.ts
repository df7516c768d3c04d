import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { bridgeNetfilterOff } from './index.ts';

const inCase = (name: string) => readCase('linux/bridge-netfilter-off', name);

const READING = 'cat /proc/sys/net/bridge/bridge-nf-call-iptables';

const off = (node: string) =>
  ({
    check: 'bridge-netfilter-off',
    code: 'bridge-netfilter-off',
    layer: 'L4',
    severity: 'critical',
    certainty: 'certain',
    partial: false,
    entity: { kind: 'Node', name: node },
    at: [{ place: `node/${node}`, point: 'bridge', dev: 'cni0', dir: 'in' }],
    harms: [{ dnat: true, state: 'established' }],
    summary: `frames that stay on cni0 of ${node} are not shown to iptables (net.bridge.bridge-nf-call-iptables is not 1): what a pod there asks of a Service, and a pod of the same node answers, is lost`,
    advice:
      'Load br_netfilter (modprobe br_netfilter) and set net.bridge.bridge-nf-call-iptables = 1, and keep both: a file in /etc/modules-load.d and one in /etc/sysctl.d.',
    evidence: [{ where: node, source: READING, text: '0' }],
    remedy: { id: 'set-bridge-netfilter', node, params: {} },
  }) as const;

/** The switch of a node, changed to 0. */
function switchedOff(bundle: Bundle, node: string): Bundle {
  return withReading(
    bundle,
    READING,
    said(() => '0\n'),
    node,
  );
}

test('where frames are shown to iptables nothing is said', () => {
  expect(evaluated(bridgeNetfilterOff, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('with queries that are lost it is the cause', () => {
  expect(findingsIn(bridgeNetfilterOff, inCase('with-a-server'))).toEqual([
    {
      ...off('node-2'),
      evidence: [
        ...off('node-2').evidence,
        {
          where: 'netcheck-agents/netcheck-probe-2',
          source: 'pod-to-service-on-node dns netcheck-agents/netcheck-probe-2 > kube-system/kube-dns 172.26.0.10',
          text: expect.stringMatching(/^[1-9] of 10 queries to the Service answered$/),
        },
      ],
    },
  ]);
});

test('without br_netfilter there is no such file', () => {
  const bundle = withReading(
    inCase('with-a-server'),
    READING,
    (item) => ({ ...item, exitCode: 1, stdout: '', stderr: `${READING}: No such file or directory` }),
    'node-2',
  );
  const [finding] = findingsIn(bridgeNetfilterOff, inCase('with-a-server'));
  expect(findingsIn(bridgeNetfilterOff, bundle)).toEqual([
    {
      ...finding,
      evidence: [
        { where: 'node-2', source: READING, text: 'no such file: br_netfilter is not loaded' },
        ...(finding?.evidence.slice(1) ?? []),
      ],
      remedy: { id: 'set-bridge-netfilter', node: 'node-2', params: { load: 'br_netfilter' } },
    },
  ]);
});

test('on a node without a DNS server nothing can be asked: a risk', () => {
  expect(findingsIn(bridgeNetfilterOff, switchedOff(inCase('healthy'), 'node-3'))).toEqual([
    { ...off('node-3'), severity: 'warning', certainty: 'suspect' },
  ]);
});

test('where it works without, no node is accused of it', () => {
  const both = switchedOff(switchedOff(inCase('healthy'), 'node-2'), 'node-3');
  expect(findingsIn(bridgeNetfilterOff, both)).toEqual([]);
});

test('without a pod bridge it is of no account', () => {
  const bundle = withReading(
    switchedOff(inCase('healthy'), 'node-3'),
    'address show',
    said((stdout) => stdout.replaceAll('"info_kind":"bridge"', '"info_kind":"dummy"')),
    'node-3',
  );
  expect(findingsIn(bridgeNetfilterOff, bundle)).toEqual([]);
});

test('without Services nothing is translated', () => {
  const bundle = switchedOff(inCase('healthy'), 'node-3');
  expect(findingsIn(bridgeNetfilterOff, { ...bundle, inventory: { ...bundle.inventory, services: [] } })).toEqual([]);
});
