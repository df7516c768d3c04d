import { expect, test } from 'vitest';
import { parseIptablesSave } from './iptables-save.ts';
import { parseNft } from './nft.ts';
import type { FilterPacket } from './packet.ts';
import { createWalk, type Outcome } from './walk.ts';

/*
 * What the walk makes of rules that it must get right; that it agrees with the kernel on all that can be tried is shown by
 * test/contract/netfilter.spec.ts.
 */

const packet: FilterPacket = {
  proto: 'tcp',
  src: '10.0.0.1',
  dst: '10.0.1.1',
  sport: 40000,
  dport: 80,
  state: 'new',
  iif: 'eth0',
  oif: 'cni0',
  dnat: false,
  snat: false,
};

type Options = { readonly policy?: string; readonly table?: string; readonly system?: 'legacy' | 'iptables-nft' };

/** Rules of the forward chain of a filter table, other chains as `:NAME` lines among them. */
function filter(lines: string, { policy = 'ACCEPT', table = 'filter', system = 'legacy' }: Options = {}) {
  const all = lines.split('\n').map((line) => line.trim());
  const chains = all.filter((line) => line.startsWith(':')).map((line) => `${line} - [0:0]`);
  const rules = all.filter((line) => line.startsWith('-A'));
  return parseIptablesSave([`*${table}`, `:FORWARD ${policy} [2:80]`, ...chains, ...rules, 'COMMIT'].join('\n'), system).tables;
}

function forward(lines: string, over: Partial<FilterPacket> = {}, options: Options = {}): Outcome {
  return createWalk(filter(lines, options))('forward', { ...packet, ...over });
}

/** The verdict, the rule that eats or may eat it, and what is partial or in doubt. */
function brief({ verdict, rule, mayEat, partial }: Outcome): string {
  const parts = [
    verdict,
    ...(partial ? ['partial'] : []),
    ...(rule === null ? [] : [rule.text]),
    ...(mayEat === null ? [] : [`may: ${mayEat.text}`]),
  ];
  return parts.join(' | ');
}

test('a rule that eats a packet is named with all that tells it from others', () => {
  const lines = `:U1
    [9:540] -A FORWARD -s 10.9.0.0/16 -j DROP
    -A FORWARD -p tcp -j U1
    -A U1 -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset`;
  expect(forward(lines)).toEqual({
    verdict: 'reject',
    rule: {
      system: 'legacy',
      family: 'ip',
      table: 'filter',
      chain: 'U1',
      text: '-A U1 -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset',
      policy: false,
      number: 1,
    },
    mayEat: null,
    partial: false,
    path: ['FORWARD', 'U1'],
    after: null,
  });
});

test('a policy that eats a packet is named as one', () => {
  expect(forward('-A FORWARD -p udp -j ACCEPT', {}, { policy: 'DROP' })).toMatchObject({
    verdict: 'drop',
    rule: { chain: 'FORWARD', text: '-P FORWARD DROP', policy: true, packets: 2 },
    path: ['FORWARD'],
  });
});

