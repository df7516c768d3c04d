import { expect, test } from 'vitest';
import { readCase } from '../../test/fixtures.ts';
import type { Bundle } from '../model/bundle.ts';
import type { Probe } from '../model/probe.ts';
import type { Judged, Meaning } from './classify.ts';
import { judge } from './judge.ts';
import { groupsOf, meshOf } from './mesh.ts';

test('the mesh of a captured run: times of every way between the nodes', () => {
  expect(judge(readCase('mesh/icmp-filtered', 'healthy')).mesh).toEqual({
    groups: [1, 2, 3].map((number) => ({ name: `node-${number}`, nodes: 1 })),
    planes: [
      {
        of: 'nodes',
        ways: 6,
        lossy: 0,
        unknown: 0,
        medianMs: 0.041,
        p95Ms: 0.045,
        cells: [null, [0.037, 0, 0], [0.038, 0, 0], [0.041, 0, 0], null, [0.045, 0, 0], [0.041, 0, 0], [0.036, 0, 0], null],
      },
    ],
  });
});

test('where ping is filtered a way that another protocol shows to be good is neither lost nor unknown, and has no time', () => {
  const [plane] = judge(readCase('mesh/icmp-filtered', 'on-every-node')).mesh?.planes ?? [];
  expect(plane).toMatchObject({ ways: 6, lossy: 0, unknown: 0, medianMs: null });
  expect(plane?.cells.filter((cell) => cell !== null)).toEqual(Array.from({ length: 6 }, () => [null, null, 0]));
});

/** A bundle of so many nodes, in two zones, and the result of a ping from each to each. */
function world(nodes: number): {
  readonly bundle: Bundle;
  readonly ping: (from: number, to: number, how: Meaning, ms?: number) => Judged;
} {
  const base = readCase('mesh/icmp-filtered', 'healthy');
  const [pattern] = base.inventory.nodes;
  const [probe] = base.plan.probes.filter(({ method }) => method === 'ping');
  if (pattern === undefined || probe === undefined) throw new Error('the fixture has changed');
  const name = (number: number): string => `n${String(number).padStart(3, '0')}`;
  const ip = (number: number): string => `10.0.${Math.floor(number / 250)}.${(number % 250) + 1}`;
  const inventory = {
    ...base.inventory,
    nodes: Array.from({ length: nodes }, (_, number) => ({
      ...pattern,
      name: name(number),
      ip: ip(number),
      labels: { 'topology.kubernetes.io/zone': number % 2 === 0 ? 'a' : 'b' },
    })),
  };
  return {
    bundle: { ...base, inventory, plan: { ...base.plan, nodes: inventory.nodes.map((node) => node.name) } },
    ping: (from, to, meaning, ms = 1) => {
      const sent: Probe = { ...probe, from: { node: name(from), pod: null, ip: ip(from) }, to: { node: name(to), ip: ip(to) } };
      const delivered = meaning === 'pass' ? 20 : meaning === 'lossy' ? 15 : 0;
      return {
        probe: sent,
        meaning,
        result: {
          probe: sent.id,
          status: meaning === 'pass' ? 'pass' : 'fail',
          sent: 20,
          delivered,
          how: null,
          ...(delivered > 0 ? { rtt: { min: ms, avg: ms, max: ms } } : {}),
        },
      };
    },
  };
}

test('loss, silence, denial and what nobody measured are told apart', () => {
  const { bundle, ping } = world(3);
  const judged = [
    ping(0, 1, 'pass', 0.12345),
    ping(1, 0, 'lossy', 9),
    ping(0, 2, 'fail'),
    ping(2, 0, 'denied'),
    ping(1, 2, 'unknown'),
  ];
  expect(meshOf(bundle, judged)?.planes).toEqual([
    {
      of: 'nodes',
      ways: 3,
      lossy: 2,
      unknown: 2,
      medianMs: 9,
      p95Ms: 9,
      cells: [null, [0.123, 0, 0], [null, 100, 0], [9, 25, 0], null, [null, null, 1], null, [null, null, 1], null],
    },
  ]);
});

test('a run for one node, and one of a single node, have no mesh', () => {
  const { bundle, ping } = world(3);
  const forOne = { ...bundle, run: { ...bundle.run, request: { kind: 'node' as const, node: 'n000' } } };
  expect([meshOf(forOne, [ping(0, 1, 'pass')]), meshOf(world(1).bundle, []), meshOf(bundle, [])]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test('in a large cluster neighbours of a zone share a row, and a cell tells the worst of its ways', () => {
  const { bundle, ping } = world(200);
  const judged: Judged[] = [];
  for (let from = 0; from < 200; from += 1) {
    for (let to = 0; to < 200; to += 1) {
      if (from === to || (from === 7 && to === 8)) continue;
      judged.push(ping(from, to, from === 0 && to === 1 ? 'lossy' : 'pass', from === 2 && to === 1 ? 50 : 1));
    }
  }
  const mesh = meshOf(bundle, judged);
  expect(mesh?.groups.length).toBe(40);
  expect(mesh?.groups[0]).toEqual({ name: 'n000 … n008', nodes: 5 });
  const [plane] = mesh?.planes ?? [];
  expect(plane).toMatchObject({ ways: 200 * 199 - 1, lossy: 1, unknown: 1, medianMs: 1 });
  // The first row is of n000 … n008, the first column of zone b of n001 … n009.
  expect([plane?.cells[20], plane?.cells[0]]).toEqual([
    [50, 25, 0],
    [1, 0, 0],
  ]);
  expect(plane?.cells.filter((cell) => cell !== null && cell[2] > 0)).toEqual([[1, 0, 1]]);
});

test('rows never mix zones unless there are too many of them, and there are never too many rows', () => {
  const names = Array.from({ length: 1_000 }, (_, number) => `n${number}`);
  const zoneOf = new Map(names.map((name, number) => [name, `z${number % 3}`]));
  const groups = groupsOf(names, zoneOf, 48);
  expect(groups.length).toBeLessThanOrEqual(48);
  expect(groups.filter(({ nodes }) => new Set(nodes.map((name) => zoneOf.get(name))).size > 1)).toEqual([]);
  expect(groups.flatMap(({ nodes }) => nodes).toSorted()).toEqual(names.toSorted());
  const many = groupsOf(names, new Map(names.map((name) => [name, name])), 48);
  expect([many.length <= 48, many.flatMap(({ nodes }) => nodes).length]).toEqual([true, 1_000]);
});
