import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withPod, withPodNamespace, withReading } from '../../../../test/fixtures.ts';
import { probeContext } from '../../../../test/probe-context.ts';
import { podToPod } from '../../mesh/pod-to-pod/index.ts';
import { podDetached } from './index.ts';

const inCase = (name: string) => readCase('pods/pod-detached', name);

test('every pod is on its bridge', () => {
  expect(evaluated(podDetached, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('the end on the node is down', () => {
  expect(evaluated(podDetached, inCase('link-down'))).toEqual({
    findings: [
      {
        check: 'pod-detached',
        layer: 'L2',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'node-2', source: 'ip -j -d -s address show', text: 'veth99d46a8e DOWN master cni0' },
          { where: 'netcheck-agents/netcheck-probe-2', source: '/sys/class/net/eth0/flags', text: 'UP: true' },
        ],
        entity: { kind: 'Pod', namespace: 'netcheck-agents', name: 'netcheck-probe-2' },
        harms: [{}],
        code: 'pod-link-down',
        at: [{ place: 'node/node-2', point: 'bridge', dev: 'cni0', via: '172.27.2.4' }],
        summary: 'the pod netcheck-agents/netcheck-probe-2 on node-2 is cut off: its end veth99d46a8e on node-2 is down',
        advice: 'Set it up (ip link set veth99d46a8e up) and find out who set it down.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a forwarding entry at another port', () => {
  expect(evaluated(podDetached, inCase('mac-elsewhere'))).toEqual({
    findings: [
      {
        check: 'pod-detached',
        layer: 'L2',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'node-2', source: 'bridge -j fdb show', text: '0a:58:ac:1b:02:04 dev veth642caec7 master cni0' },
          { where: 'node-2', source: 'ip -j -d -s address show', text: 'veth99d46a8e UP master cni0' },
        ],
        entity: { kind: 'Pod', namespace: 'netcheck-agents', name: 'netcheck-probe-2' },
        harms: [{}],
        code: 'pod-mac-elsewhere',
        at: [{ place: 'node/node-2', point: 'bridge', dev: 'cni0', via: '172.27.2.4', dir: 'out' }],
        summary:
          'cni0 on node-2 sends frames for the pod netcheck-agents/netcheck-probe-2 (0a:58:ac:1b:02:04) to veth642caec7, but the pod is behind veth99d46a8e',
        advice:
          'Delete the entry (bridge fdb del 0a:58:ac:1b:02:04 dev veth642caec7 master), and see whether another pod or machine has the same MAC address.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a neighbour entry with another MAC address', () => {
  expect(evaluated(podDetached, inCase('neighbour-stale'))).toEqual({
    findings: [
      {
        check: 'pod-detached',
        layer: 'L2',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'node-2', source: 'ip -j -s neighbour show', text: '172.27.2.4 dev cni0 lladdr 0a:58:00:00:de:ad PERMANENT' },
          { where: 'netcheck-agents/netcheck-probe-2', source: '/sys/class/net/eth0/address', text: '0a:58:ac:1b:02:04' },
        ],
        entity: { kind: 'Pod', namespace: 'netcheck-agents', name: 'netcheck-probe-2' },
        harms: [{}],
        code: 'pod-neighbour-stale',
        at: [{ place: 'node/node-2', point: 'neigh', dev: 'cni0', via: '172.27.2.4' }],
        summary:
          "node-2 sends to the pod netcheck-agents/netcheck-probe-2 (172.27.2.4) at the MAC address 0a:58:00:00:de:ad, but the pod's interface has 0a:58:ac:1b:02:04; somebody has set the entry permanently",
        advice:
          'The entry does not go away by itself: find out who set it before it is deleted (ip neigh del 172.27.2.4 dev cni0).',
        remedy: { id: 'delete-neighbour', node: 'node-2', params: { dev: 'cni0', ip: '172.27.2.4', mac: '0a:58:00:00:de:ad' } },
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('the end on the node is on no bridge', () => {
  expect(evaluated(podDetached, inCase('off-bridge'))).toEqual({
    findings: [
      {
        check: 'pod-detached',
        layer: 'L2',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'node-2', source: 'ip -j -d -s address show', text: 'veth99d46a8e UP, no master' },
          { where: 'node-2', source: 'ip -j route show table all', text: '172.27.2.0/24 dev cni0' },
        ],
        entity: { kind: 'Pod', namespace: 'netcheck-agents', name: 'netcheck-probe-2' },
        harms: [{}],
        code: 'pod-off-bridge',
        at: [{ place: 'node/node-2', point: 'bridge', dev: 'cni0', via: '172.27.2.4' }],
        summary:
          'the pod netcheck-agents/netcheck-probe-2 on node-2 is cut off: its end veth99d46a8e is on no bridge, while its address 172.27.2.4 is routed to cni0',
        advice: 'Put it back (ip link set veth99d46a8e master cni0), or delete the pod, so that its network is made anew.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('where what the pod itself sends arrives, only the way to it is harmed', () => {
  const [asked] = probeContext().pairs.flatMap(([source, target]) => podToPod.oneWay?.(source, target, probeContext()) ?? []);
  if (asked === undefined) throw new Error('no one-way probe is planned');
  const probed = (delivered: number) => [
    {
      probe: { ...asked, from: { ...asked.from, pod: 'netcheck-agents/netcheck-probe-2' } },
      result: { probe: asked.id, status: 'pass', sent: 10, delivered, how: 'ok' } as const,
    },
  ];
  const at = (delivered: number) => findingsIn(podDetached, inCase('off-bridge'), probed(delivered)).map((finding) => finding.at);
  const port = { place: 'node/node-2', point: 'bridge', dev: 'cni0', via: '172.27.2.4' };
  expect([at(10), at(0)]).toEqual([[[{ ...port, dir: 'out' }]], [[port]]]);
});

const PROBE = '172.27.2.4';
const found = (bundle: ReturnType<typeof inCase>) => findingsIn(podDetached, bundle).map(({ code }) => code);

/** The case with the pod's own device changed. */
function withDevice(name: string, change: object) {
  return withPodNamespace(inCase(name), PROBE, (namespace) => ({
    ...namespace,
    devices: namespace.devices.map((device) => ({ ...device, ...change })),
  }));
}

test('the end in the pod that is down', () => {
  expect(findingsIn(podDetached, withDevice('healthy', { up: false })).map(({ at, summary }) => ({ at, summary }))).toEqual([
    {
      at: [{ place: 'pod/netcheck-agents/netcheck-probe-2', point: 'dev' }],
      summary: 'the pod netcheck-agents/netcheck-probe-2 on node-2 is cut off: eth0 in it is down',
    },
  ]);
});

test('a device whose other end is another one is no veth pair of ours', () => {
  expect(found(withDevice('link-down', { index: 99 }))).toEqual([]);
  expect(found(withDevice('off-bridge', { iflink: null }))).toEqual([]);
});

test('a pod that is being deleted is taken apart', () => {
  expect(found(withPod(inCase('off-bridge'), 'netcheck-probe-2', { terminating: true }))).toEqual([]);
});

test('a pod with a route of its own needs no bridge', () => {
  const routed = withReading(
    inCase('off-bridge'),
    'route show',
    said((stdout) => JSON.stringify([...(JSON.parse(stdout) as object[]), { dst: PROBE, dev: 'veth99d46a8e', flags: [] }])),
    'node-2',
  );
  expect(found(routed)).toEqual([]);
});

test('an entry that was learnt is flushed; one that is not in use harms nothing', () => {
  const inState = (state: string) =>
    withReading(
      inCase('neighbour-stale'),
      'neighbour show @after',
      said((stdout) => stdout.replace('PERMANENT', state)),
      'node-2',
    );
  expect(findingsIn(podDetached, inState('REACHABLE')).map(({ remedy }) => remedy?.id)).toEqual(['flush-neighbour']);
  expect(found(inState('FAILED'))).toEqual([]);
});

test('an entry on the port of the pod itself is right, whatever else there is', () => {
  const both = withReading(
    inCase('mac-elsewhere'),
    'fdb show',
    said((stdout) => JSON.stringify([...(JSON.parse(stdout) as object[]), { mac: '0a:58:ac:1b:02:04', ifname: 'veth99d46a8e' }])),
    'node-2',
  );
  expect(found(both)).toEqual([]);
});
