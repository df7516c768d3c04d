import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withPod, withPodNamespace, withReading } from '../../../../test/fixtures.ts';
import { podRoutesWrong } from './index.ts';

const inCase = (name: string) => readCase('pods/pod-routes-wrong', name);

test('addresses and routes are as they should be', () => {
  expect(evaluated(podRoutesWrong, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('another address', () => {
  expect(evaluated(podRoutesWrong, inCase('another-address'))).toEqual({
    findings: [
      {
        check: 'pod-routes-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'node-2', source: '/proc/25/net/fib_trie of netcheck-agents/netcheck-probe-2', text: '172.27.2.200' },
        ],
        code: 'pod-address-missing',
        entity: { kind: 'Pod', namespace: 'netcheck-agents', name: 'netcheck-probe-2' },
        at: [{ place: 'pod/netcheck-agents/netcheck-probe-2', point: 'dev', dir: 'in' }],
        harms: [{ dst: '172.27.2.4', state: 'new' }],
        summary: 'the pod netcheck-agents/netcheck-probe-2 on node-2 does not have its address 172.27.2.4: it has 172.27.2.200',
        advice: 'Delete the pod, so that its network is made anew; look for software in it that configures the network.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('no default route', () => {
  expect(evaluated(podRoutesWrong, inCase('no-default-route'))).toEqual({
    findings: [
      {
        check: 'pod-routes-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'node-2', source: '/proc/25/net/route of netcheck-agents/netcheck-probe-2', text: '172.27.2.0/24 dev eth0' },
        ],
        code: 'pod-default-route-missing',
        entity: { kind: 'Pod', namespace: 'netcheck-agents', name: 'netcheck-probe-2' },
        at: [{ place: 'pod/netcheck-agents/netcheck-probe-2', point: 'route' }],
        harms: [
          { dst: '0.0.0.0/1' },
          { dst: '192.0.0.0/2' },
          { dst: '128.0.0.0/3' },
          { dst: '176.0.0.0/4' },
          { dst: '160.0.0.0/5' },
          { dst: '168.0.0.0/6' },
          { dst: '174.0.0.0/7' },
          { dst: '173.0.0.0/8' },
          { dst: '172.128.0.0/9' },
          { dst: '172.64.0.0/10' },
          { dst: '172.32.0.0/11' },
          { dst: '172.0.0.0/12' },
          { dst: '172.16.0.0/13' },
          { dst: '172.28.0.0/14' },
          { dst: '172.24.0.0/15' },
          { dst: '172.26.0.0/16' },
          { dst: '172.27.128.0/17' },
          { dst: '172.27.64.0/18' },
          { dst: '172.27.32.0/19' },
          { dst: '172.27.16.0/20' },
          { dst: '172.27.8.0/21' },
          { dst: '172.27.4.0/22' },
          { dst: '172.27.0.0/23' },
          { dst: '172.27.3.0/24' },
        ],
        summary: 'the pod netcheck-agents/netcheck-probe-2 on node-2 has no default route: it reaches only 172.27.2.0/24',
        advice:
          'Delete the pod, so that its network is made anew; look for software in it, or an initContainer, that changes routes.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('no route on the node', () => {
  expect(evaluated(podRoutesWrong, inCase('not-on-node'))).toEqual({
    findings: [
      {
        check: 'pod-routes-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [{ where: 'node-2', source: 'ip -j route show table all', text: 'default via 10.28.0.1 dev eth0' }],
        code: 'pod-route-missing',
        entity: { kind: 'Node', name: 'node-2' },
        at: [
          { place: 'node/node-2', point: 'route', via: '172.27.2.3' },
          { place: 'node/node-2', point: 'route', via: '172.27.2.2' },
          { place: 'node/node-2', point: 'route', via: '172.27.2.6' },
          { place: 'node/node-2', point: 'route', via: '172.27.2.4' },
        ],
        harms: [{ dst: '172.27.2.3' }, { dst: '172.27.2.2' }, { dst: '172.27.2.6' }, { dst: '172.27.2.4' }],
        summary:
          'node-2 has no route by cni0 to its pods default/client-2 (172.27.2.3), default/web-2 (172.27.2.2), kube-system/coredns-2 (172.27.2.6) and 1 more: packets for them go by default via 10.28.0.1 dev eth0',
        advice:
          'Restart the pod of the CNI plugin on this node, or delete the pods, so that their network is made anew; see what removes routes (NetworkManager, systemd-networkd).',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('another gateway', () => {
  expect(evaluated(podRoutesWrong, inCase('wrong-gateway'))).toEqual({
    findings: [
      {
        check: 'pod-routes-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: '/proc/25/net/route of netcheck-agents/netcheck-probe-2',
            text: '0.0.0.0/0 via 172.27.2.222 dev eth0, 172.27.2.0/24 dev eth0',
          },
        ],
        code: 'pod-gateway-wrong',
        entity: { kind: 'Pod', namespace: 'netcheck-agents', name: 'netcheck-probe-2' },
        at: [{ place: 'pod/netcheck-agents/netcheck-probe-2', point: 'route' }],
        harms: [
          { dst: '0.0.0.0/1' },
          { dst: '192.0.0.0/2' },
          { dst: '128.0.0.0/3' },
          { dst: '176.0.0.0/4' },
          { dst: '160.0.0.0/5' },
          { dst: '168.0.0.0/6' },
          { dst: '174.0.0.0/7' },
          { dst: '173.0.0.0/8' },
          { dst: '172.128.0.0/9' },
          { dst: '172.64.0.0/10' },
          { dst: '172.32.0.0/11' },
          { dst: '172.0.0.0/12' },
          { dst: '172.16.0.0/13' },
          { dst: '172.28.0.0/14' },
          { dst: '172.24.0.0/15' },
          { dst: '172.26.0.0/16' },
          { dst: '172.27.128.0/17' },
          { dst: '172.27.64.0/18' },
          { dst: '172.27.32.0/19' },
          { dst: '172.27.16.0/20' },
          { dst: '172.27.8.0/21' },
          { dst: '172.27.4.0/22' },
          { dst: '172.27.0.0/23' },
          { dst: '172.27.3.0/24' },
        ],
        summary:
          'the pod netcheck-agents/netcheck-probe-2 on node-2 sends by the gateway 172.27.2.222, the other pods there by 172.27.2.1',
        advice:
          'Delete the pod, so that its network is made anew; look for software in it, or an initContainer, that changes routes.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const PROBE = '172.27.2.4';
const found = (bundle: ReturnType<typeof inCase>) => findingsIn(podRoutesWrong, bundle).map(({ code }) => code);

test('where more networks are attached, or a pod is being deleted, nothing is said', () => {
  const twice = withPodNamespace(inCase('no-default-route'), PROBE, (namespace) => ({
    ...namespace,
    devices: [...namespace.devices, ...namespace.devices.map((device) => ({ ...device, name: 'net1' }))],
  }));
  expect(found(twice)).toEqual([]);
  expect(found(withPod(inCase('no-default-route'), 'netcheck-probe-2', { terminating: true }))).toEqual([]);
  expect(found(withPod(inCase('no-default-route'), 'netcheck-probe-2', { runtimeClass: 'kata' }))).toEqual([]);
});

test('where hardly any pod has a default route, none is missing', () => {
  const none = ['172.27.2.2', '172.27.2.3', '172.27.2.6'].reduce(
    (bundle, ip) =>
      withPodNamespace(bundle, ip, (namespace) => ({ ...namespace, routes: namespace.routes.filter(({ via }) => via === null) })),
    inCase('no-default-route'),
  );
  expect(found(none)).toEqual([]);
});

test('a gateway that the other pods have as well is meant to be, and so is another address of the node', () => {
  const outside = ['172.27.2.2', '172.27.2.3', '172.27.2.6'].reduce(
    (bundle, ip) =>
      withPodNamespace(bundle, ip, (namespace) => ({
        ...namespace,
        routes: namespace.routes.map((route) => (route.via === null ? route : { ...route, via: '172.27.2.222' })),
      })),
    inCase('wrong-gateway'),
  );
  expect(found(outside)).toEqual([]);
  const own = withReading(
    inCase('wrong-gateway'),
    'address show',
    said((stdout) => stdout.replaceAll('172.27.2.0"', '172.27.2.222"')),
    'node-2',
  );
  expect(found(own)).toEqual([]);
});

test('a route that refuses packets is another fault', () => {
  const refused = withReading(
    inCase('healthy'),
    'route show',
    said((stdout) => JSON.stringify([...(JSON.parse(stdout) as object[]), { type: 'blackhole', dst: PROBE, flags: [] }])),
    'node-2',
  );
  expect(found(refused)).toEqual([]);
});

test('one pod whose packets are led elsewhere is accused by itself', () => {
  const stolen = withReading(
    inCase('healthy'),
    'route show',
    said((stdout) =>
      JSON.stringify([...(JSON.parse(stdout) as object[]), { dst: PROBE, gateway: '10.28.0.9', dev: 'eth0', flags: [] }]),
    ),
    'node-2',
  );
  expect(findingsIn(podRoutesWrong, stolen).map(({ entity, summary }) => ({ entity, summary }))).toEqual([
    {
      entity: { kind: 'Pod', namespace: 'netcheck-agents', name: 'netcheck-probe-2' },
      summary:
        'node-2 has no route by cni0 to its pod netcheck-agents/netcheck-probe-2 (172.27.2.4): packets for them go by 172.27.2.4 via 10.28.0.9 dev eth0',
    },
  ]);
});