test.for([
  ['accept ends the chain', '-A FORWARD -j ACCEPT\n-A FORWARD -j DROP', 'accept'],
  ['a jump comes back', ':U1\n-A FORWARD -j U1\n-A U1 -j RETURN\n-A FORWARD -j DROP', 'drop | -A FORWARD -j DROP'],
  ['a goto does not', ':U1\n-A FORWARD -g U1\n-A U1 -p udp -j DROP\n-A FORWARD -j DROP', 'accept'],
  [
    'a goto returns to where its chain was called',
    ':U1\n:U2\n-A FORWARD -j U1\n-A U1 -g U2\n-A U1 -j ACCEPT\n-A U2 -j RETURN\n-A FORWARD -j DROP',
    'drop | -A FORWARD -j DROP',
  ],
  ['return in a base chain is the policy', '-A FORWARD -j RETURN\n-A FORWARD -j DROP', 'accept'],
  [
    'marks are kept',
    '-A FORWARD -j MARK --set-xmark 0x5/0xffffffff\n-A FORWARD -m mark --mark 0x4/0x6 -j DROP',
    'drop | -A FORWARD -m mark --mark 0x4/0x6 -j DROP',
  ],
  [
    'a part of a mark that is known decides',
    '-A FORWARD -j CONNMARK --restore-mark\n-A FORWARD -j MARK --set-xmark 0x1/0x1\n-A FORWARD -m mark --mark 0x1/0x1 -j DROP',
    'drop | -A FORWARD -m mark --mark 0x1/0x1 -j DROP',
  ],
  [
    'a part by chance is a partial drop',
    '-A FORWARD -m statistic --mode random --probability 0.2 -j DROP',
    'drop | partial | -A FORWARD -m statistic --mode random --probability 0.2 -j DROP',
  ],
  [
    'what a limit lets through is not dropped',
    '-A FORWARD -m limit --limit 5/sec -j ACCEPT\n-A FORWARD -j DROP',
    'drop | partial | -A FORWARD -j DROP',
  ],
  [
    'a limit that decides nothing is nothing',
    '-A FORWARD -m limit --limit 5/sec -j LOG\n-A FORWARD -j DROP',
    'drop | -A FORWARD -j DROP',
  ],
  [
    'a set that may drop',
    '-A FORWARD -m set --match-set bad src -j DROP',
    'unknown | -A FORWARD -m set --match-set bad src -j DROP | may: -A FORWARD -m set --match-set bad src -j DROP',
  ],
  [
    'a set that may save',
    '-A FORWARD -m set --match-set good src -j ACCEPT\n-A FORWARD -j DROP',
    'unknown | -A FORWARD -m set --match-set good src -j ACCEPT | may: -A FORWARD -j DROP',
  ],
  [
    'a set that changes nothing',
    '-A FORWARD -m set --match-set bad src -j DROP\n-A FORWARD -j REJECT',
    'reject | -A FORWARD -j REJECT',
  ],
  ['a set beside what is not so', '-A FORWARD -p udp -m set --match-set bad src -j DROP', 'accept'],
  [
    'a set that only returns',
    ':U1\n-A FORWARD -j U1\n-A U1 -m set --match-set x src -j RETURN\n-A FORWARD -m statistic --mode random --probability 0.5 -j DROP',
    'drop | partial | -A FORWARD -m statistic --mode random --probability 0.5 -j DROP',
  ],
  [
    'a set that marks, and the mark decides',
    '-A FORWARD -m set --match-set x src -j MARK --set-xmark 0x1/0x1\n-A FORWARD -m mark --mark 0x1/0x1 -j DROP',
    'unknown | -A FORWARD -m mark --mark 0x1/0x1 -j DROP | may: -A FORWARD -m mark --mark 0x1/0x1 -j DROP',
  ],
  [
    'a target that cannot be judged',
    '-A FORWARD -j NFQUEUE --queue-num 1',
    'unknown | -A FORWARD -j NFQUEUE --queue-num 1 | may: -A FORWARD -j NFQUEUE --queue-num 1',
  ],
])('%s', ([, lines, expected]) => {
  expect(brief(forward(lines ?? ''))).toBe(expected);
});

test('an accept of one system does not save from the others; the chain that comes first by priority is named', () => {
  const legacy = filter('-A FORWARD -j ACCEPT');
  const nft = filter('-A FORWARD -p tcp -j DROP', { system: 'iptables-nft' });
  const mangle = filter('-A FORWARD -j DROP', { table: 'mangle', system: 'iptables-nft' });
  expect(brief(createWalk([...legacy, ...nft])('forward', packet))).toBe('drop | -A FORWARD -p tcp -j DROP');
  expect(createWalk([...legacy, ...nft, ...mangle])('forward', packet).rule).toMatchObject({ table: 'mangle' });
});

