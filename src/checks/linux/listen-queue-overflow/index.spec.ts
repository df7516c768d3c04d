import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { listenQueueOverflow } from './index.ts';

const inCase = (name: string) => readCase('linux/listen-queue-overflow', name);

const LATER = '/proc/net/netstat @after';
const LISTENERS = 'ss -H -ltn';
const node2 = { kind: 'Node', name: 'node-2' } as const;
const COUNTERS = '/proc/net/netstat';
const common = { check: 'listen-queue-overflow', layer: 'L4', certainty: 'certain', entity: node2 } as const;

/** The healthy case, with so many overflows during the run on node-2. */
const overflowed = (count: number) =>
  withReading(
    inCase('healthy'),
    LATER,
    said((stdout) => {
      const [names = '', values = '', ...rest] = stdout.split('\n');
      const index = names.split(' ').indexOf('ListenOverflows');
      const changed = values.split(' ').map((value, at) => (at === index ? String(Number(value) + count) : value));
      return [names, changed.join(' '), ...rest].join('\n');
    }),
    'node-2',
  );

test('without overflows nothing is wrong', () => {
  expect(evaluated(listenQueueOverflow, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a program that does not accept: its port is told, and whose limit it is', () => {
  const [finding, ...others] = findingsIn(listenQueueOverflow, inCase('full'));
  expect(others).toEqual([]);
  const [, waiting, grown] =
    /^(\d+) \+(\d+)$/.exec(
      `${/: (\d+) wait/.exec(finding?.summary ?? '')?.[1]} +${/\+(\d+)/.exec(finding?.evidence[1]?.text ?? '')?.[1]}`,
    ) ?? [];
  expect(finding).toEqual({
    ...common,
    code: 'listen-queue-overflow',
    severity: 'critical',
    partial: 'flows',
    at: [{ place: 'node/node-2', point: 'socket' }],
    harms: [{ proto: 'tcp', dport: 9735, state: 'new' }],
    summary: `new connections to port 9735 of node-2 are dropped: ${waiting} wait to be accepted, 4 may`,
    advice: expect.stringMatching(/The program itself asks for a queue of 4 \(its backlog; net\.core\.somaxconn is \d+\)\.$/),
    evidence: [
      { where: 'node-2', source: 'ss -H -ltn', text: `LISTEN ${waiting} 4 0.0.0.0:9735` },
      { where: 'node-2', source: COUNTERS, text: `ListenOverflows +${grown} during the run` },
    ],
  });
});

test('where net.core.somaxconn is the limit, the advice says so', () => {
  const limited = withReading(inCase('full'), 'somaxconn', (item) => ({ ...item, stdout: '4\n' }), 'node-2');
  expect(findingsIn(listenQueueOverflow, limited)).toMatchObject([
    { advice: expect.stringContaining('net.core.somaxconn (4) limits the queue: raise it, and restart the program.') },
  ]);
});

test.for([
  ['5 4', ['listen-queue-overflow']],
  ['4 4', []],
] as const)('one overflow, and a queue of %s', ([queue, codes]) => {
  const bundle = withReading(
    overflowed(1),
    LISTENERS,
    (item) => ({ ...item, stdout: `LISTEN ${queue.replace(' ', '      ')}         [::]:443        [::]:*   \n` }),
    'node-2',
  );
  expect(findingsIn(listenQueueOverflow, bundle).map(({ code }) => code)).toEqual(codes);
});

test.for([
  [4, []],
  [
    5,
    [
      {
        ...common,
        code: 'listen-queue-overflow',
        severity: 'warning',
        partial: false,
        at: [{ place: 'node/node-2', point: 'socket' }],
        harms: [],
        summary:
          "node-2 dropped 5 connections during the run because a program's queue of connections to accept was full; no queue is full now",
        advice: expect.stringMatching(/^Look which queue fills/),
        evidence: [{ where: 'node-2', source: COUNTERS, text: 'ListenOverflows +5 during the run' }],
      },
    ],
  ],
] as const)('%d overflows, and no queue that is full now', ([count, findings]) => {
  expect(findingsIn(listenQueueOverflow, overflowed(count))).toEqual(findings);
});

test('a full queue that dropped nothing, and a node where nothing listens, are healthy', () => {
  const still = withReading(
    inCase('full'),
    LATER,
    () => inCase('full').evidence[1]?.items['node: cat /proc/net/netstat @before'] ?? null,
    'node-2',
  );
  expect(findingsIn(listenQueueOverflow, still)).toEqual([]);
  expect(
    findingsIn(
      listenQueueOverflow,
      withReading(inCase('healthy'), LISTENERS, (item) => ({ ...item, stdout: '' })),
    ),
  ).toEqual([]);
});
