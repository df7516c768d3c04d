import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

const IpRule = z
  .array(
    z.looseObject({
      priority: z.int(),
      not: z.null().optional(),
      src: z.string(),
      srclen: z.int().optional(),
      dst: z.string().optional(),
      dstlen: z.int().optional(),
      iif: z.string().optional(),
      fwmark: z.string().optional(),
      fwmask: z.string().optional(),
      table: z.string().optional(),
      action: z.string().optional(),
      goto: z.union([z.int(), z.string()]).optional(),
      suppress_prefixlen: z.int().optional(),
    }),
  )
  .min(1);

/** Selectors that no ordinary packet of the cluster can be told to match: its socket, owner, ports or type of service. */
const PARTICULAR = ['oif', 'tos', 'uid_start', 'ipproto', 'sport', 'dport', 'l3mdev', 'tun_id', 'dscp', 'flowlabel'];

/**
 * A policy rule. `from` and `to` are CIDR prefixes or null for all addresses; `mark` is what the packet's mark has to be
 * under the mask; `isParticular` that it selects by something else, which ordinary packets do not have. What it does is
 * looking up `table`, going on at the rule of priority `goto`, or `action` (`blackhole`, `unreachable`, `prohibit`).
 */
export type PolicyRule = {
  readonly priority: number;
  readonly isInverted: boolean;
  readonly from: string | null;
  readonly to: string | null;
  readonly iif: string | null;
  readonly mark: { readonly value: number; readonly mask: number } | null;
  readonly isParticular: boolean;
  readonly table: string | null;
  readonly goto: number | null;
  readonly action: string | null;
  readonly suppressPrefix: number;
};

/** Parses the evidence of `POLICY_RULES`. Source: ip-rule(8). */
export function parsePolicyRules(evidence: Evidence): Parsed<readonly PolicyRule[]> {
  return parseComplete(evidence, (stdout) =>
    IpRule.parse(JSON.parse(stdout)).map((rule) => ({
      priority: rule.priority,
      isInverted: rule.not === null,
      from: block(rule.src, rule.srclen),
      to: block(rule.dst ?? 'all', rule.dstlen),
      iif: rule.iif ?? null,
      mark: rule.fwmark === undefined ? null : { value: Number(rule.fwmark), mask: Number(rule.fwmask ?? 0xff_ff_ff_ff) },
      isParticular: PARTICULAR.some((selector) => selector in rule),
      table: rule.table ?? null,
      goto: rule.goto === undefined ? null : Number(rule.goto),
      action: rule.action ?? null,
      suppressPrefix: rule.suppress_prefixlen ?? -1,
    })),
  );
}

function block(address: string, length: number | undefined): string | null {
  return address === 'all' ? null : `${address}/${length ?? 32}`;
}

/** A rule as ip-rule(8) prints it, as far as it is known here. */
export function policyRuleText(rule: PolicyRule): string {
  const { priority, isInverted, from, to, iif, mark, table, action } = rule;
  const selectors = [
    `from ${from ?? 'all'}`,
    ...(to === null ? [] : [`to ${to}`]),
    ...(mark === null ? [] : [`fwmark 0x${mark.value.toString(16)}/0x${mark.mask.toString(16)}`]),
    ...(iif === null ? [] : [`iif ${iif}`]),
  ];
  return `${priority}: ${isInverted ? 'not ' : ''}${selectors.join(' ')} ${table === null ? (action ?? 'goto') : `lookup ${table}`}`;
}
