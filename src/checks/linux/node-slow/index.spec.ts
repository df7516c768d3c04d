import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withReading } from '../../../../test/fixtures.ts';
import { nodeSlow } from './index.ts';

const inCase = (name: string) => readCase('linux/node-slow', name);

const TIMES = '/proc/stat /proc/uptime';
const common = {
  check: 'node-slow',
  layer: 'L4',
  severity: 'warning',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [{ place: 'node/node-2', point: 'socket' }],
  harms: [],
} as const;

/** Times as the kernel prints them: ticks of work and of theft, and the second at which the node was started. */
const times = (work: number, stolen: number, started = 1000) =>
  `==> /proc/stat <==\ncpu  ${work} 0 0 0 0 0 0 ${stolen} 0 0\ncpu0 ${work} 0 0 0 0 0 0 ${stolen} 0 0\nbtime ${started}\n==> /proc/uptime <==\n500.00 900.00\n`;

/** All nodes alike, but for what node-2 says after the run. */
function after(stdout: string) {
  const same = withReading(inCase('healthy'), TIMES, (item) => ({ ...item, stdout: times(1000, 10) }));
  return withReading(same, `${TIMES} @after`, (item) => ({ ...item, stdout }), 'node-2');
}

test('nodes with their processor time and the same clock are healthy', () => {
  expect(evaluated(nodeSlow, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a node whose processor time goes to others', () => {
  expect(findingsIn(nodeSlow, inCase('stolen'))).toEqual([
    {
      ...common,
      code: 'cpu-stolen',
      summary: 'node-2 did not get 50 % of its processor time during the run: the hypervisor gave it to others',
      advice: expect.stringMatching(/another host/),
      evidence: [
        { where: 'node-2', source: '/proc/stat', text: expect.stringMatching(/^steal \+\d+ of \+\d+ ticks during the run$/) },
      ],
    },
  ]);
});

test.for([
  [81, 19, []],
  [80, 20, ['cpu-stolen']],
  [0, 49, []],
  [0, 50, ['cpu-stolen']],
] as const)('%d ticks of work, %d stolen', ([work, stolen, codes]) => {
  expect(findingsIn(nodeSlow, after(times(1000 + work, 10 + stolen))).map(({ code }) => code)).toEqual(codes);
});

const QUEUES = '/proc/net/softnet_stat';

test('packets that came in and were dropped for want of time', () => {
  expect(findingsIn(nodeSlow, inCase('dropped'))).toEqual([
    {
      ...common,
      code: 'packets-dropped-by-cpu',
      layer: 'L2',
      certainty: 'suspect',
      partial: true,
      at: [
        { place: 'node/node-2', point: 'dev', dir: 'in' },
        { place: 'node/node-2', point: 'bridge' },
      ],
      harms: [{}],
      summary:
        'the kernel of node-2 dropped 312 of 16772 packets (2 %) while netcheck looked: its processors did not take them from their queues in time',
      advice: expect.stringMatching(/netdev_max_backlog .* on node-2/),
      evidence: [{ where: 'node-2', source: QUEUES, text: 'dropped +312, processed +16460, time_squeeze +0 during the run' }],
    },
  ]);
});

/** Counters of two processors, as the kernel prints them. */
const queues = (...processors: readonly (readonly [packets: number, dropped: number, squeezed: number])[]) =>
  processors
    .map((counts) => `${[...counts, 0, 0].map((count) => (count >>> 0).toString(16).padStart(8, '0')).join(' ')}\n`)
    .join('');

test.for([
  [99_900, 100, 1],
  [99_901, 99, 0],
  [199_800, 200, 1],
  [199_900, 199, 0],
] as const)('%d packets taken and %d dropped make %d findings', ([packets, dropped, count]) => {
  const before = withReading(inCase('healthy'), QUEUES, (item) => ({ ...item, stdout: queues([1000, 70, 5], [1000, 0, 0]) }));
  const later = withReading(
    before,
    `${QUEUES} @after`,
    (item) => ({ ...item, stdout: queues([1000 + packets, 70, 6], [1000, dropped, 1]) }),
    'node-2',
  );
  expect(findingsIn(nodeSlow, later)).toHaveLength(count);
});

test('a counter that ran over says nothing, and one that is cut is unknown', () => {
  const before = withReading(inCase('healthy'), QUEUES, (item) => ({ ...item, stdout: queues([2 ** 32 - 10, 0, 0]) }));
  const over = withReading(before, `${QUEUES} @after`, (item) => ({ ...item, stdout: queues([500, 300, 0]) }), 'node-2');
  expect(findingsIn(nodeSlow, over)).toEqual([]);
  const torn = withReading(over, `${QUEUES} @after`, (item) => ({ ...item, stdout: '0000404c 000' }), 'node-2');
  expect(evaluated(nodeSlow, torn).gaps).toEqual([
    { what: 'node-slow', where: 'node-2', reason: `cat ${QUEUES}: unreadable output (no counters of queues)` },
  ]);
});

test('a clock that is ahead of the others', () => {
  expect(findingsIn(nodeSlow, inCase('clock'))).toEqual([
    {
      ...common,
      code: 'clock-wrong',
      summary: 'the clock of node-2 is 10 min ahead of those of the other nodes',
      advice: expect.stringMatching(/chronyc tracking/),
      evidence: [
        {
          where: 'node-2',
          source: '/proc/stat, /proc/uptime',
          text: expect.stringMatching(/^(599|600|601) s from the median of all nodes$/),
        },
      ],
    },
  ]);
});

test.for([
  [941, []],
  [940, ['the clock of node-2 is 1 min behind those of the other nodes']],
  [1059, []],
  [1060, ['the clock of node-2 is 1 min ahead of those of the other nodes']],
] as const)('a node that was started at %d, the others at 1000', ([started, summaries]) => {
  expect(findingsIn(nodeSlow, after(times(1000, 10, started))).map(({ summary }) => summary)).toEqual(summaries);
});

test('of two clocks none is called wrong', () => {
  const { evidence, ...rest } = inCase('clock');
  expect(findingsIn(nodeSlow, { ...rest, evidence: evidence.slice(0, 2) })).toEqual([]);
});
