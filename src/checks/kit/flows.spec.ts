import { expect, test } from 'vitest';
import { capturedInventory, filterEvidence } from '../../../test/filter-evidence.ts';
import type { Inventory } from '../../model/inventory.ts';
import type { Probe } from '../../model/probe.ts';
import { createFlows, type Flow } from './flows.ts';
import { parseLinks } from './links.ts';
import { createClasses } from './netfilter/classes.ts';
import { parseIptablesSave } from './netfilter/iptables-save.ts';
import { nodeNetwork } from './node-network.ts';

const inventory = capturedInventory();
const fixtures = new URL('../linux/filter-rule-drops/fixtures/', import.meta.url);

/** The flows of node-2 with rules that look at every hook, and with more rules. */
function flowsOn2(given: Inventory = inventory, rules = '', bridged = true, probes: readonly Probe[] = []): readonly Flow[] {
  const links = parseLinks(filterEvidence(fixtures, 'healthy', 'node-2').links);
  const node = given.nodes.find(({ name }) => name === 'node-2');
  if (links.outcome !== 'ok' || node === undefined) throw new Error('no fixture');
  const text = `*mangle
${['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'].map((chain) => `:${chain} DROP [0:0]`).join('\n')}
${rules}
COMMIT
`;
  const classes = createClasses(parseIptablesSave(text, 'legacy').tables);
  return createFlows(given, probes)({ node, network: nodeNetwork(node, links.facts), bridged }, classes);
}

/** `from > to proto[:port] [answer]: hook[iif>oif] …`, each once. */
function brief(flows: readonly Flow[]): string[] {
  return [
    ...new Set(
      flows.map(({ from, to, answer, tunnel, steps }) => {
        const packet = steps[0]?.packet;
        const kind = [
          ...(tunnel ? ['tunnel'] : []),
          ...(packet?.dnat === true ? ['translated'] : []),
          ...(answer ? ['answer'] : []),
        ];
        const way = steps.map(({ hook, hop }) => `${hook}[${[hop.iif, hop.oif].filter((name) => name !== undefined).join('>')}]`);
        return `${from} > ${to}${kind.length > 0 ? ` (${kind.join(', ')})` : ''}: ${way.join(' ')}`;
      }),
    ),
  ].toSorted();
}

test('the ways that traffic takes through a node with a tunnel and a bridge', () => {
  expect(brief(flowsOn2())).toEqual([
    'its pods > its pods (answer): prerouting[cni0] forward[cni0>cni0] postrouting[cni0]',
    'its pods > its pods (translated): forward[cni0>cni0]',
    'its pods > its pods (translated, answer): forward[cni0>cni0]',
    'its pods > its pods: prerouting[cni0] forward[cni0>cni0] postrouting[cni0]',
    'its pods > other nodes (answer): prerouting[cni0] forward[cni0>flannel.1] postrouting[flannel.1]',
    'its pods > other nodes: prerouting[cni0] forward[cni0>eth0] postrouting[eth0]',
    'its pods > pods on other nodes (answer): prerouting[cni0] forward[cni0>flannel.1] postrouting[flannel.1]',
    'its pods > pods on other nodes (translated): forward[cni0>flannel.1] postrouting[flannel.1]',
    'its pods > pods on other nodes: prerouting[cni0] forward[cni0>flannel.1] postrouting[flannel.1]',
    'its pods > the API server (translated): forward[cni0>eth0] postrouting[eth0]',
    'its pods > the node itself (answer): prerouting[cni0] input[cni0]',
    'its pods > the node itself: prerouting[cni0] input[cni0]',
    'other nodes > its pods (answer): prerouting[eth0] forward[eth0>cni0] postrouting[cni0]',
    'other nodes > its pods: prerouting[flannel.1] forward[flannel.1>cni0] postrouting[cni0]',
    'other nodes > the node itself (answer): prerouting[eth0] input[eth0]',
    'other nodes > the node itself (answer): prerouting[flannel.1] input[flannel.1]',
    'other nodes > the node itself (tunnel): prerouting[eth0] input[eth0]',
    'other nodes > the node itself: prerouting[eth0] input[eth0]',
    'other nodes > the node itself: prerouting[flannel.1] input[flannel.1]',
    'pods on other nodes > its pods (answer): prerouting[flannel.1] forward[flannel.1>cni0] postrouting[cni0]',
    'pods on other nodes > its pods (translated, answer): prerouting[flannel.1] forward[flannel.1>cni0] postrouting[cni0]',
    'pods on other nodes > its pods: prerouting[flannel.1] forward[flannel.1>cni0] postrouting[cni0]',
    'pods on other nodes > the node itself (answer): prerouting[flannel.1] input[flannel.1]',
    'pods on other nodes > the node itself: prerouting[flannel.1] input[flannel.1]',
    'the API server > its pods (translated, answer): prerouting[eth0] forward[eth0>cni0] postrouting[cni0]',
    'the API server > the node itself (answer): prerouting[eth0] input[eth0]',
    'the API server > the node itself: prerouting[eth0] input[eth0]',
    'the node itself > its pods (answer): output[cni0] postrouting[cni0]',
    'the node itself > its pods: output[cni0] postrouting[cni0]',
    'the node itself > other nodes (answer): output[eth0] postrouting[eth0]',
    'the node itself > other nodes (answer): output[flannel.1] postrouting[flannel.1]',
    'the node itself > other nodes (tunnel): output[eth0] postrouting[eth0]',
    'the node itself > other nodes: output[eth0] postrouting[eth0]',
    'the node itself > other nodes: output[flannel.1] postrouting[flannel.1]',
    'the node itself > pods on other nodes (answer): output[flannel.1] postrouting[flannel.1]',
    'the node itself > pods on other nodes: output[flannel.1] postrouting[flannel.1]',
    'the node itself > the API server (answer): output[eth0] postrouting[eth0]',
    'the node itself > the API server: output[eth0] postrouting[eth0]',
  ]);
});

