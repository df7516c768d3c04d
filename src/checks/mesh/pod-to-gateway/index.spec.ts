import { expect, test } from 'vitest';
import { denyAll, plannedLines, withoutPods, withPolicies } from '../../../../test/probe-context.ts';
import type { ProbeNode } from '../../kit/probe.ts';
import { podToGateway } from './index.ts';

const ALL = [1, 2].flatMap((index) => {
  const way = `netcheck-agents/netcheck-probe-${index} > node-${index} 172.27.${index}.1`;
  const origin = `from 172.27.${index}.4 of netcheck-agents/netcheck-probe-${index} on node-${index}`;
  return [
    `pod-to-gateway ping ${way}: L3, ${origin}, on node-${index}, 20 packets, beside tcp`,
    `pod-to-gateway tcp ${way}: L4, ${origin}, port 10250, on node-${index}, 3 packets, where somebody listens, if ping is silent`,
  ];
});

test('netcheck’s pod asks its own node’s bridge', () => {
  expect(plannedLines(podToGateway)).toEqual(ALL);
});

test('where the bridge holds another address out of the podCIDR, that one is asked', () => {
  const wider = { node: (node: ProbeNode): ProbeNode => ({ ...node, podCIDR: '172.27.0.0/21' }) };
  expect(plannedLines(podToGateway, wider)).toEqual(ALL);
});

test('a pod may always talk to its own node, whatever policies say', () => {
  const policies = withPolicies(denyAll('netcheck-agents', 'ingress'), denyAll('netcheck-agents', 'egress'));
  expect(plannedLines(podToGateway, policies)).toEqual(ALL);
});

test('without a pod, a bridge or a pod network there is nothing to ask', () => {
  expect(plannedLines(podToGateway, withoutPods('netcheck-agents'))).toEqual([]);
  expect(
    plannedLines(podToGateway, { node: (node) => ({ ...node, network: node.network && { ...node.network, bridge: null } }) }),
  ).toEqual([]);
  expect(plannedLines(podToGateway, { node: (node) => ({ ...node, podCIDR: null }) })).toEqual([]);
});

test('only a node that answers can ask', () => {
  expect(plannedLines(podToGateway, { node: (node) => ({ ...node, answers: node.node.name === 'node-2' }) })).toEqual(
    ALL.slice(2),
  );
});
