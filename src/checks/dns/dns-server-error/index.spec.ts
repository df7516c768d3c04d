import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase } from '../../../../test/fixtures.ts';
import { dnsServerError } from './index.ts';

const inCase = (name: string) => readCase('dns/dns-server-error', name);
const QUESTION = 'kubernetes.default.svc.cluster.local';

const finding = {
  check: 'dns-server-error',
  layer: 'DNS',
  entity: { kind: 'Pod', namespace: 'kube-system', name: 'coredns-2' },
  severity: 'critical',
  certainty: 'inferred',
  partial: false,
  at: [{ place: 'pod/kube-system/coredns-2', point: 'socket' }],
  harms: [{ proto: 'udp', dport: 53 }],
} as const;

/** The first four that asked, with how long the answer took. */
const cited = (rcode: string) =>
  ['node-1', 'netcheck-agents/netcheck-probe-1', 'node-2', 'netcheck-agents/netcheck-probe-2'].map((where) => ({
    where,
    source: `cluster-dns dns ${where} > kube-system/coredns-2 172.27.2.6`,
    text: expect.stringMatching(new RegExp(`^${rcode} after \\d+ ms$`)),
  }));

test('every server knows the name: nothing is wrong', () => {
  expect(evaluated(dnsServerError, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test.for<[string, string, string, string]>([
  [
    'servfail',
    'dns-servfail',
    'SERVFAIL',
    'The question arrives and is answered, so this is not the network: the server cannot serve its own zone. Look for errors of the kubernetes plugin, which reads Services from the API server (kubectl -n kube-system logs coredns-2), and at the Corefile.',
  ],
  [
    'refused',
    'dns-refused',
    'REFUSED',
    'The question arrives and is answered, so this is not the network: no server block of the Corefile serves this zone, or an acl forbids the client (kubectl -n kube-system get configmap coredns -o yaml, then kubectl -n kube-system logs coredns-2).',
  ],
  [
    'nxdomain',
    'dns-nxdomain',
    'NXDOMAIN',
    "The question arrives and is answered, so this is not the network: the server says that the name does not exist. Compare the zone of the kubernetes plugin in the Corefile with the cluster's domain (clusterDomain of the kubelets), and look whether the server has read the Services yet (kubectl -n kube-system logs coredns-2).",
  ],
])('one of two servers answers with an error: %s', ([name, code, rcode, advice]) => {
  expect(evaluated(dnsServerError, inCase(name))).toEqual({
    findings: [
      {
        ...finding,
        code,
        summary: `kube-system/coredns-2 on node-2 answers ${rcode} for ${QUESTION} to all 6 that asked it; kube-system/coredns-1 knows it`,
        advice,
        evidence: cited(rcode),
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a server that knows the name for some who ask is told as partly failing', () => {
  const bundle = inCase('servfail');
  const probed = probedOtherwise(bundle, [/node-1 > kube-system\/coredns-2/, { status: 'pass', how: 'ok' }]);
  expect(findingsIn(dnsServerError, bundle, probed).map(({ partial, summary }) => ({ partial, summary }))).toEqual([
    {
      partial: true,
      summary: `kube-system/coredns-2 on node-2 answers SERVFAIL for ${QUESTION} to 5 of the 6 that asked it; kube-system/coredns-1 knows it`,
    },
  ]);
});

test('where every server answers with an error, none is told to know the name', () => {
  const bundle = inCase('servfail');
  const probed = probedOtherwise(bundle, [/> kube-system\/coredns-1/, { status: 'fail', delivered: 1, how: 'nxdomain' }]);
  expect(findingsIn(dnsServerError, bundle, probed).map(({ code, summary }) => `${code}: ${summary}`)).toEqual([
    `dns-nxdomain: kube-system/coredns-1 on node-1 answers NXDOMAIN for ${QUESTION} to all 6 that asked it`,
    `dns-servfail: kube-system/coredns-2 on node-2 answers SERVFAIL for ${QUESTION} to all 6 that asked it`,
  ]);
});

test.for(['timeout', 'refused', 'no-route'] as const)('what does not answer is no error of the server: %s', (how) => {
  const bundle = inCase('healthy');
  const probed = probedOtherwise(bundle, [/> kube-system\/coredns-2/, { status: 'fail', delivered: 0, how }]);
  expect(findingsIn(dnsServerError, bundle, probed)).toEqual([]);
});
