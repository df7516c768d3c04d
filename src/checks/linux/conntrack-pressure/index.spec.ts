import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { conntrackPressure } from './index.ts';

const inCase = (name: string) => readCase('linux/conntrack-pressure', name);

const USE = 'nf_conntrack_max';
const LATER = 'stat/nf_conntrack @after';
const MAX = 262_144;
const node2 = { kind: 'Node', name: 'node-2' } as const;
const entry = ['prerouting', 'output', 'forward'].map((point) => ({ place: 'node/node-2', point }));
const ADVICE = expect.stringMatching(/NodeLocal DNSCache/);

/** The last reading of the counters of node-2, with one added to what each processor had. */
function grown(name: string, column: number, by: number) {
  const bundle = inCase(name);
  return withReading(
    bundle,
    LATER,
    said((stdout) => {
      const lines = stdout.split('\n');
      const cells = (lines[1] ?? '').split(/(\s+)/);
      cells[column * 2] = (Number.parseInt(cells[column * 2] ?? '', 16) + by).toString(16).padStart(8, '0');
      return [lines[0], cells.join(''), ...lines.slice(2)].join('\n');
    }),
    'node-2',
  );
}

const INSERT_FAILED = 9;
const DROP = 10;
const EARLY_DROP = 11;

const used = (count: number, max: number) => (bundle: ReturnType<typeof inCase>) =>
  withReading(
    bundle,
    USE,
    said((stdout) => stdout.replace(/\d+\n==>/, `${count}\n==>`).replace(/\d+\n$/, `${max}\n`)),
    'node-2',
  );

