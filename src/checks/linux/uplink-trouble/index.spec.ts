import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { uplinkTrouble } from './index.ts';

const inCase = (name: string) => readCase('linux/uplink-trouble', name);
const NOTHING = { findings: [], acquitted: [], gaps: [] };

const onNode2 = {
  check: 'uplink-trouble',
  layer: 'L2',
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
};
const cut = {
  ...onNode2,
  at: [
    { place: 'node/node-2', point: 'dev', dev: 'eth0' },
    { place: 'node/node-2', point: 'nat' },
  ],
};
const PEERS = ['10.28.87.59', '10.28.87.61'].flatMap((ip) => [{ src: ip }, { dst: ip }]);
const seen = (text: string) => [{ where: 'node-2', source: 'ip -j -d -s address show', text }];

test('uplinks that are up and lose nothing', () => {
  expect(evaluated(uplinkTrouble, inCase('healthy'))).toEqual(NOTHING);
});

test('an uplink that has been set down: with it go the routes, and what the node says to Services', () => {
  expect(evaluated(uplinkTrouble, inCase('down'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...cut,
        code: 'interface-down',
        harms: [...PEERS, { src: '10.28.87.60', dst: '172.26.0.1' }],
        summary: "eth0 of node-2, which holds the node's address, has been set down",
        advice:
          'Find out what set it down before it is set up again (ip link set eth0 up): the routes through it are gone as well, and only those that its configuration makes come back.',
        evidence: seen('eth0: no flag UP'),
        remedy: { id: 'set-link-up', node: 'node-2', params: { device: 'eth0' } },
      },
    ],
  });
});

test('an uplink without carrier', () => {
  expect(evaluated(uplinkTrouble, inCase('no-carrier'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...cut,
        code: 'carrier-lost',
        harms: PEERS,
        summary: "eth0 of node-2, which holds the node's address, has no carrier: the link below it is down",
        advice:
          'Look at the cable, the switch port and the other end of the link, or at the device below eth0 where it is a bond or a VLAN.',
        evidence: seen('eth0: NO-CARRIER'),
      },
    ],
  });
});

test('an uplink that drops packets is a suspect for what is lost now and then', () => {
  expect(evaluated(uplinkTrouble, inCase('dropped-packets'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...onNode2,
        code: 'interface-errors-rising',
        severity: 'warning',
        certainty: 'suspect',
        partial: true,
        at: [{ place: 'node/node-2', point: 'dev', dev: 'eth0' }],
        harms: [{}],
        summary: 'eth0 of node-2 counted 132 dropped packets beside 970 good ones while this check ran',
        advice:
          'Look at the counters of the driver (ethtool -S eth0): bad packets point to cable, optics or a duplex mismatch, dropped ones to rings that are too small, a link that is full, or packets larger than the other end takes.',
        evidence: [{ where: 'node-2', source: '/proc/net/dev', text: 'eth0: errors 0 → 0, dropped 138 → 270' }],
      },
    ],
  });
});

/** What is found when eth0 of node-2 counts these from the beginning to the end of the run; the first are what it had. */
function counting(packets: number, errors: readonly [number, number], drops: readonly [number, number]) {
  const table = (received: number, bad: number, dropped: number) =>
    said((stdout) => stdout.replace(/^ *eth0:.*$/m, `  eth0: 0 ${received} ${bad} ${dropped} 0 0 0 0 0 0 0 0 0 0 0 0`));
  const before = withReading(inCase('healthy'), '/proc/net/dev @before', table(100, errors[0], drops[0]), 'node-2');
  const bundle = withReading(before, '/proc/net/dev @after', table(100 + packets, errors[1], drops[1]), 'node-2');
  return findingsIn(uplinkTrouble, bundle).map(({ summary }) => /counted (.*) beside/.exec(summary)?.[1]);
}

test('both sides of what counts as bad and as dropped packets', () => {
  expect([
    counting(1000, [5, 14], [7, 7]),
    counting(1000, [5, 15], [7, 7]),
    counting(9990, [0, 10], [0, 0]),
    counting(9991, [0, 10], [0, 0]),
    counting(900, [0, 0], [400, 419]),
    counting(900, [0, 0], [400, 420]),
    counting(980, [0, 0], [0, 20]),
    counting(981, [0, 0], [0, 20]),
    counting(500, [0, 50], [0, 60]),
    counting(0, [500, 0], [500, 0]),
  ]).toEqual([
    [],
    ['10 bad packets'],
    ['10 bad packets'],
    [],
    [],
    ['20 dropped packets'],
    ['20 dropped packets'],
    [],
    ['50 bad packets and 60 dropped packets'],
    [],
  ]);
});

test('a device other than the uplink may be down, without carrier and lose packets', () => {
  const moved = withReading(
    inCase('down'),
    'address show',
    said((stdout) => stdout.replaceAll('"10.28.87.60"', '"192.0.2.60"')),
    'node-2',
  );
  expect(evaluated(uplinkTrouble, moved)).toEqual(NOTHING);
});
