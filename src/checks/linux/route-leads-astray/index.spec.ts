import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { routeLeadsAstray } from './index.ts';

const inCase = (name: string) => readCase('linux/route-leads-astray', name);
const NOTHING = { findings: [], acquitted: [], gaps: [] };
const ROUTES = 'ip -j route show table all';
const RULES = 'ip -j -4 rule show';

const onNode2 = {
  check: 'route-leads-astray',
  layer: 'L3',
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [{ place: 'node/node-2', point: 'route' }],
} as const;
const FIND = 'Find out who set it (a VPN client, a container runtime, a routing daemon, a script), and take it out: ';

test('every route leads where it should', () => {
  expect(evaluated(routeLeadsAstray, inCase('healthy'))).toEqual(NOTHING);
});

test('a blackhole that covers half of the pods of another node', () => {
  expect(evaluated(routeLeadsAstray, inCase('blackhole-route'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...onNode2,
        code: 'blackhole-route',
        harms: [{ dst: '172.27.3.0/25' }],
        summary: 'the route blackhole 172.27.3.0/25 of node-2 throws away what is for the pods of node-3',
        advice: `${FIND}ip route del blackhole 172.27.3.0/25.`,
        evidence: [{ where: 'node-2', source: ROUTES, text: 'blackhole 172.27.3.0/25' }],
      },
    ],
  });
});

test('a network of a container runtime that has the addresses of the nodes', () => {
  expect(evaluated(routeLeadsAstray, inCase('container-network'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...onNode2,
        code: 'route-steals-traffic',
        harms: [{ dst: '10.28.87.59' }, { dst: '10.28.87.61' }],
        summary: 'the route 10.28.87.56/29 dev br-4f0c1e of node-2 leads what is for node-1, node-3 elsewhere',
        advice: `${FIND}ip route del 10.28.87.56/29 dev br-4f0c1e.`,
        evidence: [{ where: 'node-2', source: ROUTES, text: '10.28.87.56/29 dev br-4f0c1e' }],
      },
    ],
  });
});

test('a policy rule for the pods of a node: what the node itself sends is taken only where it has its source already', () => {
  const dst = '172.27.3.0/24';
  const own = (src: string) => [
    { src, proto: 'tcp', dst },
    { src, proto: 'udp', dport: 53, dst },
    { src, state: 'established', dst },
  ];
  expect(evaluated(routeLeadsAstray, inCase('policy-rule'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...onNode2,
        code: 'policy-rule-steals-traffic',
        harms: [
          ...['2/31', '4/30', '8/29', '16/28', '32/27', '64/26', '128/25'].map((part) => ({ src: `172.27.2.${part}`, dst })),
          ...own('172.27.2.1'),
          ...own('172.27.2.0'),
        ],
        summary:
          'the policy rule "1000: from 172.27.2.0/24 to 172.27.3.0/24 lookup 100" of node-2 leads what is for the pods of node-3 elsewhere, by the route default via 10.28.0.1 dev eth0 table 100',
        advice: `${FIND}ip rule del priority 1000.`,
        evidence: [
          { where: 'node-2', source: RULES, text: '1000: from 172.27.2.0/24 to 172.27.3.0/24 lookup 100' },
          { where: 'node-2', source: ROUTES, text: 'default via 10.28.0.1 dev eth0 table 100' },
        ],
      },
    ],
  });
});

/** The bundle with more entries in what `ip` lists on node-2. */
function adding(bundle: Bundle, reading: string, ...entries: readonly object[]): Bundle {
  return withReading(
    bundle,
    reading,
    said((stdout) => JSON.stringify([...(JSON.parse(stdout) as object[]), ...entries])),
    'node-2',
  );
}

const codes = (bundle: Bundle, probed = probedIn(bundle)) =>
  findingsIn(routeLeadsAstray, bundle, probed).map(({ code, harms, summary }) => ({ code, harms, summary }));

const TABLE_100 = { dst: 'default', gateway: '10.28.0.1', dev: 'eth0', table: '100' };