test('what one hook marks, the next one sees', () => {
  const text = `*mangle
:PREROUTING ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A PREROUTING -p tcp -j MARK --set-xmark 0x10/0x10
-A FORWARD -m mark --mark 0x10/0x10 -j DROP
COMMIT
`;
  const walk = createWalk(parseIptablesSave(text, 'legacy').tables);
  const { after } = walk('prerouting', packet);
  expect(brief(walk('forward', packet, after ?? undefined))).toBe('drop | -A FORWARD -m mark --mark 0x10/0x10 -j DROP');
  expect(brief(walk('forward', packet))).toBe('accept');
});

test('before connection tracking every packet is invalid, and one that is not tracked stays so', () => {
  const text = (rule: string): string =>
    `*raw\n:PREROUTING ACCEPT [0:0]\n${rule}\nCOMMIT\n*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP\nCOMMIT\n`;
  const walk = (rule: string) => createWalk(parseIptablesSave(text(rule), 'legacy').tables);
  expect(brief(walk('-A PREROUTING -m conntrack --ctstate INVALID -j DROP')('prerouting', packet))).toBe(
    'drop | -A PREROUTING -m conntrack --ctstate INVALID -j DROP',
  );
  const untracked = walk('-A PREROUTING -j CT --notrack');
  expect(brief(untracked('forward', packet, untracked('prerouting', packet).after ?? undefined))).toBe(
    'drop | -A FORWARD -m conntrack --ctstate UNTRACKED -j DROP',
  );
});

test('what address translation wrote cannot be told afterwards', () => {
  const text =
    '*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.0.1.1/32 -j DNAT --to-destination 10.0.2.2\nCOMMIT\n*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -d 10.0.2.2/32 -j DROP\nCOMMIT\n';
  const walk = createWalk(parseIptablesSave(text, 'legacy').tables);
  const { after } = walk('prerouting', packet);
  expect(walk('forward', packet, after ?? undefined).verdict).toBe('unknown');
  // established connections do not go through nat chains
  expect(walk('prerouting', { ...packet, state: 'established' }).after).toMatchObject({ destinationTranslated: false });
});

test('what the caller does not know stays unknown', () => {
  const { dnat: _dnat, ...vague } = packet;
  const walk = createWalk(filter('-A FORWARD -m conntrack --ctstate DNAT -j DROP\n-A FORWARD -m length --length 100 -j DROP'));
  expect(brief(walk('forward', vague))).toBe(
    'unknown | -A FORWARD -m conntrack --ctstate DNAT -j DROP | may: -A FORWARD -m conntrack --ctstate DNAT -j DROP',
  );
  expect(brief(walk('forward', { ...packet, size: 99 }))).toBe('accept');
});

test('a long chain is searched by destination, in the order of its rules', () => {
  const others = Array.from({ length: 60 }, (_, index) => `-A FORWARD -d 10.0.2.${index}/32 -j DROP`);
  const walk = createWalk(
    filter(
      [
        ...others.slice(0, 30),
        '-A FORWARD -p tcp -m tcp --dport 22 -j ACCEPT',
        '-A FORWARD -d 10.0.1.1/32 -j REJECT',
        ...others.slice(30),
        '-A FORWARD -j DROP',
      ].join('\n'),
    ),
  );
  expect([
    brief(walk('forward', packet)),
    brief(walk('forward', { ...packet, dport: 22 })),
    brief(walk('forward', { ...packet, dst: '10.0.2.59' })),
    brief(walk('forward', { ...packet, dst: '10.0.3.1' })),
  ]).toEqual([
    'reject | -A FORWARD -d 10.0.1.1/32 -j REJECT',
    'accept',
    'drop | -A FORWARD -d 10.0.2.59/32 -j DROP',
    'drop | -A FORWARD -j DROP',
  ]);
});

