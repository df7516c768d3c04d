import type { Evidence } from '../../model/evidence.ts';
import { ok, type Parsed, parseComplete } from './check.ts';
import { isAbsent } from './netfilter/rulesets.ts';

/** What kube-proxy wrote for one port of a Service: `ip:port/proto`, and the endpoints (`IP:PORT`) that it leads to. */
export type Portal = { readonly ip: string; readonly key: string; readonly endpoints: readonly string[] };

const PORTAL = /^-A KUBE-SERVICES .*?-d ([\d.]+)\/32 .*?-p (\w+) .*?--dport (\d+) .*?-j (KUBE-SVC-\S+|KUBE-SVL-\S+)$/;
const BRANCH = /^-A (KUBE-(?:SVC|SVL)-\S+) .*-j (KUBE-SEP-\S+)$/;
const TARGET = /^-A (KUBE-SEP-\S+) .*-j DNAT --to-destination (\S+)/;

/** A built-in chain's jump to a chain of kube-proxy, not of the kubelet. Source: iptablesJumpChains in proxier.go. */
const JUMP =
  /^-A (?:PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) .*-j KUBE-(?:SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|FORWARD|PROXY-FIREWALL)$/;

const USED = /^nat -A (?:PREROUTING|OUTPUT) .*-j KUBE-SERVICES$/;

/**
 * The ways into kube-proxy's rules in one kind of iptables, each with its table (`nat -A OUTPUT … -j KUBE-SERVICES`); none where
 * the kernel does not have that kind.
 */
export function parseJumps(rules: Evidence): Parsed<readonly string[]> {
  return isAbsent(rules) ? ok([]) : parseComplete(rules, (stdout) => jumpsIn(linesOf(stdout)));
}

function jumpsIn(lines: readonly string[]): readonly string[] {
  let table = '';
  return lines.flatMap((line) => {
    table = /^\*(\S+)/.exec(line)?.[1] ?? table;
    return JUMP.test(line) ? [`${table} ${line}`] : [];
  });
}

/** The lines of iptables-save, without the counters that stand before each rule. */
function linesOf(stdout: string): readonly string[] {
  if (stdout !== '' && !/^(?:# (?:Generated|Warning|Table)|\*)/.test(stdout)) throw new Error('not the rules of iptables');
  return stdout.split('\n').map((line) => line.replace(/^\[\d+:\d+\] /, ''));
}

/**
 * Reads kube-proxy's Services out of one kind of iptables; none where the kernel does not have that kind, or where nothing
 * leads to them. Source: proxier.go.
 */
export function parsePortals(rules: Evidence): Parsed<readonly Portal[]> {
  if (isAbsent(rules)) return ok([]);
  return parseComplete(rules, (stdout) => {
    const lines = linesOf(stdout);
    if (!jumpsIn(lines).some((jump) => USED.test(jump))) return [];
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
