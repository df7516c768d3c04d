import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Probed } from '../../kit/check.ts';
import { providerLimitExceeded } from './index.ts';

const inCase = (name: string) => readCase('linux/provider-limit-exceeded', name);

const READING = "ethtool -S of the node's uplink";
const AFTER = `${READING} @after`;

/** The recorded case with a counter of another value, after the run or at both readings. */
const counted = (counter: string, value: number, when = AFTER) =>
  withReading(
    withReading(
      inCase('recorded'),
      AFTER,
      said((stdout) => stdout.replace('14368', '0')),
      'node-2',
    ),
    when,
    said((stdout) => stdout.replace(`${counter}_allowance_exceeded: 0`, `${counter}_allowance_exceeded: ${value}`)),
    'node-2',
  );

/** Pings between node-2 and another node, of which so many packets were lost. */
const lost = (packets: number) =>
  [
    {
      probe: { expect: 'reach', from: { node: 'node-2' }, to: { node: 'node-3' } },
      result: {
        status: packets === 0 ? 'pass' : 'fail',
        how: packets === 0 ? null : 'timeout',
        sent: 20,
        delivered: 20 - packets,
      },
    },
  ] as unknown as readonly Probed[];

test('a driver that knows no such limits is not judged', () => {
  expect(evaluated(providerLimitExceeded, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
  const none = withReading(inCase('recorded'), READING, (item) => ({
    ...item,
    exitCode: 94,
    stdout: '',
    stderr: 'no stats available\n',
  }));
  expect(evaluated(providerLimitExceeded, none)).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a counter that grew by less than was lost is a risk', () => {
  expect(findingsIn(providerLimitExceeded, inCase('recorded'))).toEqual([
    {
      check: 'provider-limit-exceeded',
      code: 'provider-limit-exceeded',
      layer: 'L4',
      severity: 'critical',
      certainty: 'suspect',
      partial: true,
      entity: { kind: 'Node', name: 'node-2' },
      at: [
        { place: 'node/node-2', point: 'port', dir: 'in' },
        { place: 'node/node-2', point: 'port', dir: 'out' },
      ],
      harms: [],
      summary:
        'the provider held back or dropped packets of node-2, which has more bandwidth of what goes out than its instance type may: 14368 packets during the run',
      advice: expect.stringMatching(/larger instance type/),
      evidence: [{ where: 'node-2', source: 'ethtool -S', text: 'bw_out_allowance_exceeded: 14368, +14368 during the run' }],
    },
  ]);
});

test.for([
  ['pps', 2, [], true],
  ['pps', 3, [{}], true],
  ['bw_in', 3, [{}], true],
  ['conntrack', 3, [{ state: 'new' }], 'flows'],
  ['linklocal', 3, [{ dst: '169.254.0.0/16' }], true],
] as const)('%s +%d, where three packets were lost', ([counter, grown, harms, partial]) => {
  const [finding] = findingsIn(providerLimitExceeded, counted(counter, grown), lost(3));
  expect(finding).toMatchObject({ severity: 'critical', certainty: 'suspect', harms, partial });
});

test.for([
  ['conntrack', 1],
  ['linklocal', 1],
  ['pps', 0],
  ['bw_in', 0],
] as const)('%s packets from before the run', ([counter, count]) => {
  const findings = findingsIn(providerLimitExceeded, counted(counter, 7, READING));
  expect(findings.map(({ severity, harms }) => ({ severity, harms }))).toEqual(
    Array.from({ length: count }, () => ({ severity: 'warning', harms: [] })),
  );
  for (const { summary } of findings) expect(summary).toContain('7 packets since the node was started, none during the run');
});
