import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { type Portal, parseJumps, parsePortals } from '../../kit/kube-rules.ts';
import { RULES_IPTABLES_NFT, RULES_LEGACY, readingText } from '../../kit/readings.ts';

const SYSTEMS = { legacy: RULES_LEGACY, 'iptables-nft': RULES_IPTABLES_NFT } as const;
type System = keyof typeof SYSTEMS;
type Facts = Readonly<Record<System, readonly Portal[]>> & { readonly jumps: Readonly<Record<System, readonly string[]>> };

/** A Service port that one of the two leads to addresses behind which there is nobody any more. */
type Stale = { readonly system: System; readonly portal: Portal; readonly dead: readonly string[] };

/** N21. Source: "iptables modes" of kube-proxy, kubernetes/kubernetes#71305; nf_nat_register_fn in the kernel's nf_nat_core.c. */
export const kubeRulesTwice = defineCheck({
  id: 'kube-rules-twice',
  row: 'N21',
  layer: 'L4',
  scope: 'node',
  title: "kube-proxy's rules are there twice",
  why: 'The kernel asks iptables-legacy and iptables-nft alike; the first that translates decides, and one of them nobody updates.',
  codes: {
    'kube-rules-stale': 'Rules of kube-proxy in the other kind of iptables lead a Service to pods that are gone.',
    'kube-rules-twice':
      'iptables-legacy and iptables-nft both have the rules of kube-proxy; they still agree with the endpoints.',
  },
  params: z.strictObject({}),
  collect: SYSTEMS,
  parse: (rules) =>
    allParsed<Facts>({
      legacy: parsePortals(rules.legacy),
      'iptables-nft': parsePortals(rules['iptables-nft']),
      jumps: allParsed<Facts['jumps']>({ legacy: parseJumps(rules.legacy), 'iptables-nft': parseJumps(rules['iptables-nft']) }),
    }),
  evaluate: (facts: Facts, { node, inventory }) => {
    if (facts.legacy.length === 0 || facts['iptables-nft'].length === 0) return [];
    const stale = systems().flatMap((system) => facts[system].flatMap((portal) => staleIn(system, portal, inventory)));
    // What both lead astray is not this fault: kube-proxy itself is behind.
    const both = new Set(
      [...Map.groupBy(stale, ({ portal }) => portal.key)].flatMap(([key, group]) => (group.length > 1 ? [key] : [])),
    );
    const mine = stale.filter(({ portal }) => !both.has(portal.key));
    return mine.length > 0 ? [gone(node, mine, facts)] : [twice(node, facts)];
  },
});

function systems(): readonly System[] {
  return Object.keys(SYSTEMS) as System[];
}

function staleIn(system: System, portal: Portal, { services, endpoints }: Inventory): readonly Stale[] {
  const service = services.find(({ clusterIP }) => clusterIP === portal.ip);
  if (service === undefined) return [];
  const alive = new Set(
    endpoints
      .filter((endpoint) => endpoint.namespace === service.namespace && endpoint.service === service.name)
      .flatMap(({ ip, ports }) => ports.map(({ port }) => `${ip}:${port}`)),
  );
  const dead = portal.endpoints.filter((endpoint) => !alive.has(endpoint));
  return dead.length === 0 ? [] : [{ system, portal, dead }];
}

function gone(node: string, stale: readonly Stale[], { jumps }: Facts): Draft {
  const names = [...new Set(stale.map(({ system }) => system))];
  const [only, ...others] = names;
  const isWhole = stale.every(({ portal, dead }) => dead.length === portal.endpoints.length);
  return {
    code: 'kube-rules-stale',
    entity: nodeEntity(node),
    at: [...new Set(stale.map(({ portal }) => portal.ip))].map((via) => ({ place: nodePlace(node), point: 'nat', via })),
    harms: [{}],
    // Which of the two is asked first depends on which was loaded first, and that cannot be read.
    certainty: 'suspect',
    partial: isWhole ? false : 'flows',
    summary: `${node} has the rules of kube-proxy in iptables-legacy and in iptables-nft; those in ${names.join(' and ')} lead ${stale.map(({ portal, dead }) => `${portal.key} to ${dead.join(', ')}`).join('; ')}, where nobody is any more`,
    advice: `kube-proxy keeps only one of them up to date. Delete its chains in the other (${names.join(', ')}: kube-proxy --cleanup with that iptables, or a reboot), and give host and kube-proxy the same iptables.`,
    evidence: stale.slice(0, 5).map(({ system, portal }) => portalText(node, system, portal)),
    // Where each of the two leads something astray, neither is the one that is kept.
    remedy:
      only === undefined || others.length > 0
        ? undefined
        : { id: 'delete-kube-rules', node, params: { system: only, jumps: jumps[only].join('\n') } },
  };
}

function twice(node: string, facts: Facts): Draft {
  return {
    code: 'kube-rules-twice',
    entity: nodeEntity(node),
    severity: 'warning',
    at: [{ place: nodePlace(node), point: 'nat' }],
    harms: [],
    summary: `${node} has the rules of kube-proxy in iptables-legacy (${facts.legacy.length} Service ports) and in iptables-nft (${facts['iptables-nft'].length}); only one of them is kept up to date`,
    advice:
      'Delete those that kube-proxy does not keep (its log names the iptables that it uses), before pods behind a Service change.',
    evidence: systems().flatMap((system) => facts[system].slice(0, 1).map((portal) => portalText(node, system, portal))),
  };
}

function portalText(node: string, system: System, { key, endpoints }: Portal): Citation {
  return { where: node, source: readingText(SYSTEMS[system]), text: `${key} leads to ${endpoints.join(', ') || 'nobody'}` };
}
