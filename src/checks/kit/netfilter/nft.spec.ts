import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Rule, Step } from './ast.ts';
import { parseNft } from './nft.ts';

const fixture = (name: string): string => readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8');
const tables = parseNft(fixture('nft-language.json'));
const rules: readonly Rule[] = tables.flatMap(({ chains }) => chains.flatMap((chain) => chain.rules));

function stepsOf(text: string): readonly Step[] | undefined {
  return rules.find((rule) => rule.text === text)?.steps;
}

test('rules read as `nft list ruleset` writes them', () => {
  const printed = fixture('nft-language.txt')
    .split('\n')
    .map((line) => line.trim().replace(/counter packets \d+ bytes \d+/, 'counter'));
  expect(rules.length).toBe(66);
  expect(rules.map(({ text }) => text).filter((text) => !printed.includes(text))).toEqual([]);
});

const ALL = 0xffffffff;
const IPV4 = { do: 'match', test: { fields: [{ field: 'nfproto' }], rows: [[[4, 4]]], negated: false } };
const protocol = (number: number) => ({
  do: 'match',
  test: { fields: [{ field: 'proto' }], rows: [[[number, number]]], negated: false },
});
const verdict = (kind: string) => ({ do: 'verdict', verdict: { kind } });
const match = (fields: readonly unknown[], rows: readonly unknown[], negated = false) => ({
  do: 'match',
  test: { fields, rows, negated },
});

test.for([
  [
    'ip saddr . tcp dport @pairs counter drop',
    [
      IPV4,
      protocol(6),
      match(
        [{ field: 'src' }, { field: 'dport' }],
        [
          [
            ['0a000000', '0affffff'],
            [80, 90],
          ],
          [
            ['01010101', '01010101'],
            [53, 53],
          ],
        ],
      ),
      verdict('drop'),
    ],
  ],
  ['ip saddr @dy drop', [IPV4, match([{ field: 'src' }], []), verdict('drop')]],
  [
    'iifname { "cali*", "eth0" } oifname "br*" accept',
    [
      match([{ field: 'iif' }], [[['cali', 'cali\uffff']], [['eth0', 'eth0']]]),
      match([{ field: 'oif' }], [[['br', 'br\uffff']]]),
      verdict('accept'),
    ],
  ],
  [
    'tcp flags != syn / syn,ack drop',
    [protocol(6), match([{ field: 'tcp-flags', mask: 18 }], [[[2, 2]]], true), verdict('drop')],
  ],
  ['tcp flags syn drop', [protocol(6), match([{ field: 'tcp-flags', mask: 2 }], [[[1, ALL]]]), verdict('drop')]],
  ['tcp dport > 1024 drop', [protocol(6), match([{ field: 'dport' }], [[[0, 1024]]], true), verdict('drop')]],
  ['ct state invalid,untracked drop', [match([{ field: 'ct-state', mask: 65 }], [[[1, ALL]]]), verdict('drop')]],
  ['ct state != established drop', [match([{ field: 'ct-state', mask: 79 }], [[[2, 2]]], true), verdict('drop')]],
  ['ct state ! established,related drop', [match([{ field: 'ct-state', mask: 6 }], [[[1, ALL]]], true), verdict('drop')]],
  [
    'meta mark & 0x00000003 == { 0x00000001, 0x00000002 } drop',
    [match([{ field: 'mark', mask: 3 }], [[[1, 1]], [[2, 2]]]), verdict('drop')],
  ],
  [
    'meta mark set meta mark & 0xffff0005 | 0x00000005',
    [{ do: 'set-mark', field: 'mark', from: 'mark', and: 0xffff0000, xor: 5 }],
  ],
  ['meta mark set ip saddr map @mm', [{ do: 'set-mark', field: 'mark', from: null, and: 0, xor: 0 }]],
  ['fib daddr type local accept', [match([{ field: 'dst-type' }], [[['local', 'local']]]), verdict('accept')]],
  ['fib saddr . mark . iif oif missing drop', [{ do: 'unknown', why: 'fib saddr . mark . iif oif missing' }, verdict('drop')]],
  ['limit rate over 10/second drop', [{ do: 'unknown', why: 'limit rate over 10/second' }, verdict('drop')]],
  [
    'tcp dport 22 ct state new add @dy { ip saddr limit rate over 10/minute } drop',
    [
      protocol(6),
      match([{ field: 'dport' }], [[[22, 22]]]),
      match([{ field: 'ct-state', mask: 8 }], [[[1, ALL]]]),
      { do: 'unknown', why: 'add @dy { ip saddr limit rate over 10/minute }' },
      verdict('drop'),
    ],
  ],
  [
    'numgen random mod 2 vmap { 0 : drop, 1 : goto ch }',
    [
      {
        do: 'map',
        key: null,
        entries: [
          { row: [], verdict: { kind: 'drop' } },
          { row: [], verdict: { kind: 'goto', chain: 'ch' } },
        ],
      },
    ],
  ],
  [
    'ip daddr . meta l4proto . th dport vmap @dd',
    [
      IPV4,
      {
        do: 'map',
        key: [{ field: 'dst' }, { field: 'proto' }, { field: 'dport' }],
        entries: [
          {
            row: [
              ['0a60000a', '0a60000a'],
              [17, 17],
              [53, 53],
            ],
            verdict: { kind: 'drop' },
          },
          {
            row: [
              ['0a600001', '0a600001'],
              [6, 6],
              [443, 443],
            ],
            verdict: { kind: 'goto', chain: 'ch' },
          },
        ],
      },
    ],
  ],
  ['reject with icmp host-prohibited', [IPV4, { do: 'verdict', verdict: { kind: 'reject', with: 'icmp host-prohibited' } }]],
  [
    'tcp dport 80 dnat ip to 10.0.0.1:8080',
    [protocol(6), match([{ field: 'dport' }], [[[80, 80]]]), { do: 'translate', what: 'destination' }],
  ],
  [
    'ether type ip udp dport 8472 fwd to "lo"',
    [
      IPV4,
      protocol(17),
      match([{ field: 'dport' }], [[[8472, 8472]]]),
      { do: 'verdict', verdict: { kind: 'unknown', why: 'fwd to "lo"' } },
    ],
  ],
  ['tcp option maxseg size set rt mtu', []],
] as const)('%s', ([text, steps]) => {
  expect(stepsOf(text)).toEqual(steps);
});