test('with room in the table and no failures nothing is wrong', () => {
  expect(evaluated(conntrackPressure, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a full table that drops: it harms new connections, some of them whole', () => {
  const [finding, ...others] = findingsIn(conntrackPressure, inCase('full'));
  expect(others).toEqual([]);
  const dropped = /dropped (\d+) packets/.exec(finding?.summary ?? '')?.[1];
  expect(finding).toEqual({
    check: 'conntrack-pressure',
    code: 'conntrack-table-full',
    layer: 'L4',
    severity: 'critical',
    certainty: 'certain',
    partial: 'flows',
    entity: node2,
    at: entry,
    harms: [{ state: 'new' }],
    summary: `the connection-tracking table of node-2 is full (${MAX} of at most ${MAX} entries): the kernel dropped ${dropped} packets of new connections during the run`,
    advice: ADVICE,
    evidence: [
      {
        where: 'node-2',
        source: '/proc/sys/net/netfilter/nf_conntrack_count, /proc/sys/net/netfilter/nf_conntrack_max',
        text: `${MAX} of at most ${MAX} entries`,
      },
      {
        where: 'node-2',
        source: '/proc/net/stat/nf_conntrack',
        text: expect.stringMatching(new RegExp(`^drop \\+${dropped}, early_drop \\+\\d+ during the run$`)),
      },
    ],
    remedy: { id: 'raise-conntrack-max', node: 'node-2', params: { max: expect.stringMatching(/^\d{6}$/) } },
  });
});

test('a full table that dropped fewer packets than were lost explains none of them', () => {
  const few = withReading(
    inCase('full'),
    LATER,
    () => inCase('full').evidence[1]?.items['node: cat /proc/net/stat/nf_conntrack @before'] ?? null,
    'node-2',
  );
  expect(findingsIn(conntrackPressure, few).map(({ code, harms }) => ({ code, harms }))).toEqual([
    { code: 'conntrack-table-nearly-full', harms: [] },
  ]);
  const lost = probedOtherwise(inCase('full'), [/node-to-node ping node-1 > node-2/, { status: 'pass' }]);
  expect(findingsIn(conntrackPressure, inCase('full'), lost)[0]?.harms).toEqual([{ state: 'new' }]);
  expect(findingsIn(conntrackPressure, used(MAX, MAX)(grown('healthy', DROP, 5)))).toMatchObject([
    { code: 'conntrack-table-full', harms: [], summary: expect.stringContaining('dropped 5 packets') },
  ]);
});

test('a full table from which the kernel evicts others harms none that is asked for', () => {
  expect(findingsIn(conntrackPressure, used(MAX, MAX)(grown('healthy', EARLY_DROP, 7)))).toMatchObject([
    { code: 'conntrack-table-full', harms: [], summary: expect.stringContaining('evicted 7 unanswered connections') },
  ]);
});

test('a nearly full table is a risk, with the size that the memory allows', () => {
  expect(findingsIn(conntrackPressure, inCase('nearly-full'))).toEqual([
    {
      check: 'conntrack-pressure',
      code: 'conntrack-table-nearly-full',
      layer: 'L4',
      severity: 'warning',
      certainty: 'certain',
      partial: false,
      entity: node2,
      at: entry,
      harms: [],
      summary:
        'the connection-tracking table of node-2 is 83 % full (110000 of at most 131072 entries); once it is full, new connections are dropped',
      advice: ADVICE,
      evidence: [
        {
          where: 'node-2',
          source: '/proc/sys/net/netfilter/nf_conntrack_count, /proc/sys/net/netfilter/nf_conntrack_max',
          text: '110000 of at most 131072 entries',
        },
      ],
      remedy: { id: 'raise-conntrack-max', node: 'node-2', params: { max: expect.stringMatching(/^\d{6}$/) } },
    },
  ]);
});

test.for([
  [79_999, []],
  [80_000, ['conntrack-table-nearly-full']],
  [100_000, ['conntrack-table-nearly-full']],
] as const)('%d of 100000 entries without a drop', ([count, codes]) => {
  expect(findingsIn(conntrackPressure, used(count, 100_000)(inCase('healthy'))).map(({ code }) => code)).toEqual(codes);
});

test.for([
  [94_999, 'conntrack-table-nearly-full'],
  [95_000, 'conntrack-table-full'],
] as const)('%d of 100000 entries with drops', ([count, code]) => {
  expect(findingsIn(conntrackPressure, used(count, 100_000)(grown('healthy', DROP, 3)))).toMatchObject([{ code }]);
});

test('drops with room in the table are other rules of tracking, and healthy', () => {
  expect(findingsIn(conntrackPressure, grown('healthy', DROP, 50))).toEqual([]);
});

test('a table that is as large as the memory allows is not to be raised', () => {
  const bundle = withReading(used(90_000, 100_000)(inCase('healthy')), '/proc/meminfo', (item) => ({
    ...item,
    stdout: 'MemTotal:        3200000 kB\n',
  }));
  expect(findingsIn(conntrackPressure, bundle).map(({ remedy }) => remedy)).toEqual([undefined]);
});

test.for(['insert-failed', 'dns-pairs'])('inserts that fail as often as packets were lost may explain them: %s', (name) => {
  const [finding, ...others] = findingsIn(conntrackPressure, inCase(name));
  expect(others).toEqual([]);
  const count = /of (\d+) new/.exec(finding?.summary ?? '')?.[1];
  expect(finding).toEqual({
    check: 'conntrack-pressure',
    code: 'conntrack-insert-failed',
    layer: 'L4',
    severity: 'critical',
    certainty: 'suspect',
    partial: 'flows',
    entity: node2,
    at: ['postrouting', 'input', 'forward'].map((point) => ({ place: 'node/node-2', point })),
    harms: [{ state: 'new' }],
    summary: `node-2 dropped the first packet of ${count} new connections during the run: after address translation they would have looked like others`,
    advice: expect.stringMatching(/NodeLocal DNSCache, .*single-request-reopen.*, and --random-fully/),
    evidence: [{ where: 'node-2', source: '/proc/net/stat/nf_conntrack', text: `insert_failed +${count} during the run` }],
  });
});

test.for([
  [9, []],
  [10, [{ code: 'conntrack-insert-failed', severity: 'warning', harms: [] }]],
] as const)('%d failed inserts where nothing was lost', ([count, findings]) => {
  expect(findingsIn(conntrackPressure, grown('healthy', INSERT_FAILED, count))).toMatchObject(findings);
});

test.for([
  [0, []],
  [1, [{ code: 'conntrack-insert-failed', severity: 'critical', certainty: 'suspect', harms: [{ state: 'new' }] }]],
] as const)('queries sent two at once of which one is lost, and %d failed inserts', ([count, findings]) => {
  const bundle = count === 0 ? inCase('healthy') : grown('healthy', INSERT_FAILED, count);
  const half = { status: 'fail', how: 'half-answered', sent: 80, delivered: 63 } as const;
  const probed = probedOtherwise(bundle, [/^dns-pair dns-pair netcheck-agents\/netcheck-probe-2/, half]);
  expect(findingsIn(conntrackPressure, bundle, probed)).toMatchObject(findings);
});

test('beside another fault that loses more, they may explain queries sent two at once of which one is lost', () => {
  const half = { status: 'fail', how: 'half-answered', sent: 20, delivered: 12 } as const;
  const pair = [/^dns-pair dns-pair netcheck-agents\/netcheck-probe-2/, half] as const;
  const others = [/node-to-node ping node-1 > node-2/, { status: 'fail', how: 'timeout', delivered: 0 }] as const;
  const harmsOf = (count: number, ...changes: Parameters<typeof probedOtherwise>[1][]) => {
    const bundle = grown('healthy', INSERT_FAILED, count);
    return findingsIn(conntrackPressure, bundle, probedOtherwise(bundle, ...changes)).map(({ harms }) => harms);
  };
  const pod = 'netcheck-agents/netcheck-probe-2';
  const src = probedOtherwise(inCase('healthy')).find(({ probe }) => probe.from.pod === pod)?.probe.from.ip;
  expect(src).toBeDefined();
  expect(harmsOf(1, pair, others)).toEqual([[{ proto: 'udp', src, state: 'new', dnat: true }]]);
  expect(harmsOf(1, others)).toEqual([]);
});

test('a node that tracks no connections, or has no counters of it, is not judged', () => {
  const absent = (item: { argv: string[] }) => ({
    stdout: '',
    exitCode: 1,
    stderr: `cat: ${item.argv[1]}: No such file or directory`,
  });
  const without = withReading(
    withReading(inCase('full'), USE, (item) => ({ ...item, stdout: '' }), 'node-2'),
    'stat/nf_conntrack',
    (item) => ({ ...item, ...absent(item) }),
    'node-2',
  );
  expect(evaluated(conntrackPressure, without)).toEqual({ findings: [], acquitted: [], gaps: [] });
});
