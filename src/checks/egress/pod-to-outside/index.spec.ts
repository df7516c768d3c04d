import { expect, test } from 'vitest';
import { type ContextChange, denyAll, plannedLines, withoutPods, withPolicies } from '../../../../test/probe-context.ts';
import { podToOutside } from './index.ts';

const asking = (...resolvers: readonly string[]): Pick<ContextChange, 'node'> => ({ node: (node) => ({ ...node, resolvers }) });
const POD = (from: number) => `netcheck-agents/netcheck-probe-${from}`;
const origin = (from: number) => `from 172.27.${from}.4 of ${POD(from)} on node-${from}`;
const dns = (from: number, ip: string) =>
  `pod-to-outside dns ${POD(from)} > ${ip} ${ip}: L4, ${origin(from)}, port 53, anywhere, 3 packets, for .`;
const group = ', one of upstream DNS for .';
const api = (from: number) =>
  `pod-to-outside tls ${POD(from)} > 10.28.0.2 10.28.0.2: L4, ${origin(from)}, port 6443, anywhere, 3 packets, for kubernetes.default.svc`;

test('from each of netcheck’s pods to two servers outside, and to the API server’s own address', () => {
  expect(plannedLines(podToOutside, asking('192.0.2.1', '192.0.2.2', '192.0.2.3'))).toEqual(
    [1, 2].flatMap((from) => [dns(from, '192.0.2.1') + group, dns(from, '192.0.2.2') + group, api(from)]),
  );
});

test('link-local servers and those on nodes are left out', () => {
  expect(plannedLines(podToOutside, asking('169.254.169.254', '10.28.0.12'))).toEqual([api(1), api(2)]);
});

test('without netcheck’s pods nothing is sent', () => {
  expect(plannedLines(podToOutside, { ...asking('192.0.2.1'), ...withoutPods('netcheck-agents') })).toEqual([]);
});

test('without an endpoint of the API server only the DNS servers are asked', () => {
  const without: ContextChange = { ...asking('192.0.2.1'), inventory: (inventory) => ({ ...inventory, endpoints: [] }) };
  expect(plannedLines(podToOutside, without)).toEqual([dns(1, '192.0.2.1') + group, dns(2, '192.0.2.1') + group]);
});

test('what a policy forbids is expected to fail', () => {
  const change = { ...asking('192.0.2.1'), ...withPolicies(denyAll('netcheck-agents', 'egress')) };
  const denied = ', denied by netcheck-agents/deny-all';
  expect(plannedLines(podToOutside, change)).toEqual(
    [1, 2].flatMap((from) => [dns(from, '192.0.2.1') + denied + group, api(from) + denied]),
  );
});
