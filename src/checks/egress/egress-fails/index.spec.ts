import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedIn, probedOtherwise, readCase } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import type { ProbeResult } from '../../../model/probe.ts';
import { egressFails } from './index.ts';

const inCase = (name: string) => readCase('egress/egress-fails', name);
const SILENT: Partial<ProbeResult> = { status: 'fail', delivered: 0, how: 'timeout', detail: 'no answer to 3 attempts' };
const POD = 'netcheck-agents/netcheck-probe-2';
const EXCLUSION =
  '-A IP-MASQ-AGENT -d 10.0.0.0/8 -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN';

const kept = {
  check: 'egress-fails',
  code: 'pod-source-not-translated',
  layer: 'L3',
  entity: { kind: 'Node', name: 'node-2' },
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  at: [{ place: 'node/node-2', point: 'postrouting', oif: 'eth0' }],
  harms: [{ src: '172.27.2.0/24' }],
} as const;
const START =
  "packets of pods on node-2 leave by eth0 with the pods' own addresses (172.27.2.0/24), and 10.28.0.1:53, 10.28.0.2:6443 and 10.28.0.53:53 do not answer them; node-2 itself is answered";
const CONTRAST = '; on node-1 and node-3 pods are translated and answered';

const silent = (source: string) => ({ where: POD, source: expect.stringContaining(source), text: 'no answer to 3 attempts' });
const answered = (source: string) => ({ where: 'node-2', source, text: 'ok' });
const compared = [
  silent(`pod-to-outside dns ${POD} > 10.28.0.1`),
  answered('upstream-dns dns node-2 > 10.28.0.1 10.28.0.1'),
  silent(`pod-to-outside tls ${POD} > 10.28.0.2`),
  answered('kubernetes-service tls node-2 > 10.28.0.2 10.28.0.2'),
];

const told = (bundle: Bundle, probed = probedIn(bundle)) =>
  findingsIn(egressFails, bundle, probed).map(({ code, certainty, summary }) => `${code}, ${certainty}: ${summary}`);

test('pods are answered from outside: nothing is wrong', () => {
  expect(evaluated(egressFails, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('no rule translates what pods of a node send', () => {
  expect(evaluated(egressFails, inCase('rule-missing'))).toEqual({
    findings: [
      {
        ...kept,
        summary: `${START}: no masquerade rule applies to them${CONTRAST}`,
        advice:
          "Restart what keeps the masquerade rules on node-2: flannel (--ip-masq), ip-masq-agent or the CNI's agent; then look what removed them (a firewall that flushed the nat table).",
        evidence: compared,
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('the rules leave a destination out that does not know the pods: the rule is named', () => {
  expect(evaluated(egressFails, inCase('left-out'))).toEqual({
    findings: [
      {
        ...kept,
        summary: `${START}: IP-MASQ-AGENT leaves the destination out (${EXCLUSION})${CONTRAST}`,
        advice:
          'Take the block out of nonMasqueradeCIDRs (kubectl -n kube-system get configmap ip-masq-agent -o yaml), or give the network outside a route to the pods.',
        evidence: [...compared, { where: 'node-2', source: 'iptables-nft', text: EXCLUSION }],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('translated, and no answer to one node: it is lost outside', () => {
  const wire = (ip: string) =>
    [`node/node-2>host/${ip}`, `host/${ip}>node/node-2`].map((via) => ({ place: 'net', point: 'wire', via }));
  expect(evaluated(egressFails, inCase('a-node-alone'))).toEqual({
    findings: [
      {
        check: 'egress-fails',
        code: 'outside-unreachable',
        layer: 'L3',
        entity: { kind: 'Node', name: 'node-2' },
        severity: 'critical',
        certainty: 'inferred',
        partial: false,
        at: [...wire('10.28.0.1'), ...wire('10.28.0.53')],
        harms: [
          { proto: 'udp', dport: 53 },
          { proto: 'udp', sport: 53 },
        ],
        summary:
          'node-2 gets no answer from outside the cluster (DNS servers asked: 10.28.0.1 and 10.28.0.53), where node-1 and node-3 do; packets of its pods leave with the node’s address, so translation is not the fault',
        advice:
          "The packets are lost outside the cluster, or the answers on their way back: default gateway, router, NAT gateway, firewall. Capture on the uplink (tcpdump -ni any 'port 53 and host 10.28.0.1') and give it to whoever operates that network.",
        evidence: ['10.28.0.1', '10.28.0.53'].map((ip) => ({
          where: 'node-2',
          source: expect.stringContaining(`upstream-dns dns node-2 > ${ip} ${ip}`),
          text: 'no answer to 3 attempts',
        })),
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('no node is answered from outside; a single server that is silent to all is not told here', () => {
  const bundle = inCase('healthy');
  const all = probedOtherwise(bundle, [/> 10\.28\.0\.(1|53) /, SILENT]);
  const one = probedOtherwise(bundle, [/> 10\.28\.0\.53 /, SILENT]);
  expect([told(bundle, all), told(bundle, one)]).toEqual([
    [
      'outside-unreachable, inferred: no node gets an answer from outside the cluster (DNS servers asked: 10.28.0.1 and 10.28.0.53); packets of pods leave with their nodes’ addresses, so translation is not the fault',
    ],
    [],
  ]);
});

test('where pods are answered under their own addresses, the network knows them: translation is not missing', () => {
  const bundle = inCase('rule-missing');
  expect(
    told(
      bundle,
      probedOtherwise(bundle, [
        /^pod-to-outside tls netcheck-agents\/netcheck-probe-2/,
        { status: 'pass', delivered: 1, how: 'ok' },
      ]),
    ),
  ).toEqual([]);
});

test('a pod that is refused, or whose node is not answered either, says nothing about translation', () => {
  const bundle = inCase('rule-missing');
  const refused = probedOtherwise(bundle, [/^pod-to-outside .*netcheck-probe-2/, { how: 'refused' }]);
  const both = probedOtherwise(bundle, [/^(upstream-dns|kubernetes-service) .*node-2 > 10/, SILENT]);
  expect([told(bundle, refused), told(bundle, both)]).toEqual([
    [],
    [
      'outside-unreachable, inferred: node-2 gets no answer from outside the cluster (DNS servers asked: 10.28.0.1 and 10.28.0.53), where node-1 and node-3 do',
    ],
  ]);
});

test('without another node to compare with, a missing translation is suspected', () => {
  const bundle = inCase('rule-missing');
  const alone = probedOtherwise(bundle, [
    /^pod-to-outside .*netcheck-probe-[13]/,
    { status: 'unknown', delivered: 0, how: null },
  ]);
  expect(told(bundle, alone)).toEqual([`pod-source-not-translated, suspect: ${START}: no masquerade rule applies to them`]);
});
