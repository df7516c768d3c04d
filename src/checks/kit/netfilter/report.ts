import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import type { Draft } from '../check.ts';
import type { Flow } from '../flows.ts';
import { type RuleRef, ruleKey } from './ast.ts';
import type { Eater } from './eaten.ts';
import { READ_BY } from './rulesets.ts';

/** What a finding about a rule that eats must-work packets has, whichever check tells it. */
export type EaterReport = Required<Pick<Draft, 'entity' | 'severity' | 'certainty' | 'partial' | 'at' | 'harms' | 'evidence'>>;

/** The parts of a finding that follow from the eater alone. */
export function eaterReport(node: string, eater: Eater): EaterReport {
  return {
    entity: nodeEntity(node),
    severity: severityOf(eater),
    certainty: eater.doubt === null ? 'certain' : 'suspect',
    partial: eater.partial,
    at: [...eater.at],
    harms: [...eater.harms],
    evidence: citations(node, eater),
  };
}

/** Filtered pings alone break nothing, nor do ports that only netcheck asks for; neither does what only may happen. */
function severityOf({ eaten, doubt, partial }: Eater): 'critical' | 'warning' | 'info' {
  if (doubt !== null || eaten.every(({ flow, step }) => flow.own || step.packet.proto === 'icmp')) return 'info';
  return partial ? 'warning' : 'critical';
}

function citations(node: string, { rule, path, doubt }: Eater): Citation[] {
  const cited = (ref: RuleRef, prefix = ''): Citation => ({
    where: node,
    source: READ_BY[ref.system],
    text: `${prefix}${ruleText(ref)}${ref.packets === undefined ? '' : `, ${ref.packets} packets so far`}`,
  });
  return [
    cited(rule, path.length > 1 ? `reached through ${path.join(' → ')}: ` : ''),
    ...(doubt === null || ruleKey(doubt) === ruleKey(rule) ? [] : [cited(doubt, 'cannot be judged from here: ')]),
  ];
}

/** `-A FORWARD -j DROP (iptables-nft, filter table, rule 1)`: the rule and where it stands. */
export function ruleText(rule: RuleRef): string {
  const where = rule.system === 'nft' ? `table ${tableName(rule)}, chain ${rule.chain}` : `${rule.table} table`;
  const which = rule.policy ? 'policy' : rule.handle === undefined ? `rule ${rule.number}` : `handle ${rule.handle}`;
  return `${rule.text} (${rule.system === 'legacy' ? 'iptables-legacy' : rule.system}, ${where}, ${which})`;
}

/** `FORWARD`, `The policy of FORWARD`, `Chain input of table inet fw`: what acts, at the beginning of a sentence. */
export function chainText(rule: RuleRef): string {
  const name =
    rule.system === 'nft'
      ? `chain ${rule.chain} of table ${tableName(rule)}`
      : /^[A-Z]+$/.test(rule.chain)
        ? rule.chain
        : `chain ${rule.chain}`;
  return rule.policy ? `The policy of ${name}` : `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;
}

/** `filter`; for nft, whose tables belong to a family, `inet filter`. */
export function tableName(rule: RuleRef): string {
  return rule.system === 'nft' ? `${rule.family} ${rule.table}` : rule.table;
}

/** What an eater does, and to which packets: `rejects TCP to port 8080 from its pods to pods on other nodes`. */
export function deedText(eater: Eater): string {
  const verb = eater.verdict;
  const deed = eater.doubt !== null ? `may ${verb}` : eater.partial ? `${verb}s some of the` : `${verb}s`;
  return `${deed} ${trafficText(eater)}`;
}

const WHOLE: Readonly<Record<string, string>> = {
  forward: 'that it forwards',
  input: 'to the node itself',
  output: 'from the node itself',
};

function trafficText({ eaten, everything, onlyNew, partial }: Eater): string {
  const all = WHOLE[eaten[0]?.step.hop.point ?? ''];
  if (all !== undefined && (everything || onlyNew)) {
    const what = onlyNew ? 'new connection' : 'packet';
    return partial ? `${what}s ${all}` : `every ${what} ${all}`;
  }
  return `${packetsText(eaten)} ${routesText(eaten.map(({ flow }) => flow))}`;
}

function packetsText(eaten: Eater['eaten']): string {
  const ports = [...new Set(eaten.flatMap(({ flow }) => flow.ports))];
  if (eaten.every(({ flow }) => flow.tunnel)) return `VXLAN packets (UDP ${ports.join(', ')})`;
  const [proto, ...others] = new Set(eaten.map(({ step }) => step.packet.proto.toUpperCase()));
  if (proto === undefined || others.length > 0) return 'packets';
  if (eaten.every(({ flow }) => flow.answer)) return `${proto} answers`;
  return ports.length === 1 ? `${proto} to port ${ports[0]}` : `${proto} packets`;
}

/** `between its pods and pods on other nodes`; where there are many ways, what they have in common, or the first two. */
function routesText(flows: readonly Flow[]): string {
  const oneWay = new Set(flows.map(({ from, to }) => `${from}\n${to}`));
  const sources = new Set(flows.map(({ from }) => from));
  const targets = new Set(flows.map(({ to }) => to));
  if (oneWay.size > 1 && targets.size === 1) return `to ${[...targets][0]}`;
  if (oneWay.size > 1 && sources.size === 1) return `from ${[...sources][0]}`;
  const told = new Set<string>();
  const routes: string[] = [];
  for (const route of oneWay) {
    if (told.has(route)) continue;
    const [from, to] = route.split('\n', 2);
    told.add(route).add(`${to}\n${from}`);
    if (from === to) routes.push(`between ${from}`);
    else routes.push(oneWay.has(`${to}\n${from}`) ? `between ${from} and ${to}` : `from ${from} to ${to}`);
  }
  const more = routes.length - 2;
  return `${routes.slice(0, 2).join(', ')}${more > 0 ? ` and ${more} more way${more === 1 ? '' : 's'}` : ''}`;
}
