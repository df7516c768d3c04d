import { expect, test } from 'vitest';
import { denyAll, oneWayLines, plannedLines, withoutPods, withPolicies } from '../../../../test/probe-context.ts';
import { podToPod } from './index.ts';

const way = (from: number, to: number) =>
  `netcheck-agents/netcheck-probe-${from} > netcheck-agents/netcheck-probe-${to} 172.27.${to}.4`;
const origin = (from: number) => `from 172.27.${from}.4 of netcheck-agents/netcheck-probe-${from} on node-${from}`;
const ALL = [
  `pod-to-pod ping ${way(1, 2)}: L3, ${origin(1)}, on node-2, 20 packets, beside tcp`,
  `pod-to-pod tcp ${way(1, 2)}: L4, ${origin(1)}, port 7410, on node-2, 3 packets, where somebody listens, if ping is silent`,
  `pod-to-pod ping ${way(2, 1)}: L3, ${origin(2)}, on node-1, 20 packets, beside tcp`,
  `pod-to-pod tcp ${way(2, 1)}: L4, ${origin(2)}, port 7410, on node-1, 3 packets, where somebody listens, if ping is silent`,
];
const ONE_WAY = [
  `pod-to-pod udp ${way(1, 2)}: L3, ${origin(1)}, port 41000, on node-2, 20 packets, counted by node-2`,
  `pod-to-pod udp ${way(2, 1)}: L3, ${origin(2)}, port 41000, on node-1, 20 packets, counted by node-1`,
];
const denied = (lines: readonly string[]) => lines.map((line) => `${line}, denied by netcheck-agents/deny-all`);

test('netcheck’s pod on every node asks the one on every other', () => {
  expect(plannedLines(podToPod)).toEqual(ALL);
  expect(oneWayLines(podToPod)).toEqual(ONE_WAY);
});

test('without such pods there is nothing to ask, and no other pod is', () => {
  expect(plannedLines(podToPod, withoutPods('netcheck-agents'))).toEqual([]);
  expect(oneWayLines(podToPod, withoutPods('netcheck-agents'))).toEqual([]);
});

test.for(['ingress', 'egress'] as const)('what a policy of %s forbids is expected to fail', (direction) => {
  const policies = withPolicies(denyAll('netcheck-agents', direction));
  expect(plannedLines(podToPod, policies)).toEqual(denied(ALL));
  expect(oneWayLines(podToPod, policies)).toEqual(denied(ONE_WAY));
});
