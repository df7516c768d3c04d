/*
 * What a packet filter is made of, the same for iptables-legacy, iptables-nft and native nftables. Plain data: it is
 * what a run keeps of a node's rules.
 *
 * Every value that rules compare is a number or a string that sorts: an address is its bytes in hexadecimal (8 digits
 * for IPv4, 32 for IPv6), so that a prefix, a range and a single address are all one inclusive span.
 */

/** Which of the three rule systems of a Linux node a table belongs to. A packet passes all of them. */
export type System = 'legacy' | 'iptables-nft' | 'nft';

export type Family = 'ip' | 'ip6' | 'inet' | 'arp' | 'bridge' | 'netdev';

export const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting', 'ingress', 'egress'] as const;
export type Hook = (typeof HOOKS)[number];

export type Value = string | number;

/** From and to, both inclusive, both of the same type. */
export type Span = readonly [Value, Value];

/** What a rule can look at. Bit fields (`mark`, `ct-mark`, `ct-state`, `ct-status`, `tcp-flags`, `fragment`) take a mask. */
export type Field =
  | 'iif'
  | 'oif'
  | 'nfproto'
  | 'proto'
  | 'src'
  | 'dst'
  | 'sport'
  | 'dport'
  | 'icmp-type'
  | 'icmp-code'
  | 'tcp-flags'
  | 'size'
  | 'fragment'
  | 'mark'
  | 'ct-mark'
  | 'ct-state'
  | 'ct-status'
  | 'ct-direction'
  | 'src-type'
  | 'dst-type'
  | 'packet-type'
  | 'bridged'
  | 'bridge-port-in'
  | 'bridge-port-out';

export type Selector = { readonly field: Field; readonly mask?: number };

/** Holds when the fields, taken together, are in one of the rows (a row has a span for each field); `negated`: in none. */
export type Test = {
  readonly fields: readonly Selector[];
  readonly rows: readonly (readonly Span[])[];
  readonly negated: boolean;
};

/** The end of a packet's way through a rule. `unknown` is a target whose effect cannot be told. */
export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'continue' }
  | { readonly kind: 'reject'; readonly with: string }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  | { readonly kind: 'unknown'; readonly why: string };

/** The bits of a mark that are set: `(from & and) ^ xor`; `from` null when nobody can tell what is written there. */
export type SetMark = {
  readonly do: 'set-mark';
  readonly field: 'mark' | 'ct-mark';
  readonly from: 'mark' | 'ct-mark' | null;
  readonly and: number;
  readonly xor: number;
};

/** The parts of a rule, in the order in which the kernel goes through them; a match that fails ends the rule. */
export type Step =
  | { readonly do: 'match'; readonly test: Test }
  /** At least one of the tests holds; `negated`: none does. */
  | { readonly do: 'any'; readonly tests: readonly Test[]; readonly negated: boolean }
  /** Holds for some packets and not for others by design (limit, statistic, numgen). */
  | { readonly do: 'some'; readonly why: string }
  /** A match that cannot be judged from the rules and the packet alone (ipset, bpf, string, owner). */
  | { readonly do: 'unknown'; readonly why: string }
  | { readonly do: 'verdict'; readonly verdict: Verdict }
  /** A verdict map; no entry found ends the rule. `key` null: any entry may be hit (numgen, hashes). */
  | {
      readonly do: 'map';
      readonly key: readonly Selector[] | null;
      readonly entries: readonly { readonly row: readonly Span[]; readonly verdict: Verdict }[];
    }
  | SetMark
  | { readonly do: 'notrack' }
  /** Address translation: ends the chain, and what it writes can no longer be told. */
  | { readonly do: 'translate'; readonly what: 'source' | 'destination' };

/** `text` is the rule as its own tool prints it; `number` counts from 1 within the chain. */
export type Rule = {
  readonly text: string;
  readonly number: number;
  readonly handle?: number;
  readonly packets?: number;
  readonly steps: readonly Step[];
};

/** Where a chain hangs in the kernel. `devices` only for ingress and egress; null when the output does not say which. */
export type Base = {
  readonly hook: Hook;
  readonly type: 'filter' | 'nat' | 'route';
  readonly priority: number;
  readonly policy: 'accept' | 'drop';
  readonly policyPackets?: number;
  readonly devices: readonly string[] | null;
};

export type Chain = { readonly name: string; readonly base: Base | null; readonly rules: readonly Rule[] };

/** `active` is null when the output does not tell whether the table is dormant. */
export type Table = {
  readonly system: System;
  readonly family: Family;
  readonly name: string;
  readonly active: true | null;
  readonly chains: readonly Chain[];
};

/** A rule, or the policy of a chain (`number` and `handle` absent, `policy` true), with all that tells it from others. */
export type RuleRef = {
  readonly system: System;
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
  readonly text: string;
  readonly policy: boolean;
  readonly number?: number;
  readonly handle?: number;
  readonly packets?: number;
};

/** A key that is equal for two references to the same rule of one node. */
export function ruleKey(rule: RuleRef): string {
  return [rule.system, rule.family, rule.table, rule.chain, rule.number ?? 'policy'].join('\n');
}

/** Connection-tracking states as bits; the values of nf_conntrack, and xt_conntrack's two for translated connections. */
export const CT_STATE = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64, snat: 256, dnat: 512 } as const;

/** Connection-tracking status bits. Source: include/uapi/linux/netfilter/nf_conntrack_common.h. */
export const CT_STATUS = {
  expected: 1,
  'seen-reply': 2,
  assured: 4,
  confirmed: 8,
  snat: 16,
  dnat: 32,
  dying: 512,
} as const;

export const TCP_FLAGS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ecn: 64, cwr: 128 } as const;

/** IP protocol numbers that rules name. */
export const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipencap: 4,
  tcp: 6,
  udp: 17,
  ipv6: 41,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  'ipv6-icmp': 58,
  ospf: 89,
  ipip: 94,
  pim: 103,
  vrrp: 112,
  l2tp: 115,
  sctp: 132,
  dccp: 33,
  udplite: 136,
  comp: 108,
};

/** ICMP types that rules name. Source: nftables' icmp_type datatype. */
export const ICMP_TYPES: Readonly<Record<string, number>> = {
  'echo-reply': 0,
  'destination-unreachable': 3,
  'source-quench': 4,
  redirect: 5,
  'echo-request': 8,
  'router-advertisement': 9,
  'router-solicitation': 10,
  'time-exceeded': 11,
  'parameter-problem': 12,
  'timestamp-request': 13,
  'timestamp-reply': 14,
  'info-request': 15,
  'info-reply': 16,
  'address-mask-request': 17,
  'address-mask-reply': 18,
};

/** ICMPv6 types that rules name. Source: nftables' icmpv6_type datatype. */
export const ICMPV6_TYPES: Readonly<Record<string, number>> = {
  'destination-unreachable': 1,
  'packet-too-big': 2,
  'time-exceeded': 3,
  'parameter-problem': 4,
  'echo-request': 128,
  'echo-reply': 129,
  'mld-listener-query': 130,
  'mld-listener-report': 131,
  'mld-listener-done': 132,
  'nd-router-solicit': 133,
  'nd-router-advert': 134,
  'nd-neighbor-solicit': 135,
  'nd-neighbor-advert': 136,
  'nd-redirect': 137,
  'mld2-listener-report': 143,
};
