import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { ipForwardOff } from './index.ts';

const inCase = (name: string) => readCase('linux/ip-forward-off', name);

const NETCONF = 'netconf show';
const FILES = '/etc/sysctl.d/*.conf';
const forwards = (node: string) => ({ place: `node/${node}`, point: 'forwarding' });
const certain = { check: 'ip-forward-off', layer: 'L3', severity: 'critical', certainty: 'certain', partial: false } as const;
const node2 = { kind: 'Node', name: 'node-2' } as const;

const allOff = {
  ...certain,
  code: 'ip-forward-off',
  entity: node2,
  at: [{ place: 'node/node-2', point: 'forwarding' }],
  harms: [{}],
  remedy: { id: 'set-ip-forward', node: 'node-2', params: { device: 'all' } },
};
const seen = {
  where: 'node-2',
  source: 'ip -j -4 netconf show',
  text: 'forwarding of all devices: off (net.ipv4.ip_forward = 0)',
};
const ASK = 'Find out what wrote it: a hardening script, a configuration run, an operator.';

test('every node forwards: nothing is wrong, and forwarding is acquitted on each', () => {
  expect(evaluated(ipForwardOff, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: ['node-1', 'node-2', 'node-3'].map(forwards),
    gaps: [],
  });
});

test('switched off at run time, against what the files say', () => {
  expect(evaluated(ipForwardOff, inCase('at-run-time'))).toEqual({
    findings: [
      {
        ...allOff,
        summary: 'net.ipv4.ip_forward is 0 on node-2, set at run time (/etc/sysctl.d/50-kubernetes.conf sets it to 1)',
        advice: ASK,
        evidence: [seen, { where: 'node-2', source: '/etc/sysctl.d/50-kubernetes.conf:2', text: 'net.ipv4.ip_forward = 1' }],
      },
    ],
    acquitted: ['node-1', 'node-3'].map(forwards),
    gaps: [],
  });
});

test('switched off by a file: the file and its line are named', () => {
  expect(evaluated(ipForwardOff, inCase('by-file'))).toEqual({
    findings: [
      {
        ...allOff,
        summary: 'net.ipv4.ip_forward is 0 on node-2, set by /etc/sysctl.d/99-hardening.conf',
        advice:
          'Correct line 3 of /etc/sysctl.d/99-hardening.conf as well: it switches forwarding off again when sysctl settings are next loaded. Do not run sysctl --system in production: it changes every other setting too.',
        evidence: [seen, { where: 'node-2', source: '/etc/sysctl.d/99-hardening.conf:3', text: 'net.ipv4.ip_forward = 0' }],
      },
    ],
    acquitted: ['node-1', 'node-3'].map(forwards),
    gaps: [],
  });
});

