import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type Draft, defineCheck, incomplete, ok } from '../../kit/check.ts';
import { deleteRuleOffer } from '../../kit/netfilter/delete-rule.ts';
import type { Eater } from '../../kit/netfilter/eaten.ts';
import { createEaters, FILTER_COLLECT, parseFilter } from '../../kit/netfilter/facts.ts';
import { type Firewall, firewallsOf, keeperOf, UNIDENTIFIED } from '../../kit/netfilter/owner.ts';
import { deedText, eaterReport, ruleText } from '../../kit/netfilter/report.ts';
import { READ_BY } from '../../kit/netfilter/rulesets.ts';
import { PROCESS_NAMES } from '../../kit/readings.ts';

/** N3. What else eats packets is told by `filter-rule-drops`. */
export const foreignFirewall = defineCheck({
  id: 'foreign-firewall',
  row: 'N3',
  layer: 'L4',
  scope: 'cluster',
  title: 'A firewall of the host is active beside Kubernetes',
  why: 'firewalld, ufw and the like know nothing of pods, tunnels and kubelets, and reject what they do not know.',
  codes: {
    'foreign-firewall':
      'Chains that neither Kubernetes nor a CNI keeps are active on a node; with harm, they drop or reject packets that the cluster needs.',
  },
  params: z.strictObject({}),
  collect: { ...FILTER_COLLECT, processes: PROCESS_NAMES },
  parse({ processes, ...filter }) {
    const facts = parseFilter(filter);
    if (facts.outcome !== 'ok') return facts;
    // the processes only support what the rules show
    const running =
      incomplete(processes) === null
        ? processes.stdout
            .split('\n')
            .map((name) => name.trim())
            .filter((name) => name !== '')
        : null;
    return ok({ ...facts.facts, running });
  },
  evaluate: (facts, { inventory, probed }) => {
    const eatersOn = createEaters(inventory, probed);
    return [...facts].flatMap(([name, own]) => {
      const firewalls = firewallsOf(own.tables);
      const eaters = firewalls.length === 0 ? [] : eatersOn(name, own);
      return firewalls.flatMap((firewall) => {
        const seen: Seen = { node: name, firewall, process: processCitation(name, firewall.name, own.running) };
        const mine = eaters.filter((eater) => keeperOf(own.tables, eater.rule) === firewall.name);
        return mine.length > 0 ? mine.map((eater) => harmful(seen, eater)) : [harmless(seen)];
      });
    });
  },
});

type Seen = { readonly node: string; readonly firewall: Firewall; readonly process: readonly Citation[] };

/** Firewalls that one command stops, with all that they loaded. */
const STOPPABLE = new Set(['firewalld', 'ufw']);

function processCitation(node: string, firewall: string, running: readonly string[] | null): Citation[] {
  const isRunning = running?.includes(firewall) === true;
  return isRunning ? [{ where: node, source: PROCESS_NAMES.argv.join(' '), text: `${firewall} is running` }] : [];
}

function titleOf({ name, chains }: Firewall): string {
  if (name !== UNIDENTIFIED) return name;
  const shown = chains.slice(0, 3).join(', ');
  return `An unidentified firewall (chain${chains.length === 1 ? '' : 's'} ${shown}${chains.length > 3 ? ' …' : ''})`;
}

function harmful({ node, firewall, process }: Seen, eater: Eater): Draft {
  const report = eaterReport(node, eater);
  const { rule } = eater;
  const stops = STOPPABLE.has(firewall.name);
  return {
    code: 'foreign-firewall',
    ...report,
    summary: `${titleOf(firewall)} on ${node} ${deedText(eater)}, ${rule.policy ? 'by the policy of' : 'in chain'} ${rule.chain}: ${ruleText(rule)}`,
    advice: stops
      ? `Stop and disable ${firewall.name} on this node, or open in it what the cluster needs; other nodes are not affected.`
      : 'Find out which program keeps these chains, and stop it or let it accept what the cluster needs: a rule that is only deleted comes back.',
    evidence: [...report.evidence, ...process],
    remedy: stops
      ? { id: 'stop-firewall', node, params: { firewall: firewall.name, system: firewall.system } }
      : deleteRuleOffer(node, rule),
  };
}

function harmless({ node, firewall, process }: Seen): Draft {
  return {
    code: 'foreign-firewall',
    entity: nodeEntity(node),
    severity: 'info',
    at: [],
    harms: [],
    summary: `${titleOf(firewall)} is active on ${node}; its rules let pass everything that the cluster needs`,
    advice: 'A reload or a changed default can cut the node off: keep it off cluster nodes, or manage it together with them.',
    evidence: [
      {
        where: node,
        source: READ_BY[firewall.system],
        text: `chains ${firewall.chains.slice(0, 8).join(', ')}${firewall.chains.length > 8 ? ' …' : ''}`,
      },
      ...process,
    ],
  };
}
