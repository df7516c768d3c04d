import { expect, test } from 'vitest';
import { type ContextChange, denyAll, plannedLines, withoutPods, withPolicies } from '../../../../test/probe-context.ts';
import { clusterDns } from './index.ts';

const NAME = 'kubernetes.default.svc.cluster.test';
const subject = (from: number, inPod: boolean) => (inPod ? `netcheck-agents/netcheck-probe-${from}` : `node-${from}`);
const origin = (from: number, inPod: boolean) =>
  inPod
    ? `from 172.27.${from}.4 of netcheck-agents/netcheck-probe-${from} on node-${from}`
    : `from 10.28.0.1${from} of node-${from}`;
const server = (from: number, inPod: boolean, to: number) =>
  `cluster-dns dns ${subject(from, inPod)} > kube-system/coredns-${to} 172.27.${to}.5: DNS, ${origin(from, inPod)}, port 53, on node-${to}, 3 packets, for ${NAME}`;
const service = (from: number, inPod: boolean) =>
  `cluster-dns dns ${subject(from, inPod)} > kube-system/kube-dns 172.26.0.10: DNS, ${origin(from, inPod)}, port 53, anywhere, 3 packets, for ${NAME}`;
const asked = (from: number, inPod: boolean) => [server(from, inPod, 1), server(from, inPod, 2), service(from, inPod)];

test('every server by itself and the Service, from every node and from netcheck’s pod on it', () => {
  expect(plannedLines(clusterDns)).toEqual([...asked(1, false), ...asked(1, true), ...asked(2, false), ...asked(2, true)]);
});

test('without netcheck’s pods only nodes ask', () => {
  expect(plannedLines(clusterDns, withoutPods('netcheck-agents'))).toEqual([...asked(1, false), ...asked(2, false)]);
});

test('without servers only the Service is asked; without a Service only the servers are', () => {
  const alone: ContextChange = { inventory: (inventory) => ({ ...inventory, services: [] }) };
  expect(plannedLines(clusterDns, withoutPods('kube-system'))).toEqual([
    service(1, false),
    service(1, true),
    service(2, false),
    service(2, true),
  ]);
  expect(plannedLines(clusterDns, alone)).toEqual(
    [1, 2].flatMap((from) => [false, true].flatMap((inPod) => [server(from, inPod, 1), server(from, inPod, 2)])),
  );
});

const denied = (line: string, by: string) => `${line}, denied by ${by}/deny-all`;

test('what the servers’ policy forbids is expected to fail, and so is the Service, which may lead to them', () => {
  expect(plannedLines(clusterDns, withPolicies(denyAll('kube-system', 'ingress')))).toEqual(
    [1, 2].flatMap((from) => [
      ...[1, 2].map((to) => (to === from ? server(from, false, to) : denied(server(from, false, to), 'kube-system'))),
      denied(service(from, false), 'kube-system'),
      ...asked(from, true).map((line) => denied(line, 'kube-system')),
    ]),
  );
});

test('what the asking pods’ policy forbids is expected to fail', () => {
  expect(plannedLines(clusterDns, withPolicies(denyAll('netcheck-agents', 'egress')))).toEqual(
    [1, 2].flatMap((from) => [...asked(from, false), ...asked(from, true).map((line) => denied(line, 'netcheck-agents'))]),
  );
});
