import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Step } from './ast.ts';
import { parseIptablesSave } from './iptables-save.ts';

const language = readFileSync(new URL('./fixtures/iptables-language.txt', import.meta.url), 'utf8');

/** The steps of one rule of a chain FORWARD. */
function stepsOf(rule: string): readonly Step[] {
  const text = `*filter\n:FORWARD ACCEPT [0:0]\n:U1 - [0:0]\n-A FORWARD ${rule}\nCOMMIT\n`;
  return parseIptablesSave(text, 'legacy').tables[0]?.chains[0]?.rules[0]?.steps ?? [];
}

const ALL = 0xffffffff;
const accept: Step = { do: 'verdict', verdict: { kind: 'accept' } };
const drop: Step = { do: 'verdict', verdict: { kind: 'drop' } };
const matches = (field: string, rows: readonly unknown[], negated = false, mask?: number) => ({
  do: 'match',
  test: { fields: [mask === undefined ? { field } : { field, mask }], rows, negated },
});
const unknown = (why: string) => ({ do: 'unknown', why });

test('every rule that iptables-nft-save printed is kept word for word, with its number and counter', () => {
  const lines = language.split('\n').filter((line) => line.includes(' -A '));
  const rules = parseIptablesSave(language, 'iptables-nft').tables.flatMap(({ chains }) =>
    chains.flatMap((chain) => chain.rules),
  );
  expect(rules.map((rule) => `[${rule.packets}:0] ${rule.text}`)).toEqual(lines);
});

test('tables, base chains and policies', () => {
  const text =
    '*mangle\n:FORWARD DROP [5:300]\n:U1 - [0:0]\n[3:180] -A FORWARD -g U1\nCOMMIT\n*nat\n:INPUT ACCEPT [0:0]\nCOMMIT\n';
  expect(parseIptablesSave(text, 'legacy')).toEqual({
    incompatible: [],
    tables: [
      {
        system: 'legacy',
        family: 'ip',
        name: 'mangle',
        active: true,
        chains: [
          {
            name: 'FORWARD',
            base: { hook: 'forward', type: 'filter', priority: -150, policy: 'drop', policyPackets: 5, devices: null },
            rules: [
              {
                text: '-A FORWARD -g U1',
                number: 1,
                packets: 3,
                steps: [{ do: 'verdict', verdict: { kind: 'goto', chain: 'U1' } }],
              },
            ],
          },
          { name: 'U1', base: null, rules: [] },
        ],
      },
      {
        system: 'legacy',
        family: 'ip',
        name: 'nat',
        active: true,
        chains: [
          {
            name: 'INPUT',
            base: { hook: 'input', type: 'nat', priority: 100, policy: 'accept', policyPackets: 0, devices: null },
            rules: [],
          },
        ],
      },
    ],
  });
});

test('a table that only nft can print is named', () => {
  expect(parseIptablesSave("# Table `filter' is incompatible, use 'nft' tool.\n", 'iptables-nft')).toEqual({
    tables: [],
    incompatible: ['filter'],
  });
});

