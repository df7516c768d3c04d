import { z } from 'zod';
import { type Entity, nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, hostPlace, nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { isWithin } from '../../kit/cidr.ts';
import { namesText } from '../../kit/dns-servers.ts';
import { FILTER_COLLECT, type FilterFacts, parseFilter } from '../../kit/netfilter/facts.ts';
import { createWalk } from '../../kit/netfilter/walk.ts';
import { networkOf } from '../../kit/node-network.ts';
import { podPrefixes } from '../../kit/pod-prefixes.ts';

/** E1, E2. The same target asked by the node and by a pod on it tells translation from what is outside. */
export const egressFails = defineCheck({
  id: 'egress-fails',
  row: 'E1',
  layer: 'L3',
  scope: 'cluster',
  title: 'Pods do not reach what is outside the cluster',
  why: 'Pods reach each other and nothing else: image registries, databases, DNS servers outside time out.',
  codes: {
    'pod-source-not-translated':
      'Packets of pods leave their node with the pod’s own address, which nobody outside can answer: no masquerade rule applies.',
    'outside-unreachable':
      'Packets leave with the node’s address, and nothing outside the cluster answers: they are lost out there.',
  },
  params: z.strictObject({}),
  collect: FILTER_COLLECT,
  parse: parseFilter,
  evaluate: (facts: ReadonlyMap<string, FilterFacts>, { inventory, probed }) => {
    const ways = waysOut(probed);
    return [...notTranslated(facts, inventory, ways), ...unreachable(facts, inventory, ways)];
  },
});

/** One target outside the pod network, asked from one node: by the node itself, and by netcheck's pod on it. */
type Way = {
  readonly node: string;
  readonly ip: string;
  readonly port: number;
  readonly isDns: boolean;
  readonly byNode: Probed | undefined;
  readonly byPod: Probed | undefined;
};

const KINDS: ReadonlySet<string> = new Set(['upstream-dns', 'pod-to-outside', 'kubernetes-service']);

function waysOut(probed: readonly Probed[]): readonly Way[] {
  const asked = probed.filter(
    ({ probe, result }) =>
      KINDS.has(probe.check) && probe.target.kind === 'Address' && probe.expect === 'reach' && result.status !== 'unknown',
  );
  return [...Map.groupBy(asked, ({ probe }) => `${probe.from.node} ${probe.to.ip} ${probe.to.port}`).values()]
    .flatMap((both) => {
      const [first] = both;
      if (first === undefined) return [];
      const { from, to, method } = first.probe;
      return [
        {
          node: from.node,
          ip: to.ip,
          port: to.port ?? 0,
          isDns: method === 'dns',
          byNode: both.find(({ probe }) => probe.from.pod === null),
          byPod: both.find(({ probe }) => probe.from.pod !== null),
        },
      ];
    })
    .toSorted((a, b) => byName(a.node, b.node) || byName(a.ip, b.ip));
}

function isSilent(item: Probed | undefined): item is Probed {
  return item !== undefined && item.result.status === 'fail' && item.result.delivered === 0;
}

/** Whether a way works: the target answered, if only with an error. */
function isAnswered(item: Probed | undefined): item is Probed {
  return item !== undefined && item.result.delivered > 0;
}

/** What a node's rules make of the source of a pod's packet to a target. */
type Source = 'translated' | 'kept' | 'unknown';

function sourceOf({ byPod, node }: Way, facts: ReadonlyMap<string, FilterFacts>, inventory: Inventory): Source {
  const own = facts.get(node);
  const oif = own === undefined ? undefined : networkOf(inventory, node, own.links).uplink?.name;
  if (own === undefined || oif === undefined || byPod === undefined) return 'unknown';
  const { verdict, after } = createWalk(own.tables)('postrouting', {
    ...byPod.probe.packet,
    oif,
    dnat: false,
    snat: false,
    srcType: 'unicast',
    dstType: 'unicast',
  });
  if (verdict !== 'accept' || after === null) return 'unknown';
  return after.sourceTranslated ? 'translated' : 'kept';
}

/** E1: the node is answered and its pod is not, and nothing writes the node's address into the pod's packets. */
function notTranslated(facts: ReadonlyMap<string, FilterFacts>, inventory: Inventory, ways: readonly Way[]): readonly Draft[] {
  const asked = ways.filter(({ byPod }) => byPod !== undefined);
  const sources = new Map(asked.map((way) => [way, sourceOf(way, facts, inventory)]));
  // Where the network knows the way to pods, their own addresses are right.
  const isRouted = asked.some((way) => sources.get(way) === 'kept' && isAnswered(way.byPod));
  if (isRouted) return [];
  const failing = asked.filter(
    (way) => sources.get(way) === 'kept' && isSilent(way.byPod) && way.byPod.result.how === 'timeout' && isAnswered(way.byNode),
  );
  return [...Map.groupBy(failing, ({ node }) => node)].map(([node, own]) => {
    const others = asked.filter((way) => sources.get(way) === 'translated' && isAnswered(way.byPod)).map((way) => way.node);
    return keptDraft(node, own, new Set(others), facts, inventory);
  });
}

function keptDraft(
  node: string,
  ways: readonly Way[],
  others: ReadonlySet<string>,
  facts: ReadonlyMap<string, FilterFacts>,
  inventory: Inventory,
): Draft {
  const own = facts.get(node);
  const oif = own === undefined ? undefined : networkOf(inventory, node, own.links).uplink?.name;
  const prefixes = podPrefixes(
    inventory,
    node,
    ways.flatMap(({ byPod }) => byPod?.probe.from.ip ?? []),
  );
  const targets = namesText(ways.map(({ ip, port }) => `${ip}:${port}`));
  const excluded = own === undefined ? [] : exclusions(own, ways);
  const [rule] = excluded;
  return {
    code: 'pod-source-not-translated',
    entity: nodeEntity(node),
    certainty: others.size > 0 ? 'certain' : 'suspect',
    at: [{ place: nodePlace(node), point: 'postrouting', ...(oif === undefined ? {} : { oif }) }],
    harms: prefixes.map((src) => ({ src })),
    summary: `packets of pods on ${node} leave by ${oif ?? 'its uplink'} with the pods' own addresses (${namesText(prefixes)}), and ${targets} ${ways.length > 1 ? 'do' : 'does'} not answer them; ${node} itself is answered${rule === undefined ? ': no masquerade rule applies to them' : `: ${rule.chain} leaves the destination out (${rule.text})`}${others.size === 0 ? '' : `; on ${namesText(others)} pods are translated and answered`}`,
    advice:
      rule === undefined
        ? `Restart what keeps the masquerade rules on ${node}: flannel (--ip-masq), ip-masq-agent or the CNI's agent; then look what removed them (a firewall that flushed the nat table).`
        : `Take the block out of nonMasqueradeCIDRs (kubectl -n kube-system get configmap ip-masq-agent -o yaml), or give the network outside a route to the pods.`,
    evidence: [
      ...ways
        .slice(0, 2)
        .flatMap(({ byNode, byPod }) => [byPod, byNode].flatMap((item) => (item === undefined ? [] : [citation(item)]))),
      ...(rule === undefined ? [] : [{ where: node, source: rule.system, text: rule.text }]),
    ],
  };
}

type Exclusion = { readonly chain: string; readonly text: string; readonly system: string };

/** Rules of masquerading chains that leave a target out by its address. */
function exclusions({ tables }: FilterFacts, ways: readonly Way[]): readonly Exclusion[] {
  return tables.flatMap(({ system, chains }) =>
    chains
      .filter(({ name }) => /masq/i.test(name))
      .flatMap(({ name, rules }) =>
        rules.flatMap(({ text, steps }) => {
          const block = /(?:^|\s)(?:-d|daddr) (\d+\.\d+\.\d+\.\d+(?:\/\d+)?)/.exec(text)?.[1];
          const isReturn = steps.some((step) => step.do === 'verdict' && ['return', 'accept'].includes(step.verdict.kind));
          return block !== undefined && isReturn && ways.some(({ ip }) => isWithin(ip, block))
            ? [{ chain: name, text, system }]
            : [];
        }),
      ),
  );
}

/** E2: nothing outside answers a node, however its packets leave, and it is answered inside the cluster. */
function unreachable(facts: ReadonlyMap<string, FilterFacts>, inventory: Inventory, ways: readonly Way[]): readonly Draft[] {
  const isNode = (ip: string): boolean => inventory.nodes.some((node) => node.ip === ip);
  const outside = ways.filter(({ isDns, ip, byNode }) => isDns && byNode !== undefined && !isNode(ip));
  const byNode = [...Map.groupBy(outside, ({ node }) => node)];
  const dead = byNode.filter(([, own]) => own.every((way) => isSilent(way.byNode) && !isAnswered(way.byPod)));
  if (dead.length === 0) return [];
  if (dead.length === byNode.length) {
    // One server that is silent to all is that server's fault; several at once are not.
    const hosts = new Set(outside.map(({ ip }) => ip));
    return hosts.size < 2
      ? []
      : [
          deadDraft(
            { kind: 'Cluster', name: inventory.cluster },
            dead.flatMap(([, own]) => own),
            null,
            facts,
            inventory,
          ),
        ];
  }
  return dead.flatMap(([node, own]) => {
    const answered = new Set(
      byNode
        .filter(
          ([other, theirs]) =>
            other !== node && theirs.some((way) => isAnswered(way.byNode) && own.some(({ ip }) => ip === way.ip)),
        )
        .map(([other]) => other),
    );
    return answered.size === 0 ? [] : [deadDraft(nodeEntity(node), own, answered, facts, inventory)];
  });
}

function deadDraft(
  entity: Entity,
  ways: readonly Way[],
  answered: ReadonlySet<string> | null,
  facts: ReadonlyMap<string, FilterFacts>,
  inventory: Inventory,
): Draft {
  const hosts = namesText(ways.map(({ ip }) => ip));
  const isTranslated = ways.some((way) => sourceOf(way, facts, inventory) === 'translated');
  const isCluster = answered === null;
  const contrast = isCluster ? '' : `, where ${namesText(answered)} ${answered.size > 1 ? 'do' : 'does'}`;
  const whose = isCluster ? 'pods leave with their nodes’ addresses' : 'its pods leave with the node’s address';
  const leave = isTranslated ? `; packets of ${whose}, so translation is not the fault` : '';
  const between = ways.flatMap(({ node, ip }): HopPattern[] => {
    const [a, b] = [nodePlace(node), hostPlace(ip)];
    return [
      { place: 'net', point: 'wire', via: `${a}>${b}` },
      { place: 'net', point: 'wire', via: `${b}>${a}` },
    ];
  });
  return {
    code: 'outside-unreachable',
    entity,
    certainty: 'inferred',
    at: between,
    harms: [
      { proto: 'udp', dport: 53 },
      { proto: 'udp', sport: 53 },
    ],
    summary: `${isCluster ? 'no node gets an' : `${entity.name} gets no`} answer from outside the cluster (DNS servers asked: ${hosts})${contrast}${leave}`,
    advice: `The packets are lost outside the cluster, or the answers on their way back: default gateway, router, NAT gateway, firewall. Capture on the uplink (tcpdump -ni any 'port 53 and host ${ways[0]?.ip ?? ''}') and give it to whoever operates that network.`,
    evidence: ways.flatMap(({ byNode }) => (byNode === undefined ? [] : [citation(byNode)])).slice(0, 6),
  };
}

function citation({ probe, result }: Probed): Citation {
  return { where: probe.from.pod ?? probe.from.node, source: probe.id, text: result.detail ?? result.how ?? '' };
}

function byName(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