test.for<[string, string, string]>([
  [
    'no file sets it',
    '==> /etc/sysctl.conf <==\n# nothing\n',
    'net.ipv4.ip_forward is 0 on node-2, set at run time (no file sets it)',
  ],
  ['there is no file', '', 'net.ipv4.ip_forward is 0 on node-2, set at run time (no file sets it)'],
  [
    'a file that another one overrules',
    '==> /etc/sysctl.d/10-hardening.conf <==\nnet.ipv4.conf.all.forwarding=0\n==> /etc/sysctl.d/50-k8s.conf <==\nnet.ipv4.ip_forward=1\n',
    'net.ipv4.ip_forward is 0 on node-2, set at run time or with /etc/sysctl.d/10-hardening.conf, which /etc/sysctl.d/50-k8s.conf overrules with 1 when all files are loaded',
  ],
  [
    'the last file that is loaded decides',
    '==> /etc/sysctl.d/50-k8s.conf <==\nnet.ipv4.ip_forward=1\n==> /etc/sysctl.conf <==\nnet/ipv4/ip_forward = 0\n',
    'net.ipv4.ip_forward is 0 on node-2, set by /etc/sysctl.conf (which systemd does not load when the node starts: then /etc/sysctl.d/50-k8s.conf sets it to 1)',
  ],
  [
    'only /etc/sysctl.conf sets it',
    '==> /etc/sysctl.conf <==\nnet.ipv4.ip_forward = 0\n',
    'net.ipv4.ip_forward is 0 on node-2, set by /etc/sysctl.conf (which systemd does not load when the node starts: then no file sets it)',
  ],
  [
    '/etc/sysctl.conf by way of the link that Debian has for systemd',
    '==> /etc/sysctl.d/99-sysctl.conf <==\nnet.ipv4.ip_forward = 0\n==> /etc/sysctl.conf <==\nnet.ipv4.ip_forward = 0\n',
    'net.ipv4.ip_forward is 0 on node-2, set by /etc/sysctl.conf',
  ],
  [
    'a file that systemd loads at the start, and /etc/sysctl.conf, which it does not, says otherwise',
    '==> /etc/sysctl.d/99-hardening.conf <==\nnet.ipv4.ip_forward=0\n==> /etc/sysctl.conf <==\nnet.ipv4.ip_forward = 1\n',
    'net.ipv4.ip_forward is 0 on node-2, set by /etc/sysctl.d/99-hardening.conf when the node started (systemd does not load /etc/sysctl.conf, which would set it to 1)',
  ],
  [
    'a pattern, in a file that comes after the one for all devices',
    '==> /etc/sysctl.d/50-k8s.conf <==\nnet.ipv4.ip_forward=1\n==> /etc/sysctl.d/60-x.conf <==\nnet.ipv4.conf.*.forwarding=0\n',
    'net.ipv4.ip_forward is 0 on node-2, set by /etc/sysctl.d/60-x.conf',
  ],
])('who set it: %s', ([, files, summary]) => {
  const bundle = withReading(inCase('at-run-time'), FILES, (item) => ({ ...item, stdout: files }), 'node-2');
  expect(findingsIn(ipForwardOff, bundle).map((finding) => finding.summary)).toEqual([summary]);
});

test('one device of the pod network alone', () => {
  expect(evaluated(ipForwardOff, inCase('one-interface'))).toEqual({
    findings: [
      {
        ...certain,
        code: 'interface-forwarding-off',
        entity: node2,
        at: [{ place: 'node/node-2', point: 'forwarding', dev: 'flannel.1' }],
        harms: [{}],
        summary:
          'forwarding is off for packets that come in by flannel.1 on node-2 (net.ipv4.conf.flannel/1.forwarding is 0, set at run time (no file sets it))',
        evidence: [{ where: 'node-2', source: 'ip -j -4 netconf show', text: 'forwarding of flannel.1: off' }],
        remedy: { id: 'set-ip-forward', node: 'node-2', params: { device: 'flannel.1' } },
      },
    ],
    acquitted: ['node-1', 'node-3'].map(forwards),
    gaps: [],
  });
});

// sysctl(8) of procps-ng 4.0.2 takes either of these for flannel.1, and net.ipv4.conf.flannel.1.forwarding for neither.
test.for(['net.ipv4.conf.flannel/1.forwarding', 'net/ipv4/conf/flannel.1/forwarding', 'net.ipv4.conf.*.forwarding'])(
  'one device, switched off by a file with %s',
  (key) => {
    const files = `==> /etc/sysctl.d/60-x.conf <==\n${key} = 0\n`;
    const bundle = withReading(inCase('one-interface'), FILES, (item) => ({ ...item, stdout: files }), 'node-2');
    const read = key === 'net.ipv4.conf.*.forwarding' ? key : 'net.ipv4.conf.flannel/1.forwarding';
    expect(findingsIn(ipForwardOff, bundle)).toMatchObject([
      {
        summary:
          'forwarding is off for packets that come in by flannel.1 on node-2 (net.ipv4.conf.flannel/1.forwarding is 0, set by /etc/sysctl.d/60-x.conf)',
        evidence: [{}, { where: 'node-2', source: '/etc/sysctl.d/60-x.conf:1', text: `${read} = 0` }],
      },
    ]);
  },
);

