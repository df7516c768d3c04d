import type { RemedyOffer } from '../../../model/finding.ts';
import type { RuleRef } from './ast.ts';
import { tableName } from './report.ts';

/** The offer to delete exactly this rule; a policy is no rule and cannot be deleted. */
export function deleteRuleOffer(node: string, rule: RuleRef): RemedyOffer | undefined {
  if (rule.policy) return undefined;
  return {
    id: 'delete-filter-rule',
    node,
    params: {
      system: rule.system,
      table: tableName(rule),
      chain: rule.chain,
      rule: rule.text,
      ...(rule.handle === undefined ? { number: String(rule.number) } : { handle: String(rule.handle) }),
    },
  };
}