/** A ruleset of one table `ip t` with one forward chain, and whatever else is given. */
function ruleset(table: object, chain: object, expr: readonly unknown[], more: readonly object[] = []): string {
  return JSON.stringify({
    nftables: [
      { metainfo: { version: '1.0.6' } },
      { table: { family: 'ip', name: 't', handle: 1, ...table } },
      ...more,
      {
        chain: {
          family: 'ip',
          table: 't',
          name: 'f',
          handle: 2,
          type: 'filter',
          hook: 'forward',
          prio: -5,
          policy: 'drop',
          ...chain,
        },
      },
      { rule: { family: 'ip', table: 't', chain: 'f', handle: 3, expr } },
    ],
  });
}

test('base chains, handles, and counters of their own or by name', () => {
  const counter = { counter: { family: 'ip', table: 't', name: 'c', handle: 9, packets: 7, bytes: 700 } };
  expect(parseNft(ruleset({}, { dev: ['eth0', 'eth1'] }, [{ counter: 'c' }, { drop: null }], [counter]))).toEqual([
    {
      system: 'nft',
      family: 'ip',
      name: 't',
      active: true,
      chains: [
        {
          name: 'f',
          base: { hook: 'forward', type: 'filter', priority: -5, policy: 'drop', devices: ['eth0', 'eth1'] },
          rules: [
            {
              text: 'counter name "c" drop',
              number: 1,
              handle: 3,
              packets: 7,
              steps: [{ do: 'verdict', verdict: { kind: 'drop' } }],
            },
          ],
        },
      ],
    },
  ]);
});