test.for<[string, readonly object[], readonly object[]]>([
  ['a blackhole for everything that more specific routes cover', [{ type: 'blackhole', dst: '172.27.0.0/16' }], []],
  ['a blackhole elsewhere', [{ type: 'blackhole', dst: '192.0.2.0/24' }], []],
  [
    'a blackhole in the place of flannel’s own route, which is for that check',
    [{ type: 'blackhole', dst: '172.27.3.0/24', metric: 4096 }],
    [],
  ],
  ['an unreachable default route of last resort', [{ type: 'unreachable', dst: 'default', metric: 4278198272 }], []],
  ['an IPv6 default route that is refused', [{ type: 'unreachable', dst: 'default', dev: 'lo', pref: 'medium' }], []],
  ['a network of Docker beside the cluster', [{ dst: '172.17.0.0/16', dev: 'docker0', flags: ['linkdown'] }], []],
  ['a VPN for the whole range, less specific than the routes to pods', [{ dst: '172.16.0.0/12', dev: 'tun0' }], []],
  ['a second way to another node that works', [{ dst: '10.28.87.61', dev: 'eth1' }], []],
  ['a second way to pods that works', [{ dst: '172.27.3.0/25', gateway: '10.28.87.61', dev: 'eth0' }], []],
  [
    'wg-quick: everything but marked packets and what the main table knows better than by default',
    [{ dst: 'default', dev: 'wg0', table: '51820' }],
    [
      { priority: 100, src: 'all', table: 'main', suppress_prefixlen: 0 },
      { priority: 101, not: null, src: 'all', fwmark: '0xca6c', table: '51820' },
    ],
  ],
  ['a rule for marked packets', [TABLE_100], [{ priority: 100, src: 'all', fwmark: '0x200', fwmask: '0xf00', table: '100' }]],
  ['a rule for another network’s pods', [TABLE_100], [{ priority: 100, src: '172.27.9.0', srclen: 24, table: '100' }]],
  ['a rule whose table is empty', [], [{ priority: 100, src: 'all', dst: '172.27.3.0', dstlen: 24, table: '100' }]],
  [
    'a rule whose table leads there as well',
    [{ dst: '172.27.3.0/24', gateway: '172.27.3.0', dev: 'flannel.1', table: '100', flags: ['onlink'] }],
    [{ priority: 100, src: 'all', dst: '172.27.3.0', dstlen: 24, table: '100' }],
  ],
])('nothing is wrong with %s', ([, routes, rules]) => {
  const bundle = adding(
    adding(inCase('healthy'), 'route show table all', ...routes, { dst: '198.51.100.0/24' }),
    'rule show',
    ...rules,
    {
      priority: 32000,
      src: 'all',
      nop: null,
    },
  );
  expect(evaluated(routeLeadsAstray, bundle)).toEqual(NOTHING);
});

test.for<[string, readonly object[], object, object]>([
  [
    'a rule that refuses',
    [],
    { priority: 100, src: 'all', dst: '172.27.3.0', dstlen: 24, action: 'prohibit' },
    {
      code: 'policy-rule-steals-traffic',
      harms: [{ dst: '172.27.3.0/24' }],
      summary: 'the policy rule "100: from all to 172.27.3.0/24 prohibit" of node-2 throws away what is for the pods of node-3',
    },
  ],
  [
    'a rule for one pod, whose table refuses',
    [{ type: 'blackhole', dst: 'default', table: '100' }],
    { priority: 100, src: '172.27.2.4', table: '100' },
    {
      code: 'policy-rule-steals-traffic',
      harms: ['10.28.87.59', '10.28.87.61', '172.27.1.0/24', '172.27.3.0/24'].map((dst) => ({ src: '172.27.2.4/32', dst })),
      summary:
        'the policy rule "100: from 172.27.2.4/32 lookup 100" of node-2 throws away what is for node-1, node-3, the pods of node-1, the pods of node-3, by the route blackhole default table 100',
    },
  ],
  [
    'a rule for the device of the pods',
    [{ type: 'unreachable', dst: '10.28.0.0/16', table: '100' }],
    { priority: 100, src: 'all', iif: 'cni0', table: '100' },
    {
      code: 'policy-rule-steals-traffic',
      harms: ['10.28.87.59', '10.28.87.61'].map((dst) => ({ src: '172.27.2.0/24', dst })),
      summary:
        'the policy rule "100: from all iif cni0 lookup 100" of node-2 throws away what is for node-1, node-3, by the route unreachable 10.28.0.0/16 table 100',
    },
  ],
  [
    'a route for the node’s own pods',
    [{ type: 'prohibit', dst: '172.27.2.64/26' }],
    { priority: 32000, src: 'all', nop: null },
    {
      code: 'blackhole-route',
      harms: [{ dst: '172.27.2.64/26' }],
      summary: 'the route prohibit 172.27.2.64/26 of node-2 throws away what is for the pods of node-2',
    },
  ],
])('told in any case: %s', ([, routes, rule, finding]) => {
  const bundle = adding(
    adding(inCase('healthy'), 'route show table all', ...routes, { dst: '198.51.100.0/24' }),
    'rule show',
    rule,
  );
  expect(codes(bundle)).toEqual([finding]);
});

test('a network in the way is none where the other node answers on it', () => {
  const answering = withReading(
    inCase('container-network'),
    'neighbour show @after',
    said((stdout) =>
      JSON.stringify([
        ...(JSON.parse(stdout) as { dst: string; dev: string }[]).filter(({ dev }) => dev !== 'br-4f0c1e'),
        ...['10.28.87.59', '10.28.87.61'].map((dst) => ({
          dst,
          dev: 'br-4f0c1e',
          lladdr: '02:00:0a:1c:57:3b',
          state: ['REACHABLE'],
        })),
      ]),
    ),
    'node-2',
  );
  expect(evaluated(routeLeadsAstray, answering)).toEqual(NOTHING);
});

test('without a pod bridge and flannel only the addresses of nodes are looked up', () => {
  const other = (bundle: Bundle) =>
    withReading(
      bundle,
      'address show',
      said((stdout) => stdout.replaceAll('flannel.1', 'tunl0').replaceAll('"vxlan"', '"ipip"').replaceAll('"bridge"', '"dummy"')),
    );
  expect(codes(other(inCase('blackhole-route')))).toEqual([]);
  expect(codes(other(inCase('container-network'))).map(({ code }) => code)).toEqual(['route-steals-traffic']);
});
