import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import type { Inventory, Pod } from '../../../model/inventory.ts';
import { corednsUnavailable } from './index.ts';

const inCase = (name: string) => readCase('dns/coredns-unavailable', name);
const SERVER = 'kube-system/coredns-2';
const CRASHES =
  'CrashLoopBackOff, 7 restarts, ended last with Error (exit code 1): back-off 5m0s restarting failed container=coredns pod=coredns-2';

const base = { check: 'coredns-unavailable', layer: 'DNS', certainty: 'certain', partial: false } as const;
const ofPod = (number: number) =>
  ({
    ...base,
    severity: 'critical',
    entity: { kind: 'Pod', namespace: 'kube-system', name: `coredns-${number}` },
    at: [{ place: `pod/kube-system/coredns-${number}`, point: 'socket' }],
    harms: [
      { proto: 'udp', dport: 53 },
      { proto: 'tcp', dport: 53 },
      { proto: 'tcp', dport: 9153 },
    ],
  }) as const;
const status = (number: number, text: string) => ({
  where: `kube-system/coredns-${number}`,
  source: 'Kubernetes API, status of the pod',
  text,
});
const WAITING = 'phase Running, ready false; coredns waiting (CrashLoopBackOff), 7 restarts';
const RUNNING = 'phase Running, ready true; coredns running, 0 restarts';
const risk = (code: string) => ({ ...ofPod(1), code, severity: 'warning', harms: [] }) as const;

/** The case with another inventory. */
function changed(name: string, change: (inventory: Inventory) => Partial<Inventory>): Bundle {
  const bundle = inCase(name);
  return { ...bundle, inventory: { ...bundle.inventory, ...change(bundle.inventory) } };
}

/** The case with the pods changed that are the cluster's second DNS server. */
const withSecond = (name: string, change: (pod: Pod) => Partial<Pod>) =>
  changed(name, ({ pods }) => ({ pods: pods.map((pod) => (pod.name === 'coredns-2' ? { ...pod, ...change(pod) } : pod)) }));

const told = (bundle: Bundle) =>
  findingsIn(corednsUnavailable, bundle).map(({ code, certainty, summary }) => `${code}, ${certainty}: ${summary}`);

