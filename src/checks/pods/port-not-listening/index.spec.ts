import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withPod, withPodNamespace } from '../../../../test/fixtures.ts';
import { portNotListening } from './index.ts';

const inCase = (name: string) => readCase('pods/port-not-listening', name);

test('every port of a Service has a listener', () => {
  expect(evaluated(portNotListening, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('one of the pods of the cluster DNS', () => {
  expect(evaluated(portNotListening, inCase('coredns'))).toEqual({
    findings: [
      {
        check: 'port-not-listening',
        layer: 'L4',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [{ where: 'node-2', source: '/proc/31/net/tcp, udp of kube-system/coredns-2', text: 'no listening socket' }],
        code: 'port-not-listening',
        entity: { kind: 'Service', namespace: 'kube-system', name: 'kube-dns' },
        at: [{ place: 'pod/kube-system/coredns-2', point: 'socket' }],
        harms: [
          { proto: 'udp', dst: '172.27.2.6', dport: 53 },
          { proto: 'tcp', dst: '172.27.2.6', dport: 53 },
          { proto: 'tcp', dst: '172.27.2.6', dport: 9153 },
        ],
        summary:
          'nothing listens on TCP 53, TCP 9153, UDP 53, where the Service kube-system/kube-dns sends to, in kube-system/coredns-2 on node-2',
        advice: 'Compare targetPort with the port that the process listens on, and look at the log of the container.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a port that the named pod only declares', () => {
  expect(evaluated(portNotListening, inCase('declared'))).toEqual({
    findings: [
      {
        check: 'port-not-listening',
        layer: 'L4',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [{ where: 'node-2', source: '/proc/24/net/tcp, udp of default/client-2', text: 'no listening socket' }],
        code: 'declared-port-not-listening',
        entity: { kind: 'Pod', namespace: 'default', name: 'client-2' },
        at: [{ place: 'pod/default/client-2', point: 'socket' }],
        harms: [],
        summary: 'nothing listens on TCP 8080 in default/client-2 on node-2, which the pod declares and no Service sends to',
        advice: 'A declared port need not be served; if this one is to be, look at the log of its container.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('only on the loopback address', () => {
  expect(evaluated(portNotListening, inCase('loopback'))).toEqual({
    findings: [
      {
        check: 'port-not-listening',
        layer: 'L4',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [{ where: 'node-2', source: '/proc/20/net/tcp, udp of default/web-2', text: 'TCP 127.0.0.1:8080 (web)' }],
        code: 'listens-on-loopback-only',
        entity: { kind: 'Service', namespace: 'default', name: 'web' },
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        harms: [{ proto: 'tcp', dst: '172.27.2.2', dport: 8080 }],
        summary: 'web listens on TCP 8080, where the Service default/web sends to, only on 127.0.0.1 in default/web-2 on node-2',
        advice: 'Let the process listen on 0.0.0.0 instead of 127.0.0.1.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('nothing listens', () => {
  expect(evaluated(portNotListening, inCase('no-process'))).toEqual({
    findings: [
      {
        check: 'port-not-listening',
        layer: 'L4',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [{ where: 'node-2', source: '/proc/20/net/tcp, udp of default/web-2', text: 'no listening socket' }],
        code: 'port-not-listening',
        entity: { kind: 'Service', namespace: 'default', name: 'web' },
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        harms: [{ proto: 'tcp', dst: '172.27.2.2', dport: 8080 }],
        summary: 'nothing listens on TCP 8080, where the Service default/web sends to, in default/web-2 on node-2',
        advice: 'Compare targetPort with the port that the process listens on, and look at the log of the container.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const WEB = '172.27.2.2';
const codesIn = (bundle: ReturnType<typeof inCase>) => findingsIn(portNotListening, bundle).map(({ code }) => code);

test.for(['::', WEB])('a socket bound to %s takes the connections', (ip) => {
  const bound = withPodNamespace(inCase('loopback'), WEB, (namespace) => ({
    ...namespace,
    listeners: namespace.listeners.map((socket) => ({ ...socket, ip })),
  }));
  expect(codesIn(bound)).toEqual([]);
});

test('another protocol on the same port takes none of them', () => {
  const other = withPodNamespace(inCase('healthy'), WEB, (namespace) => ({
    ...namespace,
    listeners: namespace.listeners.map((socket) => ({ ...socket, proto: 'udp' })),
  }));
  expect(codesIn(other)).toEqual(['port-not-listening']);
});

test.for([15001, 15006, 4140, 4143])('a sidecar that listens on %i takes every connection', (port) => {
  const meshed = withPodNamespace(inCase('loopback'), WEB, (namespace) => ({
    ...namespace,
    listeners: [...namespace.listeners, { proto: 'tcp', ip: '0.0.0.0', port, queued: 0, holder: null }],
  }));
  expect(codesIn(meshed)).toEqual([]);
});

test('a sandbox with a network stack of its own, and a pod that is being deleted, are not judged', () => {
  expect(codesIn(withPod(inCase('no-process'), 'web-2', { runtimeClass: 'gvisor' }))).toEqual([]);
  expect(codesIn(withPod(inCase('no-process'), 'web-2', { terminating: true }))).toEqual([]);
});

test('a pod that is not ready has two minutes from the start of its containers', () => {
  const bundle = inCase('no-process');
  const container = bundle.inventory.pods.find(({ name }) => name === 'web-2')?.containers[0];
  if (container === undefined) throw new Error('web-2 has no container');
  const after = (ms: number, state: 'running' | 'waiting' = 'running') => {
    const startedAt = new Date(Date.parse(bundle.inventory.readAt) - ms).toISOString();
    return codesIn(withPod(bundle, 'web-2', { ready: false, containers: [{ ...container, state, startedAt }] }));
  };
  expect([after(119_999), after(120_000), after(120_000, 'waiting')]).toEqual([[], ['port-not-listening'], []]);
});

test('many pods behind one Service are one finding', () => {
  const bundle = inCase('healthy');
  const closed = [1, 2, 3].reduce(
    (changed, index) =>
      withPodNamespace(changed, `172.27.${index}.2`, (namespace) => ({ ...namespace, listeners: [] }), `node-${index}`),
    bundle,
  );
  const [finding, ...others] = findingsIn(portNotListening, closed);
  expect(others).toEqual([]);
  expect(finding).toMatchObject({
    at: [1, 2, 3].map((index) => ({ place: `pod/default/web-${index}`, point: 'socket' })),
    harms: [1, 2, 3].map((index) => ({ proto: 'tcp', dst: `172.27.${index}.2`, dport: 8080 })),
    summary:
      'nothing listens on TCP 8080, where the Service default/web sends to, in default/web-1 on node-1, default/web-2 on node-2, default/web-3 on node-3',
  });
});

test('a declared port of a pod that nobody asked about need not be served', () => {
  expect(findingsIn(portNotListening, inCase('declared'), [])).toEqual([]);
});
