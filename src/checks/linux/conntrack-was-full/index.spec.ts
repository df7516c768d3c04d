import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { conntrackWasFull } from './index.ts';

const inCase = (name: string) => readCase('linux/conntrack-was-full', name);

const LOG = '/dev/kmsg';

/** The log of node-2 an hour and 40 minutes after its start, with these records. */
const logged = (...records: string[]) =>
  withReading(
    inCase('healthy'),
    LOG,
    (item) => ({ ...item, stdout: ['==> /proc/uptime <==', '6000.00 9000.00', '==> /dev/kmsg <==', ...records, ''].join('\n') }),
    'node-2',
  );

const at = (seconds: number, text = 'nf_conntrack: nf_conntrack: table full in netns 4026531840, dropping packet') =>
  `4,1201,${seconds}000000,-;${text}`;

test('a log without such lines is healthy', () => {
  expect(evaluated(conntrackWasFull, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a line of some minutes ago is a risk', () => {
  expect(findingsIn(conntrackWasFull, inCase('minutes-ago'))).toEqual([
    {
      check: 'conntrack-was-full',
      code: 'conntrack-was-full',
      layer: 'L4',
      severity: 'warning',
      certainty: 'certain',
      partial: false,
      entity: { kind: 'Node', name: 'node-2' },
      at: [{ place: 'node/node-2', point: 'prerouting' }],
      harms: [],
      summary:
        'the connection-tracking table of node-2 was full: its kernel said so once within the last hour, the last time 10 min ago; now it holds 110000 of at most 131072 entries',
      advice: expect.stringMatching(/NodeLocal DNSCache/),
      evidence: [
        {
          where: 'node-2',
          source: '/dev/kmsg',
          text: 'nf_conntrack: nf_conntrack: table full in netns 4026533712, dropping packet',
        },
      ],
      remedy: { id: 'raise-conntrack-max', node: 'node-2', params: { max: expect.stringMatching(/^\d{6}$/) } },
    },
  ]);
});

test('the text of older kernels, several times, the last one seconds ago', () => {
  const old = 'nf_conntrack: table full, dropping packet';
  expect(findingsIn(conntrackWasFull, logged(at(5000, old), at(5990, old)))).toMatchObject([
    { summary: expect.stringContaining('said so 2 times within the last hour, the last time 10 s ago') },
  ]);
});

test.for([
  [2400, 1],
  [2399, 0],
] as const)('a line of second %d of 6000', ([seconds, count]) => {
  expect(findingsIn(conntrackWasFull, logged(at(seconds)))).toHaveLength(count);
});

test('what the log says of other tables is not this', () => {
  expect(findingsIn(conntrackWasFull, logged(at(5000, 'neighbour: arp_cache: neighbor table overflow!')))).toEqual([]);
});

test('a node without a kernel log is not judged; one whose log may not be read is unknown', () => {
  const missing = withReading(
    inCase('minutes-ago'),
    LOG,
    said((stdout) => stdout.slice(0, stdout.indexOf('==> /dev'))),
    'node-2',
  );
  expect(evaluated(conntrackWasFull, missing)).toEqual({ findings: [], acquitted: [], gaps: [] });
  const denied = withReading(
    inCase('minutes-ago'),
    LOG,
    (item) => ({ ...item, stdout: '', exitCode: null, fault: 'denied' }),
    'node-2',
  );
  expect(evaluated(conntrackWasFull, denied).gaps).toEqual([
    { what: 'conntrack-was-full', where: 'node-2', reason: 'cat /proc/uptime /dev/kmsg: permission denied' },
  ]);
  expect(evaluated(conntrackWasFull, logged('4,1201;torn')).gaps).toEqual([
    {
      what: 'conntrack-was-full',
      where: 'node-2',
      reason: 'cat /proc/uptime /dev/kmsg: unreadable output (not a record: 4,1201;torn)',
    },
  ]);
});
