import { expect, test } from 'vitest';
import type { Evidence } from '../../model/evidence.ts';
import { parsePolicyRules, policyRuleText } from './policy-rules.ts';

function evidence(stdout: string): Evidence {
  return { argv: ['ip'], exitCode: 0, stdout, stderr: '', truncated: false, startedMs: 0, durationMs: 1 };
}

/** As iproute2 6.1 printed it for rules of every kind. */
const PRINTED =
  '[{"priority":0,"src":"all","table":"local"},{"priority":32755,"src":"all","nop":null},{"priority":32756,"src":"all","oif":"eth0","table":"10"},{"priority":32757,"src":"all","tos":"0x10","table":"9"},{"priority":32758,"src":"9.9.9.9","goto":32766},{"priority":32759,"src":"all","uid_start":0,"uid_end":3,"table":"8"},{"priority":32760,"src":"all","dst":"5.5.5.5","action":"unreachable"},{"priority":32761,"src":"all","ipproto":"tcp","dport":80,"table":"8"},{"priority":32762,"not":null,"src":"10.0.0.0","srclen":8,"table":"7"},{"priority":32763,"src":"all","fwmark":"0x1","fwmask":"0x3","iif":"cni0","table":"5","suppress_prefixlen":0},{"priority":32764,"src":"1.2.3.0","srclen":24,"action":"blackhole"},{"priority":32765,"src":"all","dst":"172.27.3.0","dstlen":24,"table":"100"},{"priority":32766,"src":"all","table":"main"},{"priority":32767,"src":"all","table":"default"}]\n';

test('reads rules of every kind, and writes them as ip-rule(8) does', () => {
  const parsed = parsePolicyRules(evidence(PRINTED));
  const rules = parsed.outcome === 'ok' ? parsed.facts : [];
  expect(rules.map((rule) => `${policyRuleText(rule)}${rule.isParticular ? ' *' : ''}`)).toEqual([
    '0: from all lookup local',
    '32755: from all goto',
    '32756: from all lookup 10 *',
    '32757: from all lookup 9 *',
    '32758: from 9.9.9.9/32 goto',
    '32759: from all lookup 8 *',
    '32760: from all to 5.5.5.5/32 unreachable',
    '32761: from all lookup 8 *',
    '32762: not from 10.0.0.0/8 lookup 7',
    '32763: from all fwmark 0x1/0x3 iif cni0 lookup 5',
    '32764: from 1.2.3.0/24 blackhole',
    '32765: from all to 172.27.3.0/24 lookup 100',
    '32766: from all lookup main',
    '32767: from all lookup default',
  ]);
  expect(rules[9]).toEqual({
    priority: 32763,
    isInverted: false,
    from: null,
    to: null,
    iif: 'cni0',
    mark: { value: 1, mask: 3 },
    isParticular: false,
    table: '5',
    goto: null,
    action: null,
    suppressPrefix: 0,
  });
});

test('no rule at all is unreadable: the kernel has three', () => {
  expect(parsePolicyRules(evidence('[]')).outcome).toBe('unknown');
});
