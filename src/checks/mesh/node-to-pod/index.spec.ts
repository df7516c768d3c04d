import { expect, test } from 'vitest';
import {
  type ContextChange,
  denyAll,
  oneWayLines,
  plannedLines,
  withoutPods,
  withPolicies,
} from '../../../../test/probe-context.ts';
import { nodeToPod } from './index.ts';

const ALL = [
  'node-to-pod ping node-1 > netcheck-agents/netcheck-probe-2 172.27.2.4: L3, from 10.28.0.11 of node-1, on node-2, 20 packets, beside tcp',
  'node-to-pod tcp node-1 > netcheck-agents/netcheck-probe-2 172.27.2.4: L4, from 10.28.0.11 of node-1, port 7410, on node-2, 3 packets, where somebody listens',
  'node-to-pod ping node-2 > netcheck-agents/netcheck-probe-1 172.27.1.4: L3, from 10.28.0.12 of node-2, on node-1, 20 packets, beside tcp',
  'node-to-pod tcp node-2 > netcheck-agents/netcheck-probe-1 172.27.1.4: L4, from 10.28.0.12 of node-2, port 7410, on node-1, 3 packets, where somebody listens',
];
const ONE_WAY = [
  'node-to-pod udp node-1 > netcheck-agents/netcheck-probe-2 172.27.2.4: L3, from 10.28.0.11 of node-1, port 41000, on node-2, 20 packets, counted by node-2',
  'node-to-pod udp node-2 > netcheck-agents/netcheck-probe-1 172.27.1.4: L3, from 10.28.0.12 of node-2, port 41000, on node-1, 20 packets, counted by node-1',
];
const denied = (lines: readonly string[]) => lines.map((line) => `${line}, denied by netcheck-agents/deny-all`);

test('every node asks netcheck’s pod on every other', () => {
  expect(plannedLines(nodeToPod)).toEqual(ALL);
  expect(oneWayLines(nodeToPod)).toEqual(ONE_WAY);
});

test('without such a pod there is nothing to ask', () => {
  expect(plannedLines(nodeToPod, withoutPods('netcheck-agents'))).toEqual([]);
  expect(oneWayLines(nodeToPod, withoutPods('netcheck-agents'))).toEqual([]);
});

test('a pod that says no port is asked at the kubelet’s, where a refusal shows that it was reached', () => {
  const portless: ContextChange = {
    inventory: (inventory) => ({ ...inventory, pods: inventory.pods.map((pod) => ({ ...pod, ports: [] })) }),
  };
  expect(plannedLines(nodeToPod, portless)).toEqual(
    ALL.map((line) => line.replace('port 7410', 'port 10250').replace('where somebody listens', 'where nobody may listen')),
  );
});

test('what a policy keeps out is expected to fail; what it keeps in does not concern a node', () => {
  const ingress = withPolicies(denyAll('netcheck-agents', 'ingress'));
  expect(plannedLines(nodeToPod, ingress)).toEqual(denied(ALL));
  expect(oneWayLines(nodeToPod, ingress)).toEqual(denied(ONE_WAY));
  expect(plannedLines(nodeToPod, withPolicies(denyAll('netcheck-agents', 'egress')))).toEqual(ALL);
  expect(plannedLines(nodeToPod, withPolicies(denyAll('default', 'ingress')))).toEqual(ALL);
});
