import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import { bridgeDown } from './index.ts';

const inCase = (name: string) => readCase('linux/bridge-down', name);
const NOTHING = { findings: [], acquitted: [], gaps: [] };

test('bridges that are up are as they should be', () => {
  expect(evaluated(bridgeDown, inCase('healthy'))).toEqual(NOTHING);
});

test('a bridge that has been set down', () => {
  expect(evaluated(bridgeDown, inCase('down'))).toEqual({
    ...NOTHING,
    findings: [
      {
        check: 'bridge-down',
        code: 'bridge-down',
        layer: 'L2',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        entity: { kind: 'Node', name: 'node-2' },
        at: [
          { place: 'node/node-2', point: 'dev', dev: 'cni0' },
          { place: 'node/node-2', point: 'bridge', dev: 'cni0' },
        ],
        harms: [{}],
        summary: 'the pod bridge cni0 of node-2 has been set down',
        advice:
          'Set it up again (ip link set cni0 up): its address and its ports are still there, the kernel brings the route to the pods back. Then find out what set it down: a network manager, a script, somebody by hand.',
        evidence: [{ where: 'node-2', source: 'ip -j -d -s address show', text: 'cni0: no flag UP' }],
        remedy: { id: 'set-link-up', node: 'node-2', params: { device: 'cni0' } },
      },
    ],
  });
});

test('a bridge without a port has no carrier, says DOWN, and is healthy', () => {
  const idle = withReading(
    inCase('healthy'),
    'address show',
    said((stdout) => {
      const links = JSON.parse(stdout) as { ifname: string; flags: string[]; operstate: string }[];
      for (const link of links.filter(({ ifname }) => ifname === 'cni0')) {
        link.operstate = 'DOWN';
        link.flags = ['NO-CARRIER', 'BROADCAST', 'MULTICAST', 'UP'];
      }
      return JSON.stringify(links);
    }),
  );
  expect(findingsIn(bridgeDown, idle)).toEqual([]);
});

test('a bridge that is not that of the pods may be down', () => {
  const renumbered = withReading(
    inCase('down'),
    'address show',
    said((stdout) => stdout.replaceAll('"172.27.2.1"', '"172.17.0.1"')),
    'node-2',
  );
  expect(findingsIn(bridgeDown, renumbered)).toEqual([]);
});

test('what cannot be read is unknown', () => {
  const cut = withReading(inCase('down'), 'address show', (item) => ({ ...item, truncated: true, exitCode: null }), 'node-2');
  expect(evaluated(bridgeDown, cut)).toEqual({
    ...NOTHING,
    gaps: [
      {
        what: 'bridge-down',
        where: 'node-2',
        reason: expect.stringMatching(/^ip -j -d -s address show: output was cut at \d+ bytes$/),
      },
    ],
  });
});
