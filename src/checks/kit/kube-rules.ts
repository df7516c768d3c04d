import type { Evidence } from '../../model/evidence.ts';
import { ok, type Parsed, parseComplete } from './check.ts';
import { isAbsent } from './netfilter/rulesets.ts';

/** What kube-proxy wrote for one port of a Service: `ip:port/proto`, and the endpoints (`IP:PORT`) that it leads to. */
export type Portal = { readonly ip: string; readonly key: string; readonly endpoints: readonly string[] };

const PORTAL = /^-A KUBE-SERVICES .*?-d ([\d.]+)\/32 .*?-p (\w+) .*?--dport (\d+) .*?-j (KUBE-SVC-\S+|KUBE-SVL-\S+)$/;
const BRANCH = /^-A (KUBE-(?:SVC|SVL)-\S+) .*-j (KUBE-SEP-\S+)$/;
const TARGET = /^-A (KUBE-SEP-\S+) .*-j DNAT --to-destination (\S+)/;

/** Reads kube-proxy's Services out of one kind of iptables; none where the kernel does not have that kind. Source: proxier.go. */
export function parsePortals(rules: Evidence): Parsed<readonly Portal[]> {
  if (isAbsent(rules)) return ok([]);
  return parseComplete(rules, (stdout) => {
    if (stdout !== '' && !/^(?:# (?:Generated|Warning|Table)|\*)/.test(stdout)) throw new Error('not the rules of iptables');
    // Counters stand before each rule.
    const lines = stdout.split('\n').map((line) => line.replace(/^\[\d+:\d+\] /, ''));
    const targets = new Map(lines.flatMap((line) => pairOf(TARGET.exec(line))));
    const branches = Map.groupBy(
      lines.flatMap((line) => pairOf(BRANCH.exec(line))),
      ([chain]) => chain,
    );
    return lines.flatMap((line) => {
      const [, ip = '', proto = '', port = '', chain = ''] = PORTAL.exec(line) ?? [];
      if (chain === '') return [];
      const endpoints = (branches.get(chain) ?? []).flatMap(([, branch]) => targets.get(branch) ?? []);
      // With session affinity each endpoint is there twice.
      return [{ ip, key: `${ip}:${port}/${proto}`, endpoints: [...new Set(endpoints)] }];
    });
  });
}

function pairOf(match: RegExpExecArray | null): readonly (readonly [string, string])[] {
  return match === null ? [] : [[match[1] ?? '', match[2] ?? '']];
}
