import { expect, test } from 'vitest';
import { readFping } from './fping.ts';

// Standard error of fping 5.1 in a network namespace: one target answers, one does not exist, one is rejected by a rule.
const STDERR = `ICMP Unreachable (Communication with Host Prohibited) from 10.0.0.2 for ICMP Echo sent to 10.0.0.8
ICMP Host Unreachable from 10.0.0.2 for ICMP Echo sent to 10.0.0.9

10.0.0.1  : xmt/rcv/%loss = 3/3/0%, min/avg/max = 0.041/0.239/0.625
10.0.0.9  : xmt/rcv/%loss = 3/0/100%
10.0.0.8  : xmt/rcv/%loss = 3/1/66%, min/avg/max = 1.02/1.02/1.02
10.0.0.7  : xmt/rcv/%return = 3/4/133%, min/avg/max = 0.041/0.239/0.625
`;

test('reads the summary and the ICMP errors of every target', () => {
  expect(Object.fromEntries(readFping('', STDERR, 3))).toEqual({
    '10.0.0.1': { sent: 3, received: 3, rtt: { min: 0.041, avg: 0.239, max: 0.625 }, error: null },
    '10.0.0.9': { sent: 3, received: 0, rtt: null, error: { text: 'Host Unreachable', from: '10.0.0.2' } },
    '10.0.0.8': {
      sent: 3,
      received: 1,
      rtt: { min: 1.02, avg: 1.02, max: 1.02 },
      error: { text: 'Unreachable (Communication with Host Prohibited)', from: '10.0.0.2' },
    },
    '10.0.0.7': { sent: 3, received: 4, rtt: { min: 0.041, avg: 0.239, max: 0.625 }, error: null },
  });
});

test('finds nothing in what is no summary', () => {
  expect(readFping('', 'fping: no such target\n', 3).size).toBe(0);
});

test('reads who answered at all where targets are asked until they do', () => {
  const stderr = 'ICMP Host Unreachable from 10.0.0.2 for ICMP Echo sent to 10.0.0.9\n';
  expect(Object.fromEntries(readFping('10.0.0.1 is alive\n10.0.0.9 is unreachable\n', stderr, 3))).toEqual({
    '10.0.0.1': { sent: 1, received: 1, rtt: null, error: null },
    '10.0.0.9': { sent: 3, received: 0, rtt: null, error: { text: 'Host Unreachable', from: '10.0.0.2' } },
  });
});
