import { z } from 'zod';
import { type Draft, defineCheck } from '../../kit/check.ts';
import type { RuleRef, System, Table } from '../../kit/netfilter/ast.ts';
import { deleteRuleOffer } from '../../kit/netfilter/delete-rule.ts';
import type { Eater } from '../../kit/netfilter/eaten.ts';
import { createEaters, FILTER_COLLECT, parseFilter } from '../../kit/netfilter/facts.ts';
import { isClusterOwned, keeperOf } from '../../kit/netfilter/owner.ts';
import { chainText, deedText, eaterReport, ruleText } from '../../kit/netfilter/report.ts';

/** N2. Rules of firewalls that are known as such are told by `foreign-firewall`. */
export const filterRuleDrops = defineCheck({
  id: 'filter-rule-drops',
  row: 'N2',
  layer: 'L4',
  scope: 'cluster',
  title: 'A packet filter rule eats cluster traffic',
  why: 'Pods, kubelets or the tunnel between nodes cannot be reached although every device and route is in order.',
  codes: {
    'filter-rule-drops':
      'A rule or policy of iptables-legacy, iptables-nft or native nftables drops or rejects packets that the cluster needs.',
  },
  params: z.strictObject({}),
  collect: FILTER_COLLECT,
  parse: parseFilter,
  evaluate: (facts, { inventory, probed }) => {
    const eatersOn = createEaters(inventory, probed);
    return [...facts].flatMap(([name, own]) =>
      eatersOn(name, own)
        .filter((eater) => keeperOf(own.tables, eater.rule) === null && !isExpectedDoubt(own.tables, eater))
        .map((eater) => draftOf(name, eater, own.tables)),
    );
  },
});

/** A CNI's own chains decide by sets that no rule listing shows; that is how they enforce NetworkPolicies. */
function isExpectedDoubt(tables: readonly Table[], { doubt, rule }: Eater): boolean {
  return doubt !== null && (isClusterOwned(tables, doubt) || isClusterOwned(tables, rule));
}

function draftOf(node: string, eater: Eater, tables: readonly Table[]): Draft {
  const { rule } = eater;
  // what Kubernetes or the CNI keeps it writes again; it may enforce a policy
  const isKept = isClusterOwned(tables, rule);
  return {
    code: 'filter-rule-drops',
    ...eaterReport(node, eater),
    summary: `${chainText(rule)} on ${node} ${deedText(eater)}: ${ruleText(rule)}`,
    advice: isKept ? KEPT : adviceOf(rule, kubeProxySystem(tables)),
    remedy: isKept ? undefined : deleteRuleOffer(node, rule),
  };
}

const KEPT =
  'Kubernetes or the CNI keeps this chain and would write the rule again: look at the component that does (kube-proxy, the CNI’s agent) on this node.';

function adviceOf(rule: RuleRef, kubeProxy: System | null): string {
  const what = rule.policy
    ? `Let ${rule.chain} accept what the cluster needs, or set its policy to accept.`
    : 'Delete the rule, and find what put it there (a script, configuration management, rules that are loaded at boot): it comes back with the next run of that.';
  if (kubeProxy === null || kubeProxy === rule.system || rule.system === 'nft') return what;
  const name = (system: System): string => (system === 'legacy' ? 'iptables-legacy' : system);
  return `${what} kube-proxy's rules are in ${name(kubeProxy)} and this one is in ${name(rule.system)}: \`iptables -L\` on the node shows only one of the two.`;
}

function kubeProxySystem(tables: readonly Table[]): System | null {
  return (
    tables.find(({ chains }) => chains.some(({ name }) => name === 'KUBE-SERVICES' || name === 'KUBE-FORWARD'))?.system ?? null
  );
}
