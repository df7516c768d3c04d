import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { natPortsExhausted } from './index.ts';

const inCase = (name: string) => readCase('linux/nat-ports-exhausted', name);

const TABLE = 'conntrack -L -j';
const node2 = { kind: 'Node', name: 'node-2' } as const;
const RULE = '-A POSTROUTING -s 172.27.2.0/24 -d 10.28.0.2/32 -p tcp -m tcp --dport 6443 -j MASQUERADE --to-ports 40000-40003';

/** The case with other connections on node-2, one line for each group. */
const connected = (name: string, ...lines: string[]) =>
  withReading(inCase(name), TABLE, (item) => ({ ...item, stdout: lines.map((line) => `${line}\n`).join('') }), 'node-2');

/** Connections to one destination with ports from 1000 on, as many in each hundred as fit there. */
const many = (count: number) => [
  ...Array.from(
    { length: Math.floor(count / 100) },
    (_, index) => `100 tcp 198.51.100.9 443 198.51.100.9 - 10.28.87.60 443 ${10 + index}`,
  ),
  `${count % 100} tcp 198.51.100.9 443 198.51.100.9 - 10.28.87.60 443 ${10 + Math.floor(count / 100)}`,
];

test('with ports left nothing is wrong', () => {
  expect(evaluated(natPortsExhausted, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('every port of a rule is taken, and the kernel dropped connections', () => {
  const [finding, ...others] = findingsIn(natPortsExhausted, inCase('exhausted'));
  expect(others).toEqual([]);
  const dropped = /dropped (\d+)/.exec(finding?.summary ?? '')?.[1];
  expect(finding).toEqual({
    check: 'nat-ports-exhausted',
    code: 'nat-ports-exhausted',
    layer: 'L4',
    severity: 'critical',
    certainty: 'certain',
    partial: 'flows',
    entity: node2,
    at: [{ place: 'node/node-2', point: 'postrouting' }],
    harms: [{ proto: 'tcp', src: '172.27.2.0/24', dst: '10.28.0.2', dport: 6443, state: 'new' }],
    summary: `4 TCP connections of node-2 to 10.28.0.2 port 6443 are translated to 10.28.87.60, of at most 4 (ports 40000 to 40003, as a rule of the node wants it); the kernel dropped ${dropped} new connections during the run`,
    advice: expect.stringMatching(/keep theirs open and reuse them/),
    evidence: [
      { where: 'node-2', source: 'conntrack -L -j', text: '4 tcp to 10.28.0.2:6443 from 10.28.87.60' },
      { where: 'node-2', source: 'rules of the nat table', text: expect.stringContaining(RULE) },
      { where: 'node-2', source: '/proc/net/stat/nf_conntrack', text: `insert_failed +${dropped} during the run` },
    ],
  });
});

test('nearly all ports that the kernel has are taken', () => {
  expect(findingsIn(natPortsExhausted, inCase('nearly'))).toEqual([
    {
      check: 'nat-ports-exhausted',
      code: 'nat-ports-nearly-exhausted',
      layer: 'L4',
      severity: 'warning',
      certainty: 'certain',
      partial: 'flows',
      entity: node2,
      at: [{ place: 'node/node-2', point: 'postrouting' }],
      harms: [],
      summary:
        '60000 TCP connections of node-2 to 198.51.100.9 port 443 are translated to 10.28.87.60, of at most 64512 (ports 1024 to 65535)',
      advice: expect.stringMatching(/keep theirs open and reuse them/),
      evidence: [{ where: 'node-2', source: 'conntrack -L -j', text: '60000 tcp to 198.51.100.9:443 from 10.28.87.60' }],
    },
  ]);
});

test.for([
  [58_060, []],
  [58_061, ['nat-ports-nearly-exhausted']],
] as const)('%d connections of 64512', ([count, codes]) => {
  expect(findingsIn(natPortsExhausted, connected('healthy', ...many(count))).map(({ code }) => code)).toEqual(codes);
});

test('so many connections to different destinations, or from different addresses, are fine', () => {
  const half = many(33_000);
  const elsewhere = half.map((line) => line.replaceAll('198.51.100.9', '198.51.100.10'));
  const otherPort = half.map((line) => line.replace(' 443 ', ' 8443 ').replace(/ 443 (\d+)$/, ' 8443 $1'));
  const otherSource = half.map((line) => line.replace('10.28.87.60', '10.28.87.160'));
  expect(findingsIn(natPortsExhausted, connected('healthy', ...half, ...elsewhere, ...otherPort, ...otherSource))).toEqual([]);
});

test('a small range is told only where connections were dropped, and only by connections of its own', () => {
  const quiet = withReading(
    inCase('exhausted'),
    'nf_conntrack @after',
    () => inCase('exhausted').evidence[1]?.items['node: cat /proc/net/stat/nf_conntrack @before'] ?? null,
    'node-2',
  );
  expect(findingsIn(natPortsExhausted, quiet)).toEqual([]);
  const others = [
    '65 tcp 10.28.0.2 6443 10.28.0.2 - 10.28.87.60 6443 400',
    '4 tcp 10.28.0.2 6443 10.28.0.2 - 10.28.87.60 6443 399',
  ];
  expect(findingsIn(natPortsExhausted, connected('exhausted', ...others))).toEqual([]);
});

test('a range of SNAT, in iptables-legacy', () => {
  const rule = '-A POSTROUTING -o eth0 -p tcp -j SNAT --to-source 192.0.2.7:2000-3999';
  const bundle = withReading(
    connected('healthy', '1000 tcp 9.9.9.9 443 9.9.9.9 - 192.0.2.7 443 21', '900 tcp 9.9.9.9 443 9.9.9.9 - 192.0.2.7 443 39'),
    'iptables-legacy-save',
    (item) => ({ ...item, stdout: `# Generated by iptables-save v1.8.9\n*nat\n${rule}\nCOMMIT\n` }),
    'node-2',
  );
  expect(findingsIn(natPortsExhausted, bundle)).toMatchObject([
    { summary: expect.stringContaining('1900 TCP connections'), evidence: [{}, { text: rule }] },
  ]);
});

test('the rarest groups may be missing; a node that tracks nothing is not judged', () => {
  expect(findingsIn(natPortsExhausted, connected('healthy', ...many(60_000), '3000 …', '12 ?'))).toHaveLength(1);
  const none = withReading(
    inCase('nearly'),
    TABLE,
    (item) => ({
      ...item,
      stdout: '',
      exitCode: 1,
      stderr: 'cat: /proc/sys/net/netfilter/nf_conntrack_count: No such file or directory',
    }),
    'node-2',
  );
  expect(evaluated(natPortsExhausted, none)).toEqual({ findings: [], acquitted: [], gaps: [] });
  const torn = withReading(
    inCase('nearly'),
    TABLE,
    said((stdout) => stdout.slice(0, 30)),
    'node-2',
  );
  expect(evaluated(natPortsExhausted, torn).gaps).toMatchObject([{ where: 'node-2' }]);
});
