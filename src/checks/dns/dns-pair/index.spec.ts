import { expect, test } from 'vitest';
import {
  type ContextChange,
  denyAll,
  plannedLines,
  probeContext,
  withoutPods,
  withPolicies,
} from '../../../../test/probe-context.ts';
import { clusterDns } from '../cluster-dns/index.ts';
import { dnsPair } from './index.ts';

const line = (from: number) =>
  `dns-pair dns-pair netcheck-agents/netcheck-probe-${from} > kube-system/kube-dns 172.26.0.10: DNS, from 172.27.${from}.4 of netcheck-agents/netcheck-probe-${from} on node-${from}, port 53, anywhere, 10 of them, each for itself, for kubernetes.default.svc.cluster.test, beside dns`;

test('ten pairs of queries from netcheck’s pod on every node, through the Service', () => {
  expect(plannedLines(dnsPair)).toEqual([line(1), line(2)]);
});

test('the single query beside it is the one that cluster-dns plans', () => {
  const context = probeContext();
  const single = new Set(clusterDns.plan(context).map(({ id }) => id));
  expect(dnsPair.plan(context).filter(({ sibling }) => sibling === undefined || !single.has(sibling))).toEqual([]);
});

test('nothing without netcheck’s pods, or without the Service', () => {
  const alone: ContextChange = { inventory: (inventory) => ({ ...inventory, services: [] }) };
  expect([plannedLines(dnsPair, withoutPods('netcheck-agents')), plannedLines(dnsPair, alone)]).toEqual([[], []]);
});

test('nothing where a policy denies any of the servers, from either side', () => {
  expect(plannedLines(dnsPair, withPolicies(denyAll('kube-system', 'ingress')))).toEqual([]);
  expect(plannedLines(dnsPair, withPolicies(denyAll('netcheck-agents', 'egress')))).toEqual([]);
});