test('a dormant table is not there, one of a daemon is, and flags that say nothing leave it open', () => {
  const flags = ['dormant', 'owner', ['owner', 'persist'], 'Lester Gooch #5'];
  expect(flags.map((flag) => parseNft(ruleset({ flags: flag }, {}, [{ drop: null }])).map(({ active }) => active))).toEqual([
    [],
    [true],
    [true],
    [null],
  ]);
});

test('the entry for everything else is tried last', () => {
  const data = {
    set: [
      ['*', { drop: null }],
      [22, { accept: null }],
    ],
  };
  const key = { payload: { protocol: 'tcp', field: 'dport' } };
  expect(parseNft(ruleset({}, {}, [{ vmap: { key, data } }]))[0]?.chains[0]?.rules[0]?.steps.at(-1)).toEqual({
    do: 'map',
    key: [{ field: 'dport' }],
    entries: [
      { row: [[22, 22]], verdict: { kind: 'accept' } },
      { row: [[0, ALL]], verdict: { kind: 'drop' } },
    ],
  });
});

test('what cannot be read is a match that cannot be judged, and an unreadable map a verdict', () => {
  const expr = [
    { xt: { type: 'match', name: 'string' } },
    { 'new thing': {} },
    { vmap: { key: { osf: {} }, data: { set: [] } } },
  ];
  expect(parseNft(ruleset({}, {}, expr))[0]?.chains[0]?.rules[0]?.steps).toEqual([
    { do: 'unknown', why: 'xt match string' },
    { do: 'unknown', why: '{"new thing":{}}' },
    { do: 'verdict', verdict: { kind: 'unknown', why: '{"osf":{}} vmap {  }' } },
  ]);
});

test('what is kept for each element of a set ends a rule as it would by itself', () => {
  const elem = { payload: { protocol: 'ip', field: 'saddr' } };
  const kept = (...stmt: readonly object[]) =>
    parseNft(ruleset({}, {}, [{ set: { op: 'add', elem, set: '@s', stmt } }]))[0]?.chains[0]?.rules[0]?.steps;
  const rate = { rate: 10, burst: 5, per: 'second' };
  expect([
    kept(),
    kept({ counter: { packets: 0, bytes: 0 } }),
    kept({ limit: rate }),
    kept({ limit: { ...rate, inv: true } }),
    kept({ 'ct count': { val: 20, inv: true } }),
  ]).toEqual([
    [],
    [],
    [{ do: 'some', why: 'add @s { ip saddr limit rate 10/second }' }],
    [{ do: 'unknown', why: 'add @s { ip saddr limit rate over 10/second }' }],
    [{ do: 'unknown', why: 'add @s { ip saddr ct count over 20 }' }],
  ]);
  const meter = { name: 'm', key: elem, size: 1024, stmt: { limit: { ...rate, inv: true } } };
  expect(parseNft(ruleset({}, {}, [{ meter }]))[0]?.chains[0]?.rules[0]?.steps).toEqual([
    { do: 'unknown', why: 'meter m { ip saddr limit rate over 10/second }' },
  ]);
});

test('the port of any protocol is read as such, even where nft names the protocol of an earlier rule', () => {
  const left = { concat: [{ meta: { key: 'l4proto' } }, { payload: { protocol: 'icmp', field: 'checksum' } }] };
  const right = { set: [{ concat: ['udp', 53] }] };
  expect(parseNft(ruleset({}, {}, [{ match: { op: '==', left, right } }]))[0]?.chains[0]?.rules[0]?.steps).toEqual([
    match(
      [{ field: 'proto' }, { field: 'dport' }],
      [
        [
          [17, 17],
          [53, 53],
        ],
      ],
    ),
  ]);
});

test('anything but a ruleset is refused', () => {
  expect(() => parseNft('{"nftables": [{"table": 1}]}')).toThrow('expected object');
  expect(() => parseNft('')).toThrow('JSON');
});