test('chains that call each other are refused', () => {
  expect(() => forward(':U1\n:U2\n-A FORWARD -j U1\n-A U1 -j U2\n-A U2 -j U1\n-A U2 -j DROP')).toThrow('chains call each other');
});

/** A table with one base chain and one rule, as `nft -j` prints them. */
function nftTable(family: string, chain: object, expr: readonly object[], table: object = {}) {
  return parseNft(
    JSON.stringify({
      nftables: [
        { table: { family, name: 't', handle: 1, ...table } },
        { chain: { family, table: 't', name: 'c', handle: 1, type: 'filter', prio: 0, policy: 'accept', ...chain } },
        { rule: { family, table: 't', chain: 'c', handle: 2, expr } },
      ],
    }),
  );
}

const drop = [{ drop: null }];

test('tables of other families see no IPv4 packet at the hooks of IP', () => {
  const walkIn = (family: string, hook: string) => createWalk(nftTable(family, { hook }, drop));
  expect(walkIn('ip6', 'forward')('forward', packet).verdict).toBe('accept');
  expect(walkIn('arp', 'input')('input', packet).verdict).toBe('accept');
  expect(walkIn('inet', 'forward')('forward', packet).verdict).toBe('drop');
  expect(walkIn('ip6', 'forward')('forward', { ...packet, src: 'fd00::1', dst: 'fd00::2' }).verdict).toBe('drop');
  expect(walkIn('bridge', 'forward')('forward', packet).verdict).toBe('accept');
  expect(walkIn('bridge', 'forward')('bridge-forward', packet).verdict).toBe('drop');
});

test('a chain of a device sees the packets of that device only', () => {
  const on = (dev: object) => createWalk(nftTable('netdev', { hook: 'ingress', ...dev }, drop))('ingress', packet).verdict;
  expect([on({ dev: 'eth0' }), on({ dev: ['eth1', 'eth0'] }), on({ dev: 'eth1' }), on({})]).toEqual([
    'drop',
    'drop',
    'accept',
    'unknown',
  ]);
});

test('a table of which it is not known whether it is dormant may eat, and its accepts decide nothing', () => {
  const walk = createWalk(nftTable('ip', { hook: 'forward' }, drop, { flags: 'Lester Gooch #5' }));
  expect(brief(walk('forward', packet))).toBe('unknown | policy accept | may: drop');
  const accepting = createWalk(
    nftTable('ip', { hook: 'forward' }, [{ mangle: { key: { meta: { key: 'mark' } }, value: 1 } }], { flags: 'x' }),
  );
  expect(accepting('forward', packet)).toMatchObject({ verdict: 'accept', after: { mark: { value: 0, known: 0xfffffffe } } });
});

test('a verdict map by chance goes every way, one with an unknown key may', () => {
  const set = (entries: readonly (readonly [number, object])[]) => ({ set: entries });
  const chance = (data: object) =>
    createWalk(nftTable('ip', { hook: 'forward' }, [{ vmap: { key: { numgen: { mode: 'random', mod: 2 } }, data } }]))(
      'forward',
      packet,
    );
  expect(
    brief(
      chance(
        set([
          [0, { drop: null }],
          [1, { accept: null }],
        ]),
      ),
    ),
  ).toBe('drop | partial | numgen random mod 2 offset undefined vmap { 0 : drop, 1 : accept }');
  expect(chance(set([[0, { drop: null }]])).partial).toBe(false);
  const byLength = createWalk(
    nftTable('ip', { hook: 'forward' }, [{ vmap: { key: { meta: { key: 'length' } }, data: set([[100, { drop: null }]]) } }]),
  );
  expect([
    byLength('forward', packet).verdict,
    byLength('forward', { ...packet, size: 100 }).verdict,
    byLength('forward', { ...packet, size: 99 }).verdict,
  ]).toEqual(['unknown', 'drop', 'accept']);
});
