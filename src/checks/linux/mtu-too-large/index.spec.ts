import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { mtuTooLarge } from './index.ts';

const inCase = (name: string) => readCase('linux/mtu-too-large', name);
const NOTHING = { findings: [], acquitted: [], gaps: [] };
const seen = (node: string, text: string) => ({ where: node, source: 'ip -j -d -s address show', text });

const onNode2 = {
  check: 'mtu-too-large',
  layer: 'L3',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [{ place: 'node/node-2', point: 'dev', dev: 'eth0' }],
};

test('every uplink takes what the pods send', () => {
  expect(evaluated(mtuTooLarge, inCase('healthy'))).toEqual(NOTHING);
});

test('an uplink that takes less than the tunnel sends', () => {
  expect(evaluated(mtuTooLarge, inCase('smaller-uplink'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...onNode2,
        code: 'overlay-mtu-too-large',
        severity: 'critical',
        harms: [{ minSize: 1401 }],
        summary:
          'flannel.1 of node-2 sends packets of 1450 bytes, 1500 with what the tunnel adds, but eth0 of node-2 takes only 1400',
        advice:
          "Give eth0 of node-2 an MTU of 1500 as the network allows, or flannel.1 one of 1350 (the uplink's less 50) and the pods the same: flannel computes it anew when it is restarted, pods take it when they are made anew.",
        evidence: [seen('node-2', 'eth0 mtu 1400, flannel.1 mtu 1450')],
        remedy: { id: 'set-mtu', node: 'node-2', params: { device: 'eth0', from: '1400', mtu: '1500' } },
      },
    ],
  });
});

test('an uplink that takes more than those of the others', () => {
  expect(evaluated(mtuTooLarge, inCase('larger-uplink'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...onNode2,
        code: 'mtu-differs',
        severity: 'warning',
        harms: [{ minSize: 1501 }],
        summary:
          'eth0 of node-2 has an MTU of 9000, those of 2 nodes on the same link have 1500: packets over 1500 bytes are lost between them without an error',
        advice: 'Give all uplinks on one link the same MTU. TCP agrees on the smaller one, UDP and tunnels do not.',
        evidence: [seen('node-2', 'eth0 mtu 9000'), seen('node-1', 'eth0 mtu 1500'), seen('node-3', 'eth0 mtu 1500')],
        remedy: { id: 'set-mtu', node: 'node-2', params: { device: 'eth0', from: '9000', mtu: '1500' } },
      },
    ],
  });
});

type Device = { ifname: string; mtu: number; addr_info: { family: string; local: string; prefixlen: number }[] };

/** The bundle with the MTU of some devices changed, on one node or on all. */
function sized(bundle: Bundle, mtus: Readonly<Record<string, number>>, node?: string): Bundle {
  return withReading(
    bundle,
    'address show',
    said((stdout) =>
      JSON.stringify((JSON.parse(stdout) as Device[]).map((link) => ({ ...link, mtu: mtus[link.ifname] ?? link.mtu }))),
    ),
    node,
  );
}

const codes = (bundle: Bundle) => findingsIn(mtuTooLarge, bundle).map(({ code, entity }) => `${entity.name} ${code}`);
const remedies = (bundle: Bundle) =>
  findingsIn(mtuTooLarge, bundle).flatMap(({ remedy }) => (remedy === undefined ? [] : [[remedy.node, remedy.params]]));
const JUMBO = { eth0: 9000, 'flannel.1': 8950, cni0: 8950 };

test('what is nothing unusual', () => {
  const healthy = inCase('healthy');
  expect({
    jumbo: codes(sized(healthy, JUMBO)),
    podsLarger: codes(sized(healthy, { cni0: 1500 })),
    tunnelLargerThanPods: codes(sized(healthy, { 'flannel.1': 1500 })),
    oneTunnelSmaller: codes(sized(healthy, { 'flannel.1': 1400, cni0: 1400 }, 'node-2')),
    exactly: codes(sized(healthy, { eth0: 1500, 'flannel.1': 1450 + 1, cni0: 1450 })),
  }).toEqual({ jumbo: [], podsLarger: [], tunnelLargerThanPods: [], oneTunnelSmaller: [], exactly: [] });
});

test('one byte too much, on one node and on all', () => {
  const large = { 'flannel.1': 1451, cni0: 1451 };
  expect(codes(sized(inCase('healthy'), large, 'node-2'))).toEqual(['node-2 overlay-mtu-too-large']);
  expect(codes(sized(inCase('healthy'), large))).toEqual(
    ['node-1', 'node-2', 'node-3'].map((node) => `${node} overlay-mtu-too-large`),
  );
});

test('over IPv6 the tunnel adds 70 bytes', () => {
  const over6 = withReading(
    sized(inCase('healthy'), { 'flannel.1': 1430, cni0: 1430 }),
    'address show',
    said((stdout) => stdout.replace(/"local":"[\d.]+","link":"eth0"/, '"local6":"fd00::1","link":"eth0"')),
  );
  expect(codes(over6)).toEqual([]);
  expect(codes(sized(over6, { 'flannel.1': 1431, cni0: 1431 }, 'node-2'))).toEqual(['node-2 overlay-mtu-too-large']);
});

test('a jumbo node among others is the odd one, not they; its own tunnel keeps its uplink from being made smaller', () => {
  const jumbo = sized(inCase('healthy'), JUMBO, 'node-2');
  expect([codes(jumbo), remedies(jumbo)]).toEqual([['node-2 mtu-differs'], []]);
});

test('where no other uplink takes more, what the tunnel takes is made smaller, on each node for itself', () => {
  const [large, small] = [
    sized(inCase('healthy'), { 'flannel.1': 1451, cni0: 1451 }, 'node-2'),
    sized(inCase('healthy'), { eth0: 1400 }),
  ];
  expect(remedies(large)).toEqual([['node-2', { device: 'flannel.1', from: '1451', mtu: '1450' }]]);
  const params = { device: 'flannel.1', from: '1450', mtu: '1350' };
  expect(remedies(small)).toEqual(['node-1', 'node-2', 'node-3'].map((node) => [node, params]));
});

test('what most of the others send is too large for a node whose own pods send less', () => {
  const small = sized(inCase('healthy'), { eth0: 1400, 'flannel.1': 1350, cni0: 1350 }, 'node-2');
  expect(findingsIn(mtuTooLarge, small)).toMatchObject([
    {
      ...onNode2,
      code: 'overlay-mtu-too-large',
      harms: [{ minSize: 1401 }],
      summary:
        'flannel.1 of node-1, as on other nodes, sends packets of 1450 bytes, 1500 with what the tunnel adds, but eth0 of node-2 takes only 1400',
      evidence: [seen('node-2', 'eth0 mtu 1400, flannel.1 mtu 1350'), seen('node-1', 'eth0 mtu 1500, flannel.1 mtu 1450')],
      remedy: { id: 'set-mtu', node: 'node-2', params: { device: 'eth0', from: '1400', mtu: '1500' } },
    },
  ]);
});

test('nodes on different links may differ', () => {
  const apart = withReading(
    inCase('larger-uplink'),
    'address show',
    said((stdout) => stdout.replace(/("local":"10\.28\.87\.60","prefixlen":)16/, '$132')),
    'node-2',
  );
  expect(codes(apart)).toEqual([]);
});
