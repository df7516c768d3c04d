import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { vxlanChecksumWrong } from './index.ts';

const inCase = (name: string) => readCase('flannel/vxlan-checksum-wrong', name);

test('from a node', () => {
  expect(evaluated(vxlanChecksumWrong, inCase('from-a-node'))).toEqual({
    findings: [
      {
        check: 'vxlan-checksum-wrong',
        layer: 'L4',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-1',
            source: '/proc/net/snmp',
            text: 'Udp InCsumErrors +217 during the run; 20 packets from node-2 were not answered',
          },
          {
            where: 'node-3',
            source: '/proc/net/snmp',
            text: 'Udp InCsumErrors +202 during the run; 20 packets from node-2 were not answered',
          },
          {
            where: 'node-2',
            source: 'ethtool -k flannel.1',
            text: 'tx-checksum-ip-generic: on',
          },
        ],
        code: 'vxlan-checksum-wrong',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'fdb',
            via: '10.28.87.59',
          },
          {
            place: 'node/node-2',
            point: 'fdb',
            via: '10.28.87.61',
          },
        ],
        harms: [{}],
        summary:
          'what node-2 sends through the overlay arrives with wrong UDP checksums at node-1, node-3 and is thrown away there',
        advice:
          'Let the kernel compute the checksums on node-2 (ethtool -K flannel.1 tx-checksum-ip-generic off), on every node where kernel or network card are the same; it comes back with the device. A newer kernel or driver has it mended.',
        remedy: {
          id: 'disable-tx-checksum',
          node: 'node-2',
          params: {
            device: 'flannel.1',
          },
        },
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('healthy', () => {
  expect(evaluated(vxlanChecksumWrong, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

const told = (bundle: Bundle, probed?: Parameters<typeof findingsIn>[2]) =>
  findingsIn(vxlanChecksumWrong, bundle, probed).map(({ entity, certainty, remedy }) => [entity.name, certainty, remedy?.id]);

test.for<[string, string, readonly unknown[]]>([
  ['by half of what was sent', '10', [['node-2', 'certain', 'disable-tx-checksum']]],
  ['by less', '9', [['node-2', 'suspect', 'disable-tx-checksum']]],
  ['not at all', '0', []],
])('the counter grew %s', ([, grown, findings]) => {
  const counted = (count: string) => (stdout: string) => stdout.replace(/^(Udp: (?:\d+ ){6})\d+( .*)$/m, `$1${count}$2`);
  let bundle = withReading(inCase('from-a-node'), 'snmp @before', (item) => ({ ...item, stdout: counted('0')(item.stdout) }));
  bundle = withReading(bundle, 'snmp @after', (item) => ({ ...item, stdout: counted(grown)(item.stdout) }));
  expect(told(bundle).filter(([name]) => name === 'node-2')).toEqual(findings);
});

test('where anything gets through, the errors are somebody else’s', () => {
  const bundle = inCase('from-a-node');
  const one = [/^node-to-pod-network udp node-2 >/, { status: 'fail', delivered: 1 }] as const;
  expect(told(bundle, probedOtherwise(bundle, one)).filter(([name]) => name === 'node-2')).toEqual([]);
});

test.for<[string, (stdout: string) => string]>([
  ['computes the checksums itself', (stdout) => stdout.replace('tx-checksum-ip-generic: on', 'tx-checksum-ip-generic: off')],
])('a device that %s needs no remedy', ([, change]) => {
  expect(told(withReading(inCase('from-a-node'), 'ethtool', said(change), 'node-2'))).toEqual([['node-2', 'certain', undefined]]);
});

test('without the device there is nothing to switch off', () => {
  const gone = withReading(
    inCase('from-a-node'),
    'ethtool',
    (item) => ({ ...item, exitCode: 75, stdout: '', stderr: 'netlink error: No such device' }),
    'node-2',
  );
  expect(told(gone)).toEqual([['node-2', 'certain', undefined]]);
});