test('two servers on two nodes, both ready, that ask servers outside: nothing is wrong', () => {
  expect(evaluated(corednsUnavailable, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a server that crashes', () => {
  expect(evaluated(corednsUnavailable, inCase('crashing'))).toEqual({
    findings: [
      {
        ...ofPod(2),
        code: 'coredns-not-ready',
        summary: `the DNS pod ${SERVER} on node-2 is not ready: ${CRASHES}`,
        advice:
          'kubectl -n kube-system describe pod coredns-2, then logs coredns-2 --previous: an error in the Corefile, a forwarding loop, no access to the API server, too little memory.',
        evidence: [status(2, WAITING)],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a server that asks itself: told as the reason why it crashes', () => {
  expect(evaluated(corednsUnavailable, inCase('loop'))).toEqual({
    findings: [
      {
        ...ofPod(2),
        code: 'dns-forwarding-loop',
        summary: `${SERVER} on node-2 forwards outside names to 127.0.0.53, which inside the pod is the server itself, by its /etc/resolv.conf, which the Corefile forwards to; it is not ready: ${CRASHES}`,
        advice:
          'Forward to real servers outside instead, then restart the pod. The address is systemd-resolved’s stub on the node: let the kubelet use /run/systemd/resolve/resolv.conf (resolvConf in its configuration). With the plugin loop CoreDNS says “Loop … detected” and ends (kubectl -n kube-system logs coredns-2 --previous); without it questions go round until memory is used up.',
        evidence: [{ where: SERVER, source: '/etc/resolv.conf', text: 'nameserver 127.0.0.53' }, status(2, WAITING)],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('no server is left', () => {
  expect(evaluated(corednsUnavailable, inCase('no-endpoints'))).toEqual({
    findings: [
      expect.objectContaining({ ...ofPod(1), code: 'coredns-not-ready' }),
      expect.objectContaining({ ...ofPod(2), code: 'coredns-not-ready' }),
      {
        ...base,
        severity: 'critical',
        code: 'dns-no-endpoints',
        entity: { kind: 'Service', namespace: 'kube-system', name: 'kube-dns' },
        at: ['node-1', 'node-2', 'node-3'].map((node) => ({ place: `node/${node}`, point: 'nat', via: '172.26.0.10' })),
        harms: [{ dst: '172.26.0.10' }],
        summary:
          'the Service kube-system/kube-dns (172.26.0.10) has no ready endpoint, so that every lookup in the cluster fails: kube-system/coredns-1 and kube-system/coredns-2 are not ready',
        advice:
          'kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide, and kubectl -n kube-system get endpointslices: bring one DNS server back first.',
        evidence: [
          {
            where: 'kube-system/kube-dns',
            source: 'Kubernetes API, EndpointSlices',
            text: '172.27.1.5 ready false, 172.27.2.6 ready false',
          },
        ],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a single server, and all servers on one node, are risks', () => {
  expect(['alone', 'one-node'].flatMap((name) => evaluated(corednsUnavailable, inCase(name)).findings)).toEqual([
    {
      ...risk('coredns-too-few'),
      summary:
        'kube-system/coredns-1 is the only DNS server of 3 nodes: while it restarts, or its node is down, no name resolves',
      advice: 'Run two or more, on different nodes (replicas of the Deployment, or the DNS autoscaler).',
      evidence: [status(1, RUNNING)],
    },
    {
      ...risk('coredns-on-one-node'),
      summary:
        'all 2 DNS pods are on node-1 (kube-system/coredns-1 and kube-system/coredns-2): with that node every name in the cluster goes',
      advice:
        'Delete one of them, so that it is scheduled anew, and give the Deployment an anti-affinity or a topology spread by node.',
      evidence: [status(1, RUNNING), status(2, RUNNING)],
    },
  ]);
});

test('clusters of one or two nodes are not told to spread what they cannot', () => {
  const two = changed('alone', ({ nodes }) => ({ nodes: nodes.slice(0, 2) }));
  const one = changed('one-node', ({ nodes }) => ({ nodes: nodes.slice(0, 1) }));
  const cordoned = changed('one-node', ({ nodes }) => ({
    nodes: nodes.map((node) => ({ ...node, unschedulable: node.name !== 'node-1' })),
  }));
  expect([two, one, cordoned].flatMap(told)).toEqual([]);
});

test('a pod that has just been made is not told, unless it was restarted; one that runs unready is only suspected', () => {
  const { readAt } = inCase('healthy').inventory;
  const ago = (seconds: number) => new Date(Date.parse(readAt) - 1000 * seconds).toISOString();
  const unready = (pod: Pod, seconds: number) => ({
    ready: false,
    startedAt: ago(seconds),
    containers: pod.containers.map((container) => ({ ...container, ready: false })),
  });
  expect([119, 120].flatMap((seconds) => told(withSecond('healthy', (pod) => unready(pod, seconds))))).toEqual([
    `coredns-not-ready, suspect: the DNS pod ${SERVER} on node-2 is not ready: it runs, and its readiness probe fails`,
  ]);
  expect(told(withSecond('crashing', () => ({ startedAt: ago(5) })))).toEqual([
    `coredns-not-ready, certain: the DNS pod ${SERVER} on node-2 is not ready: ${CRASHES}`,
  ]);
});

test('a pod that is not scheduled is told in the words of its condition', () => {
  const pending = withSecond('healthy', () => ({
    ready: false,
    phase: 'Pending',
    node: null,
    ip: null,
    startedAt: null,
    containers: [],
    conditions: [
      {
        type: 'PodScheduled',
        status: 'False',
        reason: 'Unschedulable',
        message: '0/3 nodes are available: 3 Insufficient cpu.',
        since: null,
      },
    ],
  }));
  expect(told(pending)).toEqual([
    `coredns-not-ready, suspect: the DNS pod ${SERVER} is not ready: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.`,
  ]);
});

test('pods that ended or are being deleted are no servers', () => {
  expect([{ phase: 'Failed' }, { terminating: true }].flatMap((change) => told(withSecond('crashing', () => change)))).toEqual(
    Array.from({ length: 2 }, () => expect.stringMatching(/^coredns-too-few, certain: /)),
  );
});

test('a loop that the Corefile makes, and one through the cluster’s own address', () => {
  const corefile = (text: string) => changed('healthy', () => ({ configs: { 'kube-system/coredns': { Corefile: text } } }));
  const direct = corefile('.:53 {\n forward . 172.26.0.10\n}\n');
  const zone = corefile('.:53 {\n forward . 192.0.2.1\n}\ncorp.example {\n forward corp.example 127.0.0.1\n}\n');
  const byFile = withReading(
    inCase('loop'),
    'pods: state',
    said((text) => text.replaceAll('127.0.0.53', '172.27.1.5')),
    'node-2',
  );
  expect([direct, zone, byFile].map((bundle) => told(bundle).map((text) => text.slice(0, 130)))).toEqual([
    [1, 2]
      .map(
        (number) =>
          `dns-forwarding-loop, certain: kube-system/coredns-${number} on node-${number} forwards outside names to 172.26.0.10, which is the cluster’s own DNS, by the Corefile`,
      )
      .map((text) => text.slice(0, 130)),
    [],
    [
      `dns-forwarding-loop, certain: ${SERVER} on node-2 forwards outside names to 172.27.1.5, which is the cluster’s own DNS, by its /etc/resolv.conf`.slice(
        0,
        130,
      ),
    ],
  ]);
});

test('what the API server did not list is not missing', () => {
  const gap = (what: string) => changed('no-endpoints', () => ({ endpoints: [], gaps: [{ what, reason: 'forbidden' }] }));
  expect(
    [gap('pods'), gap('endpointslices')].map((bundle) => findingsIn(corednsUnavailable, bundle).map(({ code }) => code)),
  ).toEqual([[], ['coredns-not-ready', 'coredns-not-ready']]);
});

test('the Service without any pod of its labels, and with pods that are ready and no endpoints', () => {
  const none = changed('healthy', () => ({ pods: [], endpoints: [] }));
  const lost = changed('healthy', () => ({ endpoints: [] }));
  expect([none, lost].flatMap(told)).toEqual([
    'dns-no-endpoints, certain: the Service kube-system/kube-dns (172.26.0.10) has no ready endpoint, so that every lookup in the cluster fails: no pod has its labels (k8s-app=kube-dns)',
    'dns-no-endpoints, certain: the Service kube-system/kube-dns (172.26.0.10) has no ready endpoint, so that every lookup in the cluster fails: kube-system/coredns-1 and kube-system/coredns-2 should be one: look at the EndpointSlices and the controller manager',
  ]);
});

/** The case with what the second server's log told. */
const withLog = (name: string, ...texts: readonly string[]) =>
  changed(name, () => ({
    logs: [
      {
        namespace: 'kube-system',
        pod: 'coredns-2',
        container: 'coredns',
        lines: texts.map((text, index) => ({ text, count: index + 1 })),
      },
    ],
  }));
const LOOP = 'plugin/loop: Loop (127.0.0.1 -> :53) detected for zone "."';
const inLog = (text: string) => ({ where: SERVER, source: 'its log', text });

test('a server that says itself that its question came back, where nothing else shows it', () => {
  expect(findingsIn(corednsUnavailable, withLog('crashing', LOOP))).toEqual([
    {
      ...ofPod(2),
      code: 'dns-forwarding-loop',
      summary: `${SERVER} on node-2 ended because its own question came back to it: ${CRASHES}`,
      advice: expect.stringMatching(/^Some server that it forwards to asks the cluster’s DNS in turn: look at every forward/),
      evidence: [inLog(LOOP), status(2, WAITING)],
    },
  ]);
});

test('a server that was in a loop and answers again is not told', () => {
  expect(findingsIn(corednsUnavailable, withLog('healthy', LOOP))).toEqual([]);
});

test('what the log tells is evidence: of a loop its own lines, of a server that is not ready all', () => {
  const [timeout, refused] = [
    'plugin/errors: read udp 192.0.2.53:53: i/o timeout',
    'plugin/errors: read udp 127.0.0.53:53: read: connection refused',
  ];
  const texts = [timeout, refused, LOOP] as const;
  const logged = (name: string) =>
    findingsIn(corednsUnavailable, withLog(name, ...texts)).map(({ code, evidence }) => [
      code,
      evidence.filter(({ source }) => source === 'its log'),
    ]);
  const [first, second, third] = [inLog(timeout), inLog(`${refused} (2 times)`), inLog(`${LOOP} (3 times)`)];
  expect([logged('loop'), logged('crashing')]).toEqual([
    [['dns-forwarding-loop', [second, third]]],
    [['dns-forwarding-loop', [third]]],
  ]);
  const [crashing] = findingsIn(corednsUnavailable, withLog('crashing', timeout, refused));
  expect(crashing).toMatchObject({ code: 'coredns-not-ready', evidence: [status(2, WAITING), first, second] });
});