test.for([
  [
    '-s 10.0.0.0/8 ! -i eth+ -j ACCEPT',
    [matches('src', [[['0a000000', '0affffff']]]), matches('iif', [[['eth', 'eth\uffff']]], true), accept],
  ],
  ['-s 10.0.1.0/255.0.255.0 -j ACCEPT', [unknown('src 10.0.1.0/255.0.255.0'), accept]],
  ['-p tcp -m tcp ! --dport 1:5 -j ACCEPT', [matches('proto', [[[6, 6]]]), matches('dport', [[[1, 5]]], true), accept]],
  [
    '-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT',
    [matches('proto', [[[6, 6]]]), matches('tcp-flags', [[[2, 2]]], false, 23), accept],
  ],
  [
    '-p udp -m multiport --dports 1,2:5 -j ACCEPT',
    [matches('proto', [[[17, 17]]]), matches('dport', [[[1, 1]], [[2, 5]]]), accept],
  ],
  ['-p icmp -m icmp --icmp-type any -j ACCEPT', [matches('proto', [[[1, 1]]]), accept]],
  [
    '-p icmp -m icmp ! --icmp-type any -j ACCEPT',
    [matches('proto', [[[1, 1]]]), { do: 'any', tests: [], negated: false }, accept],
  ],
  ['-p 200 ! -f -j ACCEPT', [matches('proto', [[[200, 200]]]), matches('fragment', [[[1, 0x1fff]]], true, 0x1fff), accept]],
  ['-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT', [matches('ct-state', [[[1, ALL]]], true, 2 | 4 | 512), accept]],
  [
    '-m conntrack --ctorigdst 1.1.1.1 --ctdir REPLY -j ACCEPT',
    [unknown('-m conntrack --ctorigdst 1.1.1.1'), matches('ct-direction', [[['reply', 'reply']]]), accept],
  ],
  [
    '-m mark ! --mark 0x4000/0x4000 -j RETURN',
    [matches('mark', [[[0x4000, 0x4000]]], true, 0x4000), { do: 'verdict', verdict: { kind: 'return' } }],
  ],
  ['-m iprange --src-range 1.1.1.1-1.1.1.9 -j ACCEPT', [matches('src', [[['01010101', '01010109']]]), accept]],
  ['-m addrtype ! --dst-type LOCAL -j ACCEPT', [matches('dst-type', [[['local', 'local']]], true), accept]],
  [
    '-m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT',
    [matches('dst-type', [[['local', 'local']]]), unknown('-m addrtype --limit-iface'), accept],
  ],
  ['-m addrtype ! --dst-type LOCAL --limit-iface-in -j ACCEPT', [unknown('-m addrtype --limit-iface'), accept]],
  [
    '-m physdev --physdev-in ve+ --physdev-is-bridged -j ACCEPT',
    [matches('bridge-port-in', [[['ve', 've\uffff']]]), matches('bridged', [[[1, 1]]]), accept],
  ],
  [
    '-m limit --limit 5/sec -m hashlimit --hashlimit-name x -j ACCEPT',
    [{ do: 'some', why: '-m limit' }, { do: 'some', why: '-m hashlimit' }, accept],
  ],
  [
    '-m hashlimit --hashlimit-above 5/sec --hashlimit-mode srcip --hashlimit-name x -j DROP',
    [unknown('-m hashlimit --hashlimit-above'), drop],
  ],
  [
    '-m set ! --match-set friends src,dst -m comment --comment "by ipset" -j DROP',
    [unknown('-m set ! --match-set friends src,dst'), drop],
  ],
  ['-m set ! --match-set x src -j ACCEPT', [unknown('-m set ! --match-set x src'), accept]],
  ['-m string --string "a \\"b -j DROP" --algo bm -j ACCEPT', [unknown('-m string --string a "b -j DROP --algo bm'), accept]],
  ['-m comment --comment -j -j LOG --log-prefix -x', []],
  ['-j U1', [{ do: 'verdict', verdict: { kind: 'jump', chain: 'U1' } }]],
  ['-j REJECT --reject-with tcp-reset', [{ do: 'verdict', verdict: { kind: 'reject', with: 'tcp-reset' } }]],
  ['-j NFQUEUE --queue-num 3 --queue-bypass', [{ do: 'verdict', verdict: { kind: 'unknown', why: '-j NFQUEUE' } }]],
  ['-j MARK --set-xmark 0x4/0xf', [{ do: 'set-mark', field: 'mark', from: 'mark', and: 0xfffffff0, xor: 4 }]],
  [
    '-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff',
    [{ do: 'set-mark', field: 'ct-mark', from: 'mark', and: ALL, xor: 0 }],
  ],
  ['-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff', [{ do: 'set-mark', field: 'mark', from: null, and: ALL, xor: 0 }]],
  ['-j CT --notrack', [{ do: 'notrack' }]],
  ['-j MASQUERADE --random-fully', [{ do: 'translate', what: 'source' }]],
  ['-j TCPMSS --clamp-mss-to-pmtu', []],
] as const)('%s', ([rule, steps]) => {
  expect(stepsOf(rule)).toEqual(steps);
});

test.for([
  ['*filter\n:INPUT ACCEPT [0:0]\n', 'table filter has no COMMIT'],
  ['*filter\n*nat\n', 'table filter has no COMMIT'],
  ['iptables: garbage\n', 'line 1 is outside every table'],
  ['*filter\n-A INPUT -j DROP\nCOMMIT\n', 'line 2 is a rule of a chain that does not exist'],
  ['*filter\n:INPUT ACCEPT [0:0]\nrubbish\nCOMMIT\n', 'line 3 is no rule: rubbish'],
])('refuses %j', ([text, message]) => {
  expect(() => parseIptablesSave(text ?? '', 'legacy')).toThrow(message ?? '');
});
