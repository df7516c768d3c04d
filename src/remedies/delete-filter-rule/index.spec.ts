import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openStage, type Stage } from '../../../test/netns/stage.ts';
import { fakeHost, stageHost } from '../../../test/remedy-host.ts';
import { parseNft } from '../../checks/kit/netfilter/nft.ts';
import type { Host } from '../remedy.ts';
import { deleteFilterRule } from './index.ts';

const RULE = '-A FORWARD -m comment --comment "default deny" -j REJECT --reject-with icmp-host-prohibited';
const inLegacy = { system: 'legacy', table: 'filter', chain: 'FORWARD', rule: RULE, number: '1' } as const;
const inNft = {
  system: 'nft',
  table: 'inet hardening',
  chain: 'forward',
  rule: 'counter drop comment "no routing on this host"',
  handle: '3',
} as const;

test('exactly the one rule is deleted: of iptables by its own words, of nft by its handle', () => {
  const words = ['-m', 'comment', '--comment', 'default deny', '-j', 'REJECT', '--reject-with', 'icmp-host-prohibited'];
  expect([
    deleteFilterRule.commands(inLegacy),
    deleteFilterRule.commands({ ...inLegacy, system: 'iptables-nft', table: 'mangle' }),
    deleteFilterRule.commands(inNft),
  ]).toEqual([
    [['iptables-legacy', '-w', '5', '-t', 'filter', '-D', 'FORWARD', ...words]],
    [['iptables-nft', '-w', '5', '-t', 'mangle', '-D', 'FORWARD', ...words]],
    [['nft', 'delete', 'rule', 'inet', 'hardening', 'forward', 'handle', '3']],
  ]);
});

test.each([
  '-A FORWARD -m comment --comment -j -j DROP',
  '-A FORWARD -m comment --comment "a \\"b\\" $(id) \\\'c\\\\d ; `reboot`" -j DROP',
  '-A FORWARD ! -s 10.0.0.0/8 -p tcp -m tcp ! --dport 1:1024 -m conntrack --ctstate NEW -j DROP',
  '-A FORWARD -m recent --set --name x --mask 255.255.255.255 --rsource -j DROP',
  '-A FORWARD -m limit --limit 3/min -j LOG --log-prefix "--table nat "',
])('a rule as iptables-save writes it is taken: %s', (rule) => {
  expect(deleteFilterRule.params.safeParse({ ...inLegacy, rule })).toMatchObject({ success: true });
});

test.each([
  { ...inLegacy, rule: '-A INPUT -j DROP' },
  { ...inLegacy, rule: '-A FORWARD -j DROP -t nat' },
  { ...inLegacy, rule: '-A FORWARD -tnat -j DROP' },
  { ...inLegacy, rule: '-A FORWARD --tab nat -j DROP' },
  { ...inLegacy, rule: '-A FORWARD --modprobe=/tmp/x -j DROP' },
  { ...inLegacy, rule: '-A FORWARD --modp /tmp/x -j DROP' },
  { ...inLegacy, rule: '-A FORWARD -M /tmp/x -j DROP' },
  { ...inLegacy, rule: '-A FORWARD "-M" /tmp/x -j DROP' },
  { ...inLegacy, rule: '-A FORWARD -j DROP\n-F' },
  { ...inLegacy, rule: '-A FORWARD -m comment --comment "a\nb" -j DROP' },
  { ...inLegacy, rule: '-A FORWARD -m comment --comment "a' },
  { ...inLegacy, rule: '-A FORWARD -m comment --comment a"b"c -j DROP' },
  { ...inLegacy, rule: '-P FORWARD DROP' },
  { ...inLegacy, rule: '-D FORWARD -j DROP' },
  { ...inLegacy, rule: '' },
  { ...inLegacy, chain: '-F', rule: '-A -F -j DROP' },
  { ...inLegacy, chain: 'FORWARD x' },
  { ...inLegacy, table: 'broute' },
  { ...inLegacy, table: 'filter -F' },
  { ...inLegacy, number: '0' },
  { ...inLegacy, number: '1 x' },
  { ...inLegacy, system: 'ipset' },
  { ...inLegacy, handle: '3' },
  { system: 'legacy', table: 'filter', chain: 'FORWARD', rule: RULE },
  { ...inNft, table: 'hardening' },
  { ...inNft, table: 'inet hardening; flush ruleset' },
  { ...inNft, table: 'inet -f' },
  { ...inNft, chain: 'forward handle 1' },
  { ...inNft, chain: '-f' },
  { ...inNft, handle: '3; flush ruleset' },
  { ...inNft, handle: '' },
  { ...inNft, number: '1' },
])('refused: %j', (params) => {
  expect(deleteFilterRule.params.safeParse(params).success).toBe(false);
});

