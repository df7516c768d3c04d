import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedIn, probedOtherwise, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import type { ProbeResult } from '../../../model/probe.ts';
import { upstreamDnsFails } from './index.ts';

const inCase = (name: string) => readCase('dns/upstream-dns-fails', name);
const SILENT: Partial<ProbeResult> = { status: 'fail', delivered: 0, how: 'timeout', detail: 'no answer to 3 attempts' };
const ASKED = ['node-1', 'node-2', 'node-3'];

const server = {
  check: 'upstream-dns-fails',
  layer: 'DNS',
  entity: { kind: 'Address', name: '10.28.0.53' },
  severity: 'critical',
  partial: false,
  at: [{ place: 'host/10.28.0.53', point: 'socket' }],
  harms: [{ proto: 'udp', dport: 53 }],
} as const;

const cited = (text: RegExp) =>
  ASKED.map((node) => ({
    where: node,
    source: expect.stringMatching(new RegExp(`^upstream-dns dns ${node} > 10\\.28\\.0\\.53 10\\.28\\.0\\.53`)),
    text: expect.stringMatching(text),
  }));

const summaries = (bundle: Bundle, probed = probedIn(bundle)) =>
  findingsIn(upstreamDnsFails, bundle, probed).map(({ code, summary }) => `${code}: ${summary}`);

test('every server answers, and every node asks the same: nothing is wrong', () => {
  expect(evaluated(upstreamDnsFails, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a server that answers nobody', () => {
  expect(evaluated(upstreamDnsFails, inCase('silent'))).toEqual({
    findings: [
      {
        ...server,
        code: 'upstream-dns-silent',
        certainty: 'inferred',
        summary:
          'the DNS server 10.28.0.53, named in /etc/resolv.conf, gives no answer to any of the 3 nodes that ask it; 10.28.0.1 answers',
        advice:
          'Bring 10.28.0.53 back, or take it out of the configuration of the nodes (netplan, NetworkManager, DHCP; not resolv.conf itself where a program writes it). Until then a resolver on a node or in a hostNetwork pod waits 5 s for it whenever it is the next to be asked, and CoreDNS asks it again and again until its health check takes it out.',
        evidence: cited(/^no answer to 3 attempts$/),
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a server that fails where another one answers', () => {
  expect(evaluated(upstreamDnsFails, inCase('servfail'))).toEqual({
    findings: [
      {
        ...server,
        code: 'upstream-dns-servfail',
        certainty: 'certain',
        summary:
          'the DNS server 10.28.0.53, named in /etc/resolv.conf, answers SERVFAIL for the name servers of "." to all 3 nodes that ask it; 10.28.0.1 answers it',
        advice:
          "The packets arrive: this is the server's own trouble with the servers that it asks, not the cluster's network. CoreDNS hands such an answer on without asking another server, so lookups of outside names fail now and then: mend 10.28.0.53, or take it out.",
        evidence: cited(/^SERVFAIL .*after \d+ ms$/),
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a node that asks another set of servers', () => {
  expect(evaluated(upstreamDnsFails, inCase('another-resolver'))).toEqual({
    findings: [
      {
        code: 'node-resolvers-differ',
        check: 'upstream-dns-fails',
        layer: 'DNS',
        entity: { kind: 'Node', name: 'node-2' },
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        at: [{ place: 'node/node-2', point: 'socket' }],
        harms: [],
        summary:
          'node-2 asks 10.28.0.53 for outside names, where 2 other nodes ask 10.28.0.1 and 10.28.0.53: names can resolve differently on it, and in a CoreDNS pod that runs there',
        advice:
          'Compare the resolver configuration of node-2 with that of node-1; pods keep what they were started with, so restart CoreDNS pods there afterwards.',
        evidence: [{ where: 'node-2', source: '/etc/resolv.conf', text: 'nameserver 10.28.0.53' }],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('who is answered by nobody has no other server named; a closed port is said', () => {
  const bundle = inCase('silent');
  const all = probedOtherwise(bundle, [/> 10\.28\.0\.1 /, SILENT]);
  const closed = probedOtherwise(bundle, [/> 10\.28\.0\.53 /, { how: 'refused' }]);
  expect([summaries(bundle, all), summaries(bundle, closed)]).toEqual([
    [
      'upstream-dns-silent: the DNS server 10.28.0.1, named in /etc/resolv.conf, gives no answer to any of the 3 nodes that ask it; no other one answers either',
      'upstream-dns-silent: the DNS server 10.28.0.53, named in /etc/resolv.conf, gives no answer to any of the 3 nodes that ask it; no other one answers either',
    ],
    [
      'upstream-dns-silent: the DNS server 10.28.0.53, named in /etc/resolv.conf, refuses every question (nothing listens there), put to any of the 3 nodes that ask it; 10.28.0.1 answers',
    ],
  ]);
});

test('a server that a single node cannot reach is not the server’s fault; nor is one that only pods cannot', () => {
  const bundle = inCase('healthy');
  expect([
    summaries(bundle, probedOtherwise(bundle, [/node-1 > 10\.28\.0\.53/, SILENT])),
    summaries(bundle, probedOtherwise(bundle, [/^pod-to-outside .* > 10\.28\.0\.53/, SILENT])),
  ]).toEqual([[], []]);
});

test('in a closed network, where all of them fail in the same way, nothing is wrong', () => {
  const bundle = inCase('servfail');
  const probed = probedOtherwise(bundle, [/> 10\.28\.0\.1 /, { status: 'fail', delivered: 1, how: 'servfail' }]);
  expect(summaries(bundle, probed)).toEqual([]);
});

test('REFUSED is told with less weight, and an error to some nodes only as partly failing', () => {
  const bundle = inCase('healthy');
  const refused: Partial<ProbeResult> = { status: 'fail', delivered: 1, how: 'refused-by-server', detail: 'REFUSED after 2 ms' };
  const probed = probedOtherwise(bundle, [/^upstream-dns dns node-2 > 10\.28\.0\.53/, refused]);
  expect(
    findingsIn(upstreamDnsFails, bundle, probed).map(({ code, severity, partial, summary }) => ({
      code,
      severity,
      partial,
      summary,
    })),
  ).toEqual([
    {
      code: 'upstream-dns-servfail',
      severity: 'warning',
      partial: true,
      summary:
        'the DNS server 10.28.0.53, named in /etc/resolv.conf, answers REFUSED for the name servers of "." to 1 of the 3 nodes that ask it; 10.28.0.1 answers it',
    },
  ]);
});

test('order is no difference, and nodes of other zones or without a majority are not compared', () => {
  const bundle = inCase('healthy');
  const turned = withReading(
    bundle,
    'resolv.conf',
    said((text) => text.replace(/(nameserver \S+\n)(nameserver \S+\n)/, '$2$1')),
    'node-2',
  );
  const other = inCase('another-resolver');
  const zones: Bundle = {
    ...other,
    inventory: {
      ...other.inventory,
      nodes: other.inventory.nodes.map((node) => ({
        ...node,
        labels: { 'topology.kubernetes.io/zone': node.name === 'node-2' ? 'b' : 'a' },
      })),
    },
  };
  const two: Bundle = { ...other, evidence: other.evidence.filter(({ node }) => node !== 'node-3') };
  expect([turned, zones, two].map((each) => summaries(each))).toEqual([[], [], []]);
});