test('without br_netfilter, pods of one node pass the hooks of IP unseen', () => {
  const unseen = flowsOn2(inventory, '', false).filter(
    ({ from, to, steps }) => from === 'its pods' && to === 'its pods' && steps[0]?.packet.dnat === false,
  );
  expect(new Set(unseen.flatMap(({ steps }) => steps.map(({ hook, hop }) => `${hook} at ${hop.point}`)))).toEqual(
    new Set(['bridge-forward at forward']),
  );
});

test('peers that no rule tells apart are walked once, however many there are', () => {
  const [first] = inventory.nodes;
  const [pod] = inventory.pods.filter(({ hostNetwork }) => !hostNetwork);
  if (first === undefined || pod === undefined) throw new Error('no fixture');
  const many: Inventory = {
    ...inventory,
    nodes: [
      ...inventory.nodes,
      ...Array.from({ length: 200 }, (_, index) => ({
        ...first,
        name: `more-${index}`,
        ip: `10.28.90.${index}`,
        podCIDRs: [`172.28.${index}.0/24`],
      })),
    ],
    pods: [
      ...inventory.pods,
      ...Array.from({ length: 200 }, (_, index) => ({
        ...pod,
        name: `more-${index}`,
        node: `more-${index}`,
        ip: `172.28.${index}.2`,
      })),
    ],
  };
  expect(flowsOn2(many).length).toBe(flowsOn2().length);
  const told = flowsOn2(many, '-A FORWARD -d 172.28.7.2/32 -j ACCEPT');
  expect(told.length).toBeGreaterThan(flowsOn2().length);
  const alone = told.filter(({ to, steps }) => to === 'pods on other nodes' && steps[0]?.packet.dst === '172.28.7.2');
  expect(alone[0]?.targets.list()).toEqual(['172.28.7.2']);
});

test('pods that a NetworkPolicy selects need not be reached, except where a probe is planned', () => {
  const policies: Inventory['policies'] = [{ namespace: 'kube-system', name: 'dns', podSelector: {}, ingress: [], egress: null }];
  const to53 = (flows: readonly Flow[]): number => flows.filter(({ ports, answer }) => !answer && ports.includes(53)).length;
  const isolated = { ...inventory, policies };
  const packet = { proto: 'udp', src: '172.27.2.4', dst: '172.27.1.5', dport: 53, state: 'new' } as const;
  const probe = { expect: 'reach', packet } as Probe;
  expect(to53(flowsOn2())).toBeGreaterThan(0);
  expect(to53(flowsOn2(isolated))).toBe(0);
  expect(to53(flowsOn2(isolated, '', true, [probe]))).toBeGreaterThan(0);
  expect(to53(flowsOn2(isolated, '', true, [{ ...probe, expect: 'deny' }]))).toBe(0);
});

test('a node without pods is stood for by the first address of its pod network', () => {
  const empty = { ...inventory, pods: [], gaps: [{ what: 'pods', reason: 'forbidden' }] };
  const pods = flowsOn2(empty).filter(({ from, to }) => from === 'its pods' && to === 'pods on other nodes');
  expect(pods[0]?.sources.list()).toEqual(['172.27.2.2']);
  expect(pods[0]?.targets.list()).toEqual(['172.27.1.2', '172.27.3.2']);
});
