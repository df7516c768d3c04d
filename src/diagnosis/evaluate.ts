import type { Check, Draft, Parsed, Probed, Readings } from '../checks/kit/check.ts';
import { unknown } from '../checks/kit/check.ts';
import type { Evidence, NodeEvidence } from '../model/evidence.ts';
import type { Finding } from '../model/finding.ts';
import type { HopPattern } from '../model/hop.ts';
import type { Inventory } from '../model/inventory.ts';
import { messageOf } from '../model/text.ts';
import type { NotChecked } from '../model/verdict.ts';
import { readingMoments } from './tasks.ts';

/** What the checks made of the evidence: findings, hops that are as they should be, and what they could not judge. */
export type Evaluation = {
  readonly findings: readonly Finding[];
  readonly acquitted: readonly HopPattern[];
  readonly gaps: readonly NotChecked[];
};

/**
 * Lets every check judge the evidence. A node without any evidence is left out here: its absence is one gap of its own,
 * not one of every check. Pure.
 */
export function evaluate(
  checks: readonly Check[],
  evidence: readonly NodeEvidence[],
  inventory: Inventory,
  probed: readonly Probed[],
): Evaluation {
  const findings: Finding[] = [];
  const acquitted: HopPattern[] = [];
  const gaps: NotChecked[] = [];
  const judged = evidence.filter((node) => Object.keys(node.items).length > 0);
  for (const check of checks) {
    const facts = new Map<string, unknown>();
    for (const node of judged) {
      const parsed = parseNode(check, node);
      if (parsed.outcome === 'ok') facts.set(node.node, parsed.facts);
      if (parsed.outcome === 'unknown') gaps.push({ what: check.id, where: node.node, reason: parsed.reason });
    }
    gaps.push(...(check.unread?.(inventory) ?? []).map((gap) => ({ what: check.id, ...gap })));
    try {
      findings.push(...drafts(check, facts, inventory, probed).map((draft) => complete(check, draft)));
      acquitted.push(...(check.acquits?.(facts, inventory) ?? []));
    } catch (error) {
      // A check that breaks is a defect of ours; it must neither fail the run nor pass for healthy.
      gaps.push({
        what: check.id,
        where: 'cluster',
        reason: `the check failed: ${messageOf(error)}`,
      });
    }
  }
  return { findings, acquitted, gaps };
}

function drafts(
  check: Check,
  facts: ReadonlyMap<string, unknown>,
  inventory: Inventory,
  probed: readonly Probed[],
): readonly Draft[] {
  const params = check.params.parse({});
  if (check.scope === 'cluster') return check.evaluate(facts, { inventory, probed }, params);
  return [...facts].flatMap(([node, value]) => check.evaluate(value, { node, inventory }, params));
}

/** Parses the readings of one check on one node. */
export function parseNode<F>(
  check: { readonly collect: Readings; readonly parse: (evidence: never) => Parsed<F> },
  node: NodeEvidence,
): Parsed<F> {
  const given: Record<string, Evidence | { before: Evidence; after: Evidence }> = {};
  for (const [name, reading] of Object.entries(check.collect)) {
    const items = readingMoments(reading).map(({ key }) => node.items[key]);
    const [first, second] = items;
    if (first === undefined || (items.length === 2 && second === undefined))
      return unknown(node.fault?.message ?? 'not collected');
    given[name] = second === undefined ? first : { before: first, after: second };
  }
  return check.parse(given as never);
}

function complete(check: Check, draft: Draft): Finding {
  const { advice, remedy, moreRemedies, ...rest } = draft;
  return {
    check: check.id,
    layer: check.layer,
    severity: 'critical',
    certainty: 'certain',
    partial: false,
    evidence: [],
    ...rest,
    ...(advice === undefined ? {} : { advice }),
    ...(remedy === undefined ? {} : { remedy }),
    ...(moreRemedies === undefined ? {} : { moreRemedies }),
  };
}