test('a rule that is gone, or has another place, is left alone', () => {
  expect([
    deleteFilterRule.obsolete(inLegacy, { rules: [RULE], at: 1 }),
    deleteFilterRule.obsolete(inLegacy, { rules: [], at: null }),
    deleteFilterRule.obsolete(inLegacy, { rules: ['-A FORWARD -j ACCEPT', RULE], at: 2 }),
    deleteFilterRule.obsolete(inNft, { rules: ['drop'], at: null }),
  ]).toEqual([
    null,
    `FORWARD of table filter has no such rule any more: ${RULE}`,
    'it is rule 2 of FORWARD of table filter by now, not rule 1',
    'forward of table inet hardening has no such rule any more: counter drop comment "no routing on this host"',
  ]);
});

test('the state is told with the command that shows it', () => {
  const source = 'iptables-legacy -w 5 -t filter -S FORWARD';
  expect([
    deleteFilterRule.describe(inLegacy, { rules: [RULE, '-A FORWARD -j ACCEPT'], at: 1 }),
    deleteFilterRule.describe(inLegacy, { rules: ['-A FORWARD -j ACCEPT'], at: null }),
  ]).toEqual([[{ source, text: `rule 1 of 2 is ${RULE}` }], [{ source, text: `none of the 1 rules is ${RULE}` }]]);
});

test('nothing is put back where something else was changed, or nothing was deleted', () => {
  const prior = { rules: [RULE, '-A FORWARD -j ACCEPT'], at: 1 };
  expect([
    deleteFilterRule.undoCommands(inLegacy, prior, prior),
    deleteFilterRule.undoCommands(inLegacy, prior, { rules: [], at: null }),
    deleteFilterRule.undoCommands(inLegacy, { rules: [], at: null }, { rules: [], at: null }),
  ]).toEqual([[], [], []]);
});

