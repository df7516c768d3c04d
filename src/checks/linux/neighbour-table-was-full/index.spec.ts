import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withReading } from '../../../../test/fixtures.ts';
import { neighbourTableWasFull } from './index.ts';

const inCase = (name: string) => readCase('linux/neighbour-table-was-full', name);

const LOG = '/dev/kmsg';
const TEXT = 'neighbour: arp_cache: neighbor table overflow!';

/** The log of node-2 an hour and 40 minutes after its start, with these records. */
const logged = (...records: string[]) =>
  withReading(
    inCase('healthy'),
    LOG,
    (item) => ({ ...item, stdout: ['==> /proc/uptime <==', '6000.00 9000.00', '==> /dev/kmsg <==', ...records, ''].join('\n') }),
    'node-2',
  );

const at = (seconds: number, text = TEXT) => `6,1201,${seconds}000000,-;${text}`;

test('a log without such lines is healthy', () => {
  expect(evaluated(neighbourTableWasFull, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a line of some minutes ago is a risk', () => {
  expect(findingsIn(neighbourTableWasFull, inCase('minutes-ago'))).toEqual([
    {
      check: 'neighbour-table-was-full',
      code: 'neighbour-table-was-full',
      layer: 'L2',
      severity: 'warning',
      certainty: 'certain',
      partial: false,
      entity: { kind: 'Node', name: 'node-2' },
      at: [{ place: 'node/node-2', point: 'neigh' }],
      harms: [],
      summary: expect.stringMatching(
        /^the neighbour table of node-2 was full: its kernel said so once within the last 60 min, the last time 10 min ago; now it holds \d+ of at most 1024 entries$/,
      ),
      advice: expect.stringMatching(/^Raise gc_thresh1 to 3 /),
      evidence: [{ where: 'node-2', source: '/dev/kmsg', text: TEXT }],
      remedy: {
        id: 'raise-neighbour-limits',
        node: 'node-2',
        params: { thresh1: '1024', thresh2: '2048', thresh3: '4096' },
      },
    },
  ]);
});

test('the text of older kernels, several times, the last one seconds ago', () => {
  const old = 'arp_cache: Neighbour table overflow.';
  expect(findingsIn(neighbourTableWasFull, logged(at(5000, old), at(5990, old)))).toMatchObject([
    { summary: expect.stringContaining('said so 2 times within the last 60 min, the last time 10 s ago') },
  ]);
});

test.for([
  [2400, 1],
  [2399, 0],
] as const)('a line of second %d of 6000', ([seconds, count]) => {
  expect(findingsIn(neighbourTableWasFull, logged(at(seconds)))).toHaveLength(count);
});

test('what the log says of other tables is not this', () => {
  const others = ['neighbour: ndisc_cache: neighbor table overflow!', 'nf_conntrack: table full, dropping packet'];
  expect(findingsIn(neighbourTableWasFull, logged(...others.map((text) => at(5000, text))))).toEqual([]);
});
