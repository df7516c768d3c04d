import { expect, test } from 'vitest';
import { type ContextChange, plannedLines } from '../../../../test/probe-context.ts';
import { upstreamDns } from './index.ts';

const asking = (resolvers: readonly string[], corefile?: string): ContextChange => ({
  node: (node) => ({ ...node, resolvers }),
  inventory: (inventory) => ({
    ...inventory,
    configs: corefile === undefined ? {} : { 'kube-system/coredns': { Corefile: corefile } },
  }),
});
const line = (from: number, ip: string, port = 53, zone = '.') =>
  `upstream-dns dns node-${from} > ${ip} ${ip}: DNS, from 10.28.0.1${from} of node-${from}, port ${port}, anywhere, 3 packets, for ${zone}, one of upstream DNS for ${zone}`;

test('every server of a node is asked by itself', () => {
  expect(plannedLines(upstreamDns, asking(['192.0.2.1', '192.0.2.2']))).toEqual(
    [1, 2].flatMap((from) => [line(from, '192.0.2.1'), line(from, '192.0.2.2')]),
  );
});

test('so are those that the Corefile forwards to, for their zone; what both name is one', () => {
  const corefile = '.:53 {\n forward . 192.0.2.1 192.0.2.9:5353\n}\ncorp.example {\n forward corp.example 192.0.2.20\n}\n';
  expect(plannedLines(upstreamDns, asking(['192.0.2.1'], corefile))).toEqual(
    [1, 2].flatMap((from) => [
      line(from, '192.0.2.1'),
      line(from, '192.0.2.9', 5353),
      line(from, '192.0.2.20', 53, 'corp.example.'),
    ]),
  );
});

test('the cluster’s own addresses and stubs on the node are no servers outside', () => {
  const corefile = '.:53 {\n forward . 127.0.0.53\n}\n';
  expect(plannedLines(upstreamDns, asking(['172.26.0.10', '172.27.1.5'], corefile))).toEqual([]);
});

test('a server on a node is on that node', () => {
  expect(plannedLines(upstreamDns, asking(['10.28.0.12'])).map((text) => /on node-\d/.exec(text)?.[0])).toEqual([
    'on node-2',
    'on node-2',
  ]);
});

test('without any configuration nobody is asked', () => {
  expect(plannedLines(upstreamDns, asking([]))).toEqual([]);
});