const without = (device: string) =>
  said((stdout) => stdout.replace(`"interface":"${device}","forwarding":true`, `"interface":"${device}","forwarding":false`));

test('all devices but one are off: each is told, and ip_forward is not blamed', () => {
  let bundle = inCase('healthy');
  for (const device of ['eth0', 'cni0']) bundle = withReading(bundle, NETCONF, without(device), 'node-2');
  expect(findingsIn(ipForwardOff, bundle).map(({ code, at }) => [code, at[0]?.dev])).toEqual([
    ['interface-forwarding-off', 'eth0'],
    ['interface-forwarding-off', 'cni0'],
  ]);
});

test('a device that is none of the pod network may have forwarding off', () => {
  expect(evaluated(ipForwardOff, withReading(inCase('healthy'), NETCONF, without('lo')))).toEqual(
    evaluated(ipForwardOff, inCase('healthy')),
  );
});

test('a node of which no device is known is neither acquitted nor spared when ip_forward is 0', () => {
  const strange = (name: string) => {
    const bundle = inCase(name);
    const nodes = bundle.inventory.nodes.map((node) => ({ ...node, ip: '192.0.2.1', podCIDRs: [] }));
    const renamed = withReading(
      bundle,
      'address show',
      said((stdout) => stdout.replaceAll('flannel.1', 'tunnel0')),
    );
    const { findings, acquitted } = evaluated(ipForwardOff, { ...renamed, inventory: { ...renamed.inventory, nodes } });
    return { codes: findings.map(({ code, entity }) => `${code} on ${entity.name}`), acquitted };
  };
  expect(strange('healthy')).toEqual({ codes: [], acquitted: [] });
  expect(strange('at-run-time')).toEqual({ codes: ['ip-forward-off on node-2'], acquitted: [] });
});

test('a node that the API server does not know is not judged by its pod network', () => {
  const bundle = inCase('one-interface');
  expect(evaluated(ipForwardOff, { ...bundle, inventory: { ...bundle.inventory, nodes: [] } })).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test('what cannot be read is unknown on that node, with the reason', () => {
  const gaps = (reading: string, change: Parameters<typeof withReading>[2]) =>
    evaluated(ipForwardOff, withReading(inCase('at-run-time'), reading, change, 'node-2')).gaps;
  expect([
    ...gaps(NETCONF, (item) => ({ ...item, stdout: item.stdout.slice(0, 700), truncated: true, exitCode: null })),
    ...gaps(NETCONF, (item) => ({ ...item, stdout: '[]' })),
    ...gaps('address show', (item) => ({ ...item, stdout: '', exitCode: null, fault: 'timeout', durationMs: 4000 })),
    ...gaps('address show', (item) => ({ ...item, stdout: item.stdout.slice(0, 700) })),
    ...gaps(FILES, (item) => ({ ...item, argv: ['cat', '…'], stdout: '', exitCode: null, fault: 'denied' })),
    ...gaps(FILES, (item) => ({ ...item, argv: ['cat', '…'], stdout: 'net.ipv4.ip_forward = 1\n' })),
  ]).toEqual(
    [
      'ip -j -4 netconf show: output was cut at 700 bytes',
      expect.stringMatching(/^ip -j -4 netconf show: unreadable output \(.+\)$/),
      'ip -j -d -s address show: no end after 4000 ms',
      expect.stringMatching(/^ip -j -d -s address show: unreadable output \(.+\)$/),
      'cat …: permission denied',
      'cat …: unreadable output (a line before the first file: net.ipv4.ip_forward = 1)',
    ].map((reason) => ({ what: 'ip-forward-off', where: 'node-2', reason })),
  );
});
