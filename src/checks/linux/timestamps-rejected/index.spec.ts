import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { timestampsRejected } from './index.ts';

const inCase = (name: string) => readCase('linux/timestamps-rejected', name);

const LATER = '/proc/net/netstat @after';
const RECYCLE = 'tcp_tw_recycle';

/** The healthy case with a counter of node-2 grown during the run; one that this kernel has no more is called PAWSActive there. */
const grown = (name: string, count: number, bundle = inCase('healthy')) => {
  const rename = (stdout: string): string =>
    stdout.includes(` ${name} `) ? stdout : stdout.replace(' PAWSActive ', ` ${name} `);
  return withReading(
    withReading(bundle, '/proc/net/netstat', (item) => ({ ...item, stdout: rename(item.stdout) }), 'node-2'),
    LATER,
    said((stdout) => {
      const [names = '', values = '', ...rest] = stdout.split('\n');
      const index = names.split(' ').indexOf(name);
      const changed = values.split(' ').map((value, at) => (at === index ? String(Number(value) + count) : value));
      return [names, changed.join(' '), ...rest].join('\n');
    }),
    'node-2',
  );
};

const recycled = (value: string) =>
  withReading(inCase('healthy'), RECYCLE, (item) => ({ ...item, exitCode: 0, stdout: value, stderr: '' }), 'node-2');

test('without rejections nothing is wrong', () => {
  expect(evaluated(timestampsRejected, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('packets of known connections are a risk: probes are new connections', () => {
  const [finding, ...others] = findingsIn(timestampsRejected, inCase('rejected'));
  expect(others).toEqual([]);
  const count = /dropped (\d+)/.exec(finding?.summary ?? '')?.[1];
  expect(finding).toEqual({
    check: 'timestamps-rejected',
    code: 'timestamps-rejected',
    layer: 'L4',
    severity: 'warning',
    certainty: 'certain',
    partial: 'flows',
    entity: { kind: 'Node', name: 'node-2' },
    at: [{ place: 'node/node-2', point: 'socket' }],
    harms: [],
    summary: `node-2 dropped ${count} packets of known connections during the run, because their TCP timestamps went back`,
    advice: expect.stringMatching(/load balancers and address translation/),
    evidence: [{ where: 'node-2', source: '/proc/net/netstat', text: `PAWSEstab +${count} during the run` }],
  });
});

test.for([
  [9, 0],
  [10, 1],
] as const)('%d packets', ([count, findings]) => {
  expect(findingsIn(timestampsRejected, grown('PAWSTimewait', count))).toHaveLength(findings);
});

test('an old kernel that drops first packets harms new connections', () => {
  expect(findingsIn(timestampsRejected, grown('PAWSPassive', 1, recycled('1\n')))).toMatchObject([
    {
      severity: 'critical',
      partial: 'flows',
      harms: [{ proto: 'tcp', state: 'new' }],
      summary: 'node-2 dropped the first packet of 1 connections during the run, because their TCP timestamps went back',
      advice: expect.stringMatching(/^Set net\.ipv4\.tcp_tw_recycle to 0/),
      evidence: [
        { where: 'node-2', source: '/proc/sys/net/ipv4/tcp_tw_recycle', text: '1' },
        { where: 'node-2', source: '/proc/net/netstat', text: 'PAWSPassive +1 during the run' },
      ],
    },
  ]);
});

test('an old kernel with the setting on is a risk by itself; with it off it is healthy', () => {
  expect(findingsIn(timestampsRejected, recycled('1\n'))).toMatchObject([
    { severity: 'warning', harms: [], summary: expect.stringMatching(/^net\.ipv4\.tcp_tw_recycle is 1 on node-2/) },
  ]);
  expect(findingsIn(timestampsRejected, recycled('0\n'))).toEqual([]);
  expect(evaluated(timestampsRejected, recycled('yes\n')).gaps).toMatchObject([{ where: 'node-2' }]);
});
