import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { defaultRouteMissing } from './index.ts';

const inCase = (name: string) => readCase('linux/default-route-missing', name);
const NOTHING = { findings: [], acquitted: [], gaps: [] };
const ROUTES = 'ip -j route show table all';

test('every node has a default route', () => {
  expect(evaluated(defaultRouteMissing, inCase('healthy'))).toEqual(NOTHING);
});

const MISSING = {
  check: 'default-route-missing',
  code: 'default-route-missing',
  layer: 'L3',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [
    { place: 'node/node-2', point: 'nat' },
    { place: 'node/node-2', point: 'route' },
  ],
  advice:
    "Set it again as the node's network configuration has it (compare ip route on another node), and find out what took it: a DHCP lease that ended, a network manager, somebody by hand.",
};

test('a node has lost it: what it says itself to Services has no route', () => {
  expect(evaluated(defaultRouteMissing, inCase('missing'))).toEqual({
    ...NOTHING,
    findings: [
      {
        ...MISSING,
        severity: 'critical',
        harms: [
          { src: '10.28.87.60', dst: '172.26.0.10' },
          { src: '10.28.87.60', dst: '172.26.0.1' },
        ],
        summary:
          'node-2 has no default route, and nothing else leads to addresses that it needs: it reaches nothing outside its own links, and no Service that has no route of its own',
        evidence: ['no default route', 'no route to 172.26.0.10', 'no route to 172.26.0.1'].map((text) => ({
          where: 'node-2',
          source: ROUTES,
          text,
        })),
      },
    ],
  });
});

const adding = (bundle: Bundle, reading: string, entry: object, on?: string) =>
  withReading(
    bundle,
    reading,
    said((stdout) => JSON.stringify([...(JSON.parse(stdout) as object[]), entry])),
    on,
  );
const SERVICES = { dst: '172.26.0.0/16', dev: 'cni0' };

test('where Services have a route of their own it is a risk', () => {
  expect(findingsIn(defaultRouteMissing, adding(inCase('missing'), 'route show', SERVICES))).toEqual([
    {
      ...MISSING,
      severity: 'warning',
      harms: [],
      summary:
        'node-2 has no default route: it reaches nothing outside its own links, and no Service that has no route of its own',
      evidence: [{ where: 'node-2', source: ROUTES, text: 'no default route' }],
    },
  ]);
});

test('where no node has one and all that is probed has a route, it is meant so', () => {
  const none = withReading(
    inCase('healthy'),
    'route show',
    said((stdout) => JSON.stringify((JSON.parse(stdout) as { dst: string }[]).filter(({ dst }) => dst !== 'default'))),
  );
  expect(evaluated(defaultRouteMissing, adding(none, 'route show', SERVICES))).toEqual(NOTHING);
  expect(findingsIn(defaultRouteMissing, none).map(({ entity, severity }) => `${entity.name} ${severity}`)).toEqual([
    'node-1 critical',
    'node-2 critical',
    'node-3 critical',
  ]);
});

test('one of another table counts where a rule leads to it, one of IPv6 does not', () => {
  const tabled = adding(inCase('missing'), 'route show', { dst: 'default', dev: 'eth0', table: '100' }, 'node-2');
  expect(findingsIn(defaultRouteMissing, tabled)).toHaveLength(1);
  expect(evaluated(defaultRouteMissing, adding(tabled, 'rule show', { priority: 9, src: 'all', table: '100' }))).toEqual(NOTHING);
  const v6 = adding(
    inCase('missing'),
    'route show',
    { dst: 'default', gateway: 'fe80::1', dev: 'eth0', pref: 'medium' },
    'node-2',
  );
  expect(findingsIn(defaultRouteMissing, v6)).toHaveLength(1);
});

test('a node whose uplink is down has lost its routes with it', () => {
  const down = withReading(
    inCase('missing'),
    'address show',
    said((stdout) => {
      const links = JSON.parse(stdout) as { ifname: string; flags: string[] }[];
      for (const link of links.filter(({ ifname }) => ifname === 'eth0')) link.flags = ['BROADCAST', 'MULTICAST'];
      return JSON.stringify(links);
    }),
    'node-2',
  );
  expect(evaluated(defaultRouteMissing, down)).toEqual(NOTHING);
});
