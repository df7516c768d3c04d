import { expect, test } from 'vitest';
import { createLookup, isInside, without } from './fib.ts';
import type { PolicyRule } from './policy-rules.ts';
import { type Route, routeText } from './routes.ts';

const RULE: PolicyRule = {
  priority: 0,
  isInverted: false,
  from: null,
  to: null,
  iif: null,
  mark: null,
  isParticular: false,
  table: null,
  goto: null,
  action: null,
  suppressPrefix: -1,
};
const MAIN: PolicyRule = { ...RULE, priority: 32766, table: 'main' };

function route(dst: string, dev: string, more: Partial<Route> = {}): Route {
  return { type: 'unicast', dst, dev, table: 'main', flags: [], ...more };
}

function decided(
  routes: readonly Route[],
  rules: readonly Partial<PolicyRule>[],
  dst: string,
  src: string | null = null,
  iif: string | null = null,
) {
  const decision = createLookup(routes, [MAIN, ...rules.map((rule, index) => ({ ...RULE, priority: 100 + index, ...rule }))])({
    dst,
    src,
    iif,
  });
  if (decision === null) return null;
  return decision.route === null ? decision.rule.action : routeText(decision.route);
}

test('the longest prefix wins, then the lowest metric; a next hop that is dead does not count', () => {
  const routes = [
    route('default', 'eth0', { gateway: '10.0.0.1' }),
    route('10.0.0.0/8', 'a', { metric: 100 }),
    route('10.0.0.0/8', 'b', { metric: 50 }),
    route('10.1.0.0/16', 'c', { flags: ['dead', 'linkdown'] }),
    route('10.1.2.3', 'd'),
  ];
  expect(['10.1.2.3', '10.1.2.4', '192.0.2.1'].map((dst) => decided(routes, [], dst))).toEqual([
    '10.1.2.3 dev d',
    '10.0.0.0/8 dev b',
    'default via 10.0.0.1 dev eth0',
  ]);
  expect(decided([], [], '10.1.2.3')).toBeNull();
});

test('rules come in the order of their priority; one without a route, with throw or a suppressed one goes on', () => {
  const routes = [
    route('default', 'eth0'),
    route('10.0.0.0/8', 'a', { table: '7' }),
    route('default', 'b', { table: '8' }),
    route('10.9.0.0/16', 'x', { type: 'throw', table: '9' }),
    route('default', 'y', { table: '9' }),
  ];
  const asked = (...rules: readonly Partial<PolicyRule>[]) => decided(routes, rules, '10.9.0.1', '10.8.0.1', 'cni0');
  expect({
    empty: asked({ table: '99' }),
    found: asked({ table: '7' }),
    first: asked({ table: '8' }, { table: '7' }),
    thrown: asked({ table: '9' }),
    suppressed: asked({ table: '8', suppressPrefix: 0 }),
    refused: asked({ action: 'blackhole' }),
    jump: asked({ goto: 102 }, { action: 'blackhole' }, { table: '7' }),
    particular: asked({ isParticular: true, table: '7' }),
  }).toEqual({
    empty: 'default dev eth0',
    found: '10.0.0.0/8 dev a table 7',
    first: 'default dev b table 8',
    thrown: 'default dev eth0',
    suppressed: 'default dev eth0',
    refused: 'blackhole',
    jump: '10.0.0.0/8 dev a table 7',
    particular: 'default dev eth0',
  });
});

test('a rule selects by source, destination, device and mark, or by none of it when inverted', () => {
  const routes = [route('default', 'eth0'), route('default', 'x', { table: '7' })];
  const taken = (rule: Partial<PolicyRule>, src: string | null = '10.8.0.1', iif: string | null = 'cni0') =>
    decided(routes, [{ table: '7', ...rule }], '10.9.0.1', src, iif) === 'default dev x table 7';
  expect([
    taken({ from: '10.8.0.0/16' }),
    taken({ from: '10.8.0.0/16' }, null),
    taken({ from: '10.7.0.0/16' }),
    taken({ from: '10.7.0.0/16', isInverted: true }),
    taken({ to: '10.9.0.1/32' }),
    taken({ iif: 'cni0' }),
    taken({ iif: 'lo' }),
    taken({ iif: 'lo' }, null, null),
    taken({ mark: { value: 0x2_00, mask: 0xf_00 } }),
    taken({ mark: { value: 0, mask: 0xf_00 } }),
    taken({ mark: { value: 0xca_6c, mask: 0xff_ff_ff_ff }, isInverted: true }),
  ]).toEqual([true, false, false, true, true, true, false, true, false, true, true]);
});

test('blocks: whether one is inside another, and one without some addresses', () => {
  expect([
    isInside('172.27.3.0/25', '172.27.3.0/24'),
    isInside('172.27.3.0/24', '172.27.3.0/25'),
    isInside('172.27.3.9', '172.27.3.0/24'),
    isInside('172.27.3.0/24', 'default'),
    isInside('default', '172.27.3.0/24'),
  ]).toEqual([true, false, true, true, false]);
  expect(without('192.0.2.0/30', ['192.0.2.0', '192.0.2.1'])).toEqual(['192.0.2.2/31']);
  expect(without('192.0.2.0/30', ['198.51.100.1'])).toEqual(['192.0.2.0/30']);
  expect(without('255.255.255.255/32', ['255.255.255.255'])).toEqual([]);
});