test('a rule that is not one line is an error, not another rule', async () => {
  const { host } = fakeHost({ 'iptables-legacy -w 5 -t filter -S FORWARD': '-P FORWARD DROP\n-A FORWARD x "a\nb"\n' });
  await expect(deleteFilterRule.read(inLegacy, host)).rejects.toThrow('a rule of the chain is not one line');
});

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('in a network namespace', () => {
  let stage: Stage;
  let count = 0;

  beforeAll(async () => {
    stage = await openStage();
  });
  afterAll(() => stage.close());

  async function fresh(): Promise<{ readonly host: Host; readonly ruleset: () => Promise<readonly string[]> }> {
    count += 1;
    const name = `ns${count}`;
    await stage.run(null, ['ip', 'netns', 'add', name]);
    const host = stageHost(stage, name);
    const shown = [['iptables-legacy-save'], ['iptables-nft-save'], ['nft', '-s', 'list', 'ruleset']];
    const ruleset = async () => {
      const texts = await Promise.all(shown.map((argv) => host.run(argv)));
      return texts.map((text) => text.replaceAll(/^#.*\n/gm, '').replaceAll(/\[\d+:\d+\]/g, ''));
    };
    return { host, ruleset };
  }

  /** Deletes the rule and puts it back, as the engine does; returns what is read in between. */
  async function thereAndBack(params: Parameters<typeof deleteFilterRule.commands>[0], host: Host): Promise<readonly unknown[]> {
    expect(deleteFilterRule.params.safeParse(params)).toMatchObject({ success: true });
    const prior = await deleteFilterRule.read(params, host);
    expect(deleteFilterRule.obsolete(params, prior)).toBe(null);
    for (const argv of deleteFilterRule.commands(params)) await host.run(argv);
    const after = await deleteFilterRule.read(params, host);
    expect(after).toEqual({ rules: prior.rules.toSpliced((prior.at ?? 0) - 1, 1), at: null });
    for (const argv of deleteFilterRule.undoCommands(params, prior, after)) await host.run(argv);
    expect(await deleteFilterRule.read(params, host)).toEqual(prior);
    return after.rules;
  }

  const HOSTILE = `a "b" $(touch /run/hacked) 'c\\d ; \`reboot\` -t nat`;
  const CHAINS = [
    ['-P', 'FORWARD', 'DROP'],
    ['-A', 'FORWARD', '-s', '10.1.0.0/16', '-j', 'ACCEPT'],
    ['-A', 'FORWARD', '-m', 'comment', '--comment', HOSTILE, '-j', 'REJECT', '--reject-with', 'icmp-host-prohibited'],
    ['-A', 'FORWARD', '!', '-i', 'eth0', '-p', 'tcp', '-m', 'multiport', '--dports', '22,80:90', '-j', 'DROP'],
    ['-A', 'FORWARD', '-m', 'comment', '--comment', '-j', '-m', 'limit', '--limit', '3/min', '-j', 'DROP'],
    ['-A', 'FORWARD', '-m', 'statistic', '--mode', 'random', '--probability', '0.33333333349', '-j', 'DROP'],
    ['-A', 'FORWARD', '-m', 'conntrack', '--ctstate', 'INVALID', '-j', 'LOG', '--log-prefix', '--table nat '],
  ];

  test.each([
    ['legacy', 'iptables-legacy'],
    ['iptables-nft', 'iptables-nft'],
  ] as const)('%s: every rule of a chain comes back to its place, byte for byte', async (system, tool) => {
    const { host, ruleset } = await fresh();
    for (const argv of CHAINS) await host.run([tool, ...argv]);
    const before = await ruleset();
    const listed = (await host.run([tool, '-S', 'FORWARD'])).split('\n').filter((line) => line.startsWith('-A'));
    expect(listed).toHaveLength(6);
    for (const [index, rule] of listed.entries()) {
      const params = { system, table: 'filter', chain: 'FORWARD', rule, number: String(index + 1) } as const;
      expect(await thereAndBack(params, host)).toEqual(listed.toSpliced(index, 1));
      expect(await ruleset()).toEqual(before);
    }
    expect((await stage.run(null, ['ls', '/run/hacked'])).exitCode).not.toBe(0);
  });

  test.each(['legacy', 'iptables-nft'] as const)('%s: of equal rules only the first is the one', async (system) => {
    const { host } = await fresh();
    const tool = system === 'legacy' ? 'iptables-legacy' : system;
    for (const port of ['1', '2', '1']) await host.run([tool, '-A', 'INPUT', '-p', 'udp', '--dport', port, '-j', 'DROP']);
    const rule = '-A INPUT -p udp -m udp --dport 1 -j DROP';
    const params = { system, table: 'filter', chain: 'INPUT', rule, number: '3' } as const;
    expect(deleteFilterRule.obsolete(params, await deleteFilterRule.read(params, host))).toBe(
      'it is rule 1 of INPUT of table filter by now, not rule 3',
    );
  });

  const NATIVE = `table inet hardening {
  set ports { type inet_service; elements = { 22, 8472 } }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    counter drop comment "no routing # handle 9"
    ip saddr { 10.0.0.1, 10.0.0.2, 10.0.1.0/24 } tcp dport { 22, 80-90 } limit rate 3/minute burst 9 packets log prefix "x; flush ruleset" reject with icmpx admin-prohibited
    iifname { "eth0", "cni*" } udp dport @ports meta mark set 0x10 ct mark & 0xff == 0x1 drop
    tcp flags & (syn | ack) == syn ct state vmap { invalid : drop, new : jump own }
    ip daddr 10.0.0.0/8 fib daddr type local meta l4proto { icmp, ipv6-icmp } counter packets 7 bytes 900 drop
  }
  chain own { }
}
`;

  test('nft: every rule of a chain comes back to its place, byte for byte', async () => {
    const { host, ruleset } = await fresh();
    await load(host, NATIVE);
    const before = await ruleset();
    // Each gets another handle when it comes back.
    for (let index = 0; index < 6; index += 1) {
      const { handle, rule } = await ruleOf(host, index);
      await thereAndBack({ system: 'nft', table: 'inet hardening', chain: 'forward', rule, handle }, host);
      expect(await ruleset()).toEqual(before);
    }
  });

  test('nft: another rule under the handle is left alone', async () => {
    const { host } = await fresh();
    await load(host, NATIVE);
    const { handle } = await ruleOf(host, 0);
    const params = { ...inNft, handle };
    expect(deleteFilterRule.obsolete(params, await deleteFilterRule.read(params, host))).toBe(
      'forward of table inet hardening has no such rule any more: counter drop comment "no routing on this host"',
    );
  });

  test('nft: a rule that its own text would not bring back is refused', async () => {
    const { host } = await fresh();
    await load(host, NATIVE);
    const comment = 'x" accept comment "y';
    const where = { family: 'inet', table: 'hardening', chain: 'forward' };
    const json = JSON.stringify({ nftables: [{ insert: { rule: { ...where, comment, expr: [{ drop: null }] } } }] });
    await host.run(['sh', '-ec', 'printf %s "$1" >/run/rule; nft -j -f /run/rule', 'sh', json]);
    const { handle, rule } = await ruleOf(host, 0);
    await expect(deleteFilterRule.read({ ...inNft, rule, handle }, host)).rejects.toThrow('nft could not write it back as it is');
  });

  /** Rules of the chain FORWARD by their source address, as each of the three says, tells and changes them. */
  const TOOLS = [
    ...(['legacy', 'iptables-nft'] as const).map((system) => {
      const tool = system === 'legacy' ? 'iptables-legacy' : system;
      const rule = (net: number) => `-s 10.${net}.0.0/16 -j DROP`;
      return {
        system,
        setUp: [[tool, '-F', 'FORWARD'], ...[1, 2, 3].map((net) => [tool, '-A', 'FORWARD', ...rule(net).split(' ')])],
        remove: (net: number) => [tool, '-D', 'FORWARD', ...rule(net).split(' ')],
        insert: (net: number) => [tool, '-I', 'FORWARD', '1', ...rule(net).split(' ')],
        list: [tool, '-S', 'FORWARD'],
        target: async () => ({ system, table: 'filter', chain: 'FORWARD', rule: `-A FORWARD ${rule(2)}`, number: '2' }) as const,
      };
    }),
    {
      system: 'nft',
      setUp: [
        [
          'nft',
          'add table inet t; add chain inet t forward { type filter hook forward priority 0; }; flush chain inet t forward',
        ],
        ...[1, 2, 3].map((net) => ['nft', `add rule inet t forward ip saddr 10.${net}.0.0/16 drop`]),
      ],
      remove: (net: number) => [
        'sh',
        '-c',
        `nft delete rule inet t forward handle $(nft -a list chain inet t forward | sed -n 's,.*10.${net}.0.0/16.*handle ,,p')`,
      ],
      insert: (net: number) => ['nft', `insert rule inet t forward ip saddr 10.${net}.0.0/16 drop`],
      list: ['nft', 'list', 'chain', 'inet', 't', 'forward'],
      target: async (host: Host) => ({ system: 'nft', table: 'inet t', chain: 'forward', ...(await ruleOf(host, 1)) }) as const,
    },
  ];
  const RACES = Number(process.env['NETCHECK_RACES'] ?? 10);

  test.each(TOOLS)('$system: whatever else changes the chain at the same moment, no other rule is deleted', async (tool) => {
    const { host } = await fresh();
    const nets = async () => [...(await host.run(tool.list)).matchAll(/ 10\.(\d+)\.0\.0\/16/g)].map(([, net]) => Number(net));
    // What happens meanwhile, and which rules are left then besides the one that is meant.
    const changes = [
      { commands: [tool.insert(4)], others: [4, 1, 3] },
      { commands: [tool.remove(1)], others: [3] },
      { commands: [tool.remove(2), tool.insert(5)], others: [5, 1, 3] },
      { commands: [tool.remove(3), tool.insert(6), tool.insert(7)], others: [7, 6, 1] },
    ];
    for (let race = 0; race < RACES; race += 1) {
      for (const argv of tool.setUp) await host.run(argv);
      const params = await tool.target(host);
      const change = changes[race % changes.length];
      const act = async (): Promise<void> => {
        // A chain that is changed while it is read cannot be read: then nothing is done.
        const state = await deleteFilterRule.read(params, host).catch(() => ({ rules: [], at: null }));
        if (deleteFilterRule.obsolete(params, state) !== null) return;
        // Somebody else may have been faster: then it fails.
        for (const argv of deleteFilterRule.commands(params)) await host.run(argv).catch(() => '');
      };
      const meanwhile = async (): Promise<void> => {
        for (const argv of change?.commands ?? []) await host.run(argv).catch(() => '');
      };
      await Promise.all([act(), meanwhile()]);
      expect((await nets()).filter((net) => net !== 2)).toEqual(change?.others);
    }
  });

  async function load(host: Host, text: string): Promise<void> {
    await host.run(['sh', '-ec', 'printf %s "$1" | nft -f -', 'sh', text]);
  }

  /** A rule of the chain as findings name it. */
  async function ruleOf(host: Host, index: number): Promise<{ readonly handle: string; readonly rule: string }> {
    const json = await host.run(['nft', '-j', 'list', 'ruleset']);
    const rule = parseNft(json).flatMap(({ chains }) => chains.find(({ name }) => name === 'forward')?.rules ?? [])[index];
    return { handle: String(rule?.handle), rule: rule?.text ?? '' };
  }
});
