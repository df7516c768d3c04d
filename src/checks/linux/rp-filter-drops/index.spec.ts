import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { rpFilterDrops } from './index.ts';

const inCase = (name: string) => readCase('linux/rp-filter-drops', name);
const NOTHING = { findings: [], acquitted: [], gaps: [] };
const src = '10.28.87.61';

const dropped = {
  check: 'rp-filter-drops',
  code: 'rp-filter-drops',
  layer: 'L3',
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [
    { place: 'node/node-2', point: 'rp-filter', dev: 'eth0' },
    { place: 'node/node-2', point: 'dev', dev: 'eth0', dir: 'in' },
  ],
  harms: [
    { src, proto: 'icmp' },
    { src, proto: 'tcp' },
    { src, proto: 'udp' },
    { src, proto: 'arp', state: 'new' },
  ],
  remedy: { id: 'set-rp-filter', node: 'node-2', params: { device: 'eth0', value: '2' } },
};

test('no filter, and every way back leads out of the device that the packets come in by', () => {
  expect(evaluated(rpFilterDrops, inCase('healthy'))).toEqual(NOTHING);
});

test('a strict filter, and the way back to another node leads out of a second card', () => {
  expect(evaluated(rpFilterDrops, inCase('strict'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...dropped,
        summary:
          'node-2 drops what comes from node-3 by eth0: the way back leads out of eth1, and rp_filter is strict (net.ipv4.conf.all.rp_filter = 1)',
        advice:
          'Let the way back lead out of eth0, or make the filter loose: net.ipv4.conf.eth0.rp_filter = 2 (of "all" and the device the larger number counts).',
        evidence: [
          { where: 'node-2', source: 'ip -j -4 netconf show', text: 'rp_filter of all: strict' },
          { where: 'node-2', source: 'ip -j route show table all', text: 'to node-3 (10.28.87.61): 10.28.87.61 dev eth1' },
        ],
      },
    ],
  });
});

/** The filter of a device, or of all that have none, as `ip netconf` says it. */
const filtering = (device: string, mode: string) =>
  said((stdout) =>
    JSON.stringify(
      (JSON.parse(stdout) as { interface: string; rp_filter: string }[]).map((entry) =>
        entry.interface === device ? { ...entry, rp_filter: mode } : entry,
      ),
    ),
  );
const withFilter = (bundle: Bundle, device: string, mode: string) =>
  withReading(bundle, 'netconf show', filtering(device, mode), 'node-2');

test('of all and the device the larger number counts', () => {
  const strict = inCase('strict');
  const off = withFilter(strict, 'all', 'off');
  const found = (bundle: Bundle) => findingsIn(rpFilterDrops, bundle).map(({ summary }) => /\((.*)\)/.exec(summary)?.[1]);
  expect({
    off: found(off),
    device: found(withFilter(off, 'eth0', 'strict')),
    both: found(withFilter(strict, 'eth0', 'strict')),
    loose: found(withFilter(strict, 'eth0', 'loose')),
    other: found(withFilter(off, 'eth1', 'strict')),
  }).toEqual({
    off: [],
    device: ['net.ipv4.conf.eth0.rp_filter = 1'],
    both: ['net.ipv4.conf.all.rp_filter and net.ipv4.conf.eth0.rp_filter = 1'],
    loose: [],
    other: [],
  });
});

test('the file that sets it is named', () => {
  const files = '==> /etc/sysctl.d/90-rhel.conf <==\n# default\nnet.ipv4.conf.all.rp_filter = 1\n';
  const bundle = withReading(inCase('strict'), 'sysctl.d', (item) => ({ ...item, stdout: files }), 'node-2');
  expect(findingsIn(rpFilterDrops, bundle)).toMatchObject([
    {
      advice:
        'Let the way back lead out of eth0, or make the filter loose: net.ipv4.conf.eth0.rp_filter = 2 (of "all" and the device the larger number counts), also in /etc/sysctl.d/90-rhel.conf, line 2.',
      evidence: [{}, {}, { source: '/etc/sysctl.d/90-rhel.conf:2', text: 'net.ipv4.conf.all.rp_filter = 1' }],
    },
  ]);
});

test('a way back on which nobody answers is a fault of the route', () => {
  const silent = withReading(
    inCase('strict'),
    'neighbour show @after',
    said((stdout) =>
      JSON.stringify(
        (JSON.parse(stdout) as { dev: string; dst: string }[]).filter(({ dev, dst }) => dev !== 'eth1' || dst !== src),
      ),
    ),
    'node-2',
  );
  expect(evaluated(rpFilterDrops, silent)).toEqual(NOTHING);
});

test('a second card between two nodes is none as long as they reach each other', () => {
  const bundle = inCase('strict');
  const reached = probedOtherwise(bundle, [/./, { status: 'pass', delivered: 1, sent: 1, how: null }]);
  expect(findingsIn(rpFilterDrops, bundle, reached)).toEqual([]);
});
