import { expect, test } from 'vitest';
import { denyAll, plannedLines, withoutPods, withPolicies } from '../../../../test/probe-context.ts';
import { corednsMetrics } from './index.ts';

const line = (from: number, to: number) =>
  `coredns-metrics http node-${from} > kube-system/coredns-${to} 172.27.${to}.5: L7, from 10.28.0.1${from} of node-${from}, port 9153, on node-${to}, 3 packets, for /metrics`;
const ALL = [line(1, 1), line(1, 2), line(2, 1), line(2, 2)];

test('every node asks every CoreDNS pod for its metrics; netcheck’s pods do not matter', () => {
  expect(plannedLines(corednsMetrics)).toEqual(ALL);
  expect(plannedLines(corednsMetrics, withoutPods('netcheck-agents'))).toEqual(ALL);
});

test('without CoreDNS there is nobody to ask', () => {
  expect(plannedLines(corednsMetrics, withoutPods('kube-system'))).toEqual([]);
});

test('what a policy forbids is expected to fail, except on the pod’s own node', () => {
  const denied = (text: string) => `${text}, denied by kube-system/deny-all`;
  expect(plannedLines(corednsMetrics, withPolicies(denyAll('kube-system', 'ingress')))).toEqual([
    line(1, 1),
    denied(line(1, 2)),
    denied(line(2, 1)),
    line(2, 2),
  ]);
});
