import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase } from '../../../../test/fixtures.ts';
import type { ProbeResult } from '../../../model/probe.ts';
import { dnsFailsAcrossNodes } from './index.ts';

const inCase = (name: string) => readCase('dns/dns-fails-across-nodes', name);
const SILENT: Partial<ProbeResult> = { status: 'fail', delivered: 0, how: 'timeout', detail: 'no answer to 3 attempts' };

const silent = (from: string, server: string) => ({
  where: from,
  source: `cluster-dns dns ${from} > kube-system/${server}`,
  text: 'no answer to 3 attempts',
});

test('every server answers everybody: there is no pattern', () => {
  expect(evaluated(dnsFailsAcrossNodes, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('servers answer on their own nodes, and not across: the network, not DNS', () => {
  expect(evaluated(dnsFailsAcrossNodes, inCase('one-node-cut-off'))).toEqual({
    findings: [
      {
        code: 'dns-fails-across-nodes',
        check: 'dns-fails-across-nodes',
        layer: 'L3',
        entity: { kind: 'Service', namespace: 'kube-system', name: 'kube-dns' },
        severity: 'info',
        certainty: 'certain',
        partial: false,
        at: [],
        harms: [],
        summary:
          'kube-system/coredns-1 on node-1 answers on its own node and gives no answer to node-2; kube-system/coredns-2 on node-2 answers on its own node and gives no answer to node-1 and node-3: the servers work, and what fails is the network between the nodes, not DNS',
        advice:
          'Do not restart CoreDNS: look at what this verdict says of the nodes named. Until that is mended, about 50 % of lookups from node-1, node-2 and node-3 fail or time out.',
        evidence: [
          silent('node-2', 'coredns-1 172.27.1.5'),
          silent('netcheck-agents/netcheck-probe-2', 'coredns-1 172.27.1.5'),
          silent('node-1', 'coredns-2 172.27.2.6'),
          silent('netcheck-agents/netcheck-probe-1', 'coredns-2 172.27.2.6'),
          silent('node-3', 'coredns-2 172.27.2.6'),
          silent('netcheck-agents/netcheck-probe-3', 'coredns-2 172.27.2.6'),
        ],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a server that answers all is named beside the others, and a node without any answer has no lookup left', () => {
  const bundle = inCase('healthy');
  const one = probedOtherwise(bundle, [/probe-3 > kube-system\/coredns-2/, SILENT]);
  const both = probedOtherwise(bundle, [/(node|probe)-3 > kube-system\/coredns-/, SILENT]);
  expect(
    [one, both].flatMap((probed) =>
      findingsIn(dnsFailsAcrossNodes, bundle, probed).map(({ summary, advice }) => [summary, advice]),
    ),
  ).toEqual([
    [
      'kube-system/coredns-2 on node-2 answers on its own node and gives no answer to node-3; kube-system/coredns-1 answers all that asked: the servers work, and what fails is the network between the nodes, not DNS',
      'Do not restart CoreDNS: look at what this verdict says of the nodes named. Until that is mended, about 50 % of lookups from node-3 fail or time out.',
    ],
    [
      'kube-system/coredns-1 on node-1 answers on its own node and gives no answer to node-3; kube-system/coredns-2 on node-2 answers on its own node and gives no answer to node-3: the servers work, and what fails is the network between the nodes, not DNS',
      'Do not restart CoreDNS: look at what this verdict says of the nodes named. Until that is mended, every lookup from node-3 fails or times out.',
    ],
  ]);
});

test.for<[string, RegExp, Partial<ProbeResult>]>([
  ['a server that does not answer on its own node either', /> kube-system\/coredns-2/, SILENT],
  ['one that its own pod cannot reach', /probe-2 > kube-system\/coredns-2/, SILENT],
  ['an error that a server answers with', /node-1 > kube-system\/coredns-2/, { status: 'fail', delivered: 1, how: 'servfail' }],
  ['a probe without evidence', /node-1 > kube-system\/coredns-2/, { status: 'unknown', delivered: 0, how: null }],
])('is no pattern of the network: %s', ([, pattern, result]) => {
  const bundle = inCase('healthy');
  expect(findingsIn(dnsFailsAcrossNodes, bundle, probedOtherwise(bundle, [pattern, result]))).toEqual([]);
});

test('where nobody asked on the own node of a server, nothing says that it works', () => {
  const bundle = inCase('one-node-cut-off');
  const probed = probedOtherwise(bundle, [
    /(node|probe)-2 > kube-system\/coredns-2/,
    { status: 'unknown', delivered: 0, how: null },
  ]);
  expect(findingsIn(dnsFailsAcrossNodes, bundle, probed)).toEqual([]);
});
