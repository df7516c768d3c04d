import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withReading } from '../../../../test/fixtures.ts';
import { staleUdpConntrack } from './index.ts';

const inCase = (name: string) => readCase('linux/stale-udp-conntrack', name);

const TABLE = 'conntrack -L -j';

/** The case with other connections on node-2, one line for each group. */
const connected = (...lines: string[]) =>
  withReading(inCase('healthy'), TABLE, (item) => ({ ...item, stdout: lines.map((line) => `${line}\n`).join('') }), 'node-2');

test('entries that lead to endpoints are healthy', () => {
  expect(evaluated(staleUdpConntrack, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('an entry that leads to an address that is no endpoint any more', () => {
  expect(findingsIn(staleUdpConntrack, inCase('gone-endpoint'))).toEqual([
    {
      check: 'stale-udp-conntrack',
      code: 'stale-udp-conntrack',
      layer: 'L4',
      severity: 'warning',
      certainty: 'certain',
      partial: false,
      entity: { kind: 'Node', name: 'node-2' },
      at: [{ place: 'node/node-2', point: 'nat', via: '172.26.0.10' }],
      harms: [{ proto: 'udp', dst: '172.26.0.10', dport: 53, state: 'established' }],
      summary:
        'node-2 leads UDP packets of 1 client port for the Service kube-system/kube-dns (172.26.0.10 port 53) on to 172.27.2.199 port 53, which is none of its endpoints; no pod has that address now',
      advice: expect.stringMatching(/kube-proxy deletes it when an endpoint goes/),
      evidence: [
        {
          where: 'node-2',
          source: 'conntrack -L -j',
          text: 'udp dst=172.26.0.10 dport=53, answered by src=172.27.2.199 sport=53: 1 entry',
        },
      ],
      remedy: {
        id: 'delete-conntrack-entries',
        node: 'node-2',
        params: { proto: 'udp', ip: '172.26.0.10', port: '53', target: '172.27.2.199', targetPort: '53' },
      },
    },
  ]);
});

test('several entries to one address are one finding; a pod that has the address now is named', () => {
  const bundle = connected(
    '7 udp 172.26.0.10 53 172.27.2.3 53 - - -',
    '2 udp 172.26.0.10 53 172.27.2.3 - 172.27.2.1 53 431',
    '1 udp 172.26.0.10 53 172.27.9.9 53 - - -',
  );
  expect(findingsIn(staleUdpConntrack, bundle).map(({ summary }) => summary)).toEqual([
    expect.stringMatching(/of 9 client ports .* on to 172\.27\.2\.3 port 53, which .*; default\/client-2 has that address now$/),
    expect.stringMatching(/of 1 client port .* on to 172\.27\.9\.9 port 53/),
  ]);
});

test('TCP, addresses of no Service, other ports, and what the rules of the node still lead to are not judged', () => {
  const bundle = connected(
    '1 tcp 172.26.0.10 53 172.27.2.199 53 - - -',
    '1 udp 192.0.2.53 53 172.27.2.199 53 - - -',
    '1 udp 172.26.0.10 5353 172.27.2.199 53 - - -',
    '1 udp 172.26.0.10 53 172.27.1.5 53 - - -',
  );
  expect(findingsIn(staleUdpConntrack, bundle)).toEqual([]);
  const gone = inCase('gone-endpoint');
  const ruled = withReading(
    gone,
    'iptables-nft-save',
    (item) => ({ ...item, stdout: `${item.stdout}-A KUBE-SEP-X -p udp -m udp -j DNAT --to-destination 172.27.2.199:53\n` }),
    'node-2',
  );
  expect(findingsIn(staleUdpConntrack, ruled)).toEqual([]);
  const { inventory } = gone;
  const gaps = [{ what: 'endpointslices', reason: 'endpointslices is forbidden' }];
  expect(findingsIn(staleUdpConntrack, { ...gone, inventory: { ...inventory, endpoints: [], gaps } })).toEqual([]);
});

test('a node that tracks nothing is not judged', () => {
  const none = withReading(
    inCase('gone-endpoint'),
    TABLE,
    (item) => ({
      ...item,
      stdout: '',
      exitCode: 1,
      stderr: 'cat: /proc/sys/net/netfilter/nf_conntrack_count: No such file or directory',
    }),
    'node-2',
  );
  expect(evaluated(staleUdpConntrack, none)).toEqual({ findings: [], acquitted: [], gaps: [] });
});
