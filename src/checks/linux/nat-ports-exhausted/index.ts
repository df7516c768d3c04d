import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import type { PacketMatch } from '../../../model/packet.ts';
import { allParsed, type Draft, defineCheck, ok } from '../../kit/check.ts';
import { type ConntrackCounters, parseConntrackCounters, parseTranslations, type Translations } from '../../kit/conntrack.ts';
import { type PortRange, parseNatPortRanges } from '../../kit/nat-rules.ts';
import { CONNTRACK_COUNTERS, RULES_IPTABLES_NFT, RULES_LEGACY, TRANSLATED_CONNECTIONS } from '../../kit/readings.ts';

/** `failed`: connections that got no entry during the run. */
type Facts = { readonly groups: readonly NatGroup[]; readonly ranges: readonly PortRange[]; readonly failed: number };

/** What a connection may get whose own source port is not below 1024. Source: net/netfilter/nf_nat_core.c, nf_nat_l4proto_unique_tuple. */
const KERNEL_RANGE: PortRange = { from: 1024, to: 65_535, rule: null };

/** Fewer ports than this are no measure by themselves: as many connections are often there by chance. */
const FEW_PORTS = 1000;

/** Some that another rule translates may have ports in the same hundreds. */
const STRANGERS = 1.1;

/** N8. Source: "NAT failure with too many parallel connections", Google Distributed Cloud network troubleshooting. */
export const natPortsExhausted = defineCheck({
  id: 'nat-ports-exhausted',
  row: 'N8',
  layer: 'L4',
  scope: 'node',
  title: 'Ports for address translation are used up',
  why: 'Pods cannot open more connections to one destination, because every port that their node may translate them to is taken.',
  codes: {
    'nat-ports-exhausted': 'A node has no port left to translate connections to one destination, and the kernel dropped some.',
    'nat-ports-nearly-exhausted': 'A node has few ports left to translate connections to one destination.',
  },
  params: z.strictObject({ nearly: z.number().default(0.9) }),
  collect: {
    translated: TRANSLATED_CONNECTIONS,
    counters: CONNTRACK_COUNTERS,
    legacy: RULES_LEGACY,
    iptablesNft: RULES_IPTABLES_NFT,
  },
  parse: ({ translated, counters: { before, after }, ...rules }) => {
    const parsed = allParsed<{
      translated: Translations;
      before: ConntrackCounters;
      after: ConntrackCounters;
      ranges: readonly PortRange[];
    }>({
      translated: parseTranslations(translated),
      before: parseConntrackCounters(before),
      after: parseConntrackCounters(after),
      ranges: parseNatPortRanges(rules),
    });
    if (parsed.outcome !== 'ok') return parsed;
    const {
      translated: { groups },
      ranges,
      ...counts
    } = parsed.facts;
    return ok({ groups: bySource(groups), ranges, failed: Math.max(0, counts.after.insertFailed - counts.before.insertFailed) });
  },
  evaluate: ({ groups, ranges, failed }: Facts, { node, inventory }, { nearly }) =>
    groups.flatMap((group) => {
      const isNear = (range: PortRange): boolean => {
        const size = range.to - range.from + 1;
        const count = within(range, group.hundreds);
        // Far more than its ports: other connections, which the rule of this range does not concern.
        return count >= size * nearly && count <= size * STRANGERS + 1 && (size >= FEW_PORTS || failed > 0);
      };
      const range = [...ranges, KERNEL_RANGE].find(isNear);
      return range === undefined ? [] : [exhausted(node, group, range, failed, sourcesOf(inventory, node))];
    }),
});

/** Connections of one protocol to one destination whose source became the same address: each needs a port of its own. */
type NatGroup = {
  readonly proto: 'tcp' | 'udp';
  readonly target: string;
  readonly source: string;
  readonly port: number;
  /** How many have a port in each hundred. */
  readonly hundreds: ReadonlyMap<number, number>;
};

function bySource(translated: Translations['groups']): readonly NatGroup[] {
  const changed = translated.flatMap((group) => (group.source === null ? [] : [{ ...group, source: group.source }]));
  const groups = Map.groupBy(changed, ({ proto, target, targetPort, source }) => `${proto} ${target} ${targetPort} ${source.ip}`);
  return [...groups.values()].flatMap((same) => {
    const [first] = same;
    if (first === undefined || (first.proto !== 'tcp' && first.proto !== 'udp')) return [];
    const { proto, target, source, targetPort: port } = first;
    const hundreds = new Map<number, number>();
    for (const {
      source: { hundred },
      count,
    } of same)
      hundreds.set(hundred, (hundreds.get(hundred) ?? 0) + count);
    return [{ proto, target, source: source.ip, port, hundreds }];
  });
}

/** How many connections have a port of a range, or one in the same hundred as its ends. */
function within({ from, to }: PortRange, hundreds: NatGroup['hundreds']): number {
  const [first, last] = [Math.floor(from / 100), Math.floor(to / 100)];
  return [...hundreds].reduce((sum, [hundred, count]) => sum + (hundred >= first && hundred <= last ? count : 0), 0);
}

/** Whose addresses a node translates: its own pods'. */
function sourcesOf({ nodes }: Inventory, name: string): readonly string[] {
  return nodes.find((node) => node.name === name)?.podCIDRs ?? [];
}

function exhausted(node: string, group: NatGroup, range: PortRange, failed: number, sources: readonly string[]): Draft {
  const { proto, source, target, port, hundreds } = group;
  const count = within(range, hundreds);
  const size = range.to - range.from + 1;
  const harm: PacketMatch = { proto, dst: target, dport: port, state: 'new' };
  const limit = range.rule === null ? '' : `, as a rule of the node wants it`;
  return {
    code: failed > 0 ? 'nat-ports-exhausted' : 'nat-ports-nearly-exhausted',
    entity: nodeEntity(node),
    severity: failed > 0 ? 'critical' : 'warning',
    at: [{ place: nodePlace(node), point: 'postrouting' }],
    harms: failed === 0 ? [] : sources.length === 0 ? [harm] : sources.map((src) => ({ ...harm, src })),
    partial: 'flows',
    summary: `${count} ${proto.toUpperCase()} connections of ${node} to ${target} port ${port} are translated to ${source}, of at most ${size} (ports ${range.from} to ${range.to}${limit})${failed > 0 ? `; the kernel dropped ${failed} new connection${failed === 1 ? '' : 's'} during the run` : ''}`,
    advice:
      'Find the pods that open so many connections to one destination and let them keep theirs open and reuse them; spread them over more nodes, or give the node more addresses to translate to.',
    evidence: [
      {
        where: node,
        source: TRANSLATED_CONNECTIONS.argv.join(' '),
        text: `${count} ${proto} to ${target}:${port} from ${source}`,
      },
      ...(range.rule === null ? [] : [{ where: node, source: 'rules of the nat table', text: range.rule }]),
      ...(failed === 0
        ? []
        : [{ where: node, source: CONNTRACK_COUNTERS.files.join(), text: `insert_failed +${failed} during the run` }]),
    ],
  };
}
