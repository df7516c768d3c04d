import { expect, test } from 'vitest';
import { capturedInventory, evidence, filterEvidence, NODES } from '../../../../test/filter-evidence.ts';
import type { Draft } from '../../kit/check.ts';
import { filterRuleDrops } from '../filter-rule-drops/index.ts';
import { foreignFirewall } from './index.ts';

const fixtures = new URL('./fixtures/', import.meta.url);

/** What a check finds on the captured cluster, with one node as in the case. */
function findingsOf(check: typeof foreignFirewall | typeof filterRuleDrops, name: string): readonly Draft[] {
  const facts = new Map();
  for (const node of NODES) {
    const parsed = check.parse(filterEvidence(fixtures, name, node));
    if (parsed.outcome !== 'ok') throw new Error(`${node}: ${parsed.outcome}`);
    facts.set(node, parsed.facts);
  }
  return check.evaluate(facts, { inventory: capturedInventory(), probed: [] }, {});
}

const node2 = { kind: 'Node', name: 'node-2' } as const;
const culprit = { code: 'foreign-firewall', entity: node2, severity: 'critical', certainty: 'certain', partial: false } as const;
const risk = { code: 'foreign-firewall', entity: node2, severity: 'info', at: [], harms: [] } as const;
const running = { where: 'node-2', source: 'ps -e -o comm=', text: 'firewalld is running' };
const stop = (firewall: string, system: string) => ({
  advice: `Stop and disable ${firewall} on this node, or open in it what the cluster needs; other nodes are not affected.`,
  remedy: { id: 'stop-firewall', node: 'node-2', params: { firewall, system } },
});
const CARE = 'A reload or a changed default can cut the node off: keep it off cluster nodes, or manage it together with them.';
const forwarded = [
  ['cni0', 'cni0'],
  ['cni0', 'flannel.1'],
  ['flannel.1', 'cni0'],
  ['cni0', 'eth0'],
].map(([iif, oif]) => ({ place: 'node/node-2', point: 'forward', iif, oif }));

test('a healthy cluster has no foreign firewall, though its chains match the guide’s filter', () => {
  expect(findingsOf(foreignFirewall, 'healthy')).toEqual([]);
});

test('firewalld as Debian installs it (nftables backend)', () => {
  const where = (chain: string, handle: number): string =>
    `reject with icmpx admin-prohibited (nft, table inet firewalld, chain ${chain}, handle ${handle})`;
  expect(findingsOf(foreignFirewall, 'firewalld')).toEqual([
    {
      ...culprit,
      ...stop('firewalld', 'nft'),
      at: [{ place: 'node/node-2', point: 'input' }],
      harms: [
        { state: 'new', proto: 'tcp' },
        { state: 'new', proto: 'udp' },
      ],
      summary: `firewalld on node-2 rejects packets to the node itself, in chain filter_IN_public: ${where('filter_IN_public', 72)}`,
      evidence: [
        {
          where: 'node-2',
          source: 'nft -j list ruleset',
          text: `reached through filter_INPUT → filter_INPUT_ZONES → filter_IN_public: ${where('filter_IN_public', 72)}`,
        },
        running,
      ],
    },
    {
      ...culprit,
      ...stop('firewalld', 'nft'),
      at: forwarded,
      harms: [{ state: 'new', dnat: false }],
      summary: `firewalld on node-2 rejects packets between its pods, between its pods and pods on other nodes and 1 more way, in chain filter_FWD_public: ${where('filter_FWD_public', 101)}`,
      evidence: [
        {
          where: 'node-2',
          source: 'nft -j list ruleset',
          text: `reached through filter_FORWARD → filter_FORWARD_ZONES → filter_FWD_public: ${where('filter_FWD_public', 101)}`,
        },
        running,
      ],
    },
  ]);
});

test('firewalld with its iptables backend', () => {
  const input = '-A IN_public -j REJECT --reject-with icmp-port-unreachable (iptables-nft, filter table, rule 9)';
  const forward = '-A FWD_public -j REJECT --reject-with icmp-port-unreachable (iptables-nft, filter table, rule 8)';
  expect(findingsOf(foreignFirewall, 'firewalld-iptables')).toEqual([
    {
      ...culprit,
      ...stop('firewalld', 'iptables-nft'),
      at: [{ place: 'node/node-2', point: 'input' }],
      harms: [
        { state: 'new', proto: 'tcp' },
        { state: 'new', proto: 'udp' },
      ],
      summary: `firewalld on node-2 rejects packets to the node itself, in chain IN_public: ${input}`,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `reached through INPUT → INPUT_ZONES → IN_public: ${input}, 0 packets so far`,
        },
        running,
      ],
    },
    {
      ...culprit,
      ...stop('firewalld', 'iptables-nft'),
      at: forwarded,
      harms: [{ state: 'new', dnat: false }],
      summary: `firewalld on node-2 rejects packets between its pods, between its pods and pods on other nodes and 1 more way, in chain FWD_public: ${forward}`,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `reached through FORWARD → FORWARD_ZONES → FWD_public: ${forward}, 0 packets so far`,
        },
        running,
      ],
    },
  ]);
});

test('firewalld that trusts every interface is a risk only', () => {
  expect(findingsOf(foreignFirewall, 'firewalld-trusted')).toEqual([
    {
      ...risk,
      summary: 'firewalld is active on node-2; its rules let pass everything that the cluster needs',
      advice: CARE,
      evidence: [
        {
          where: 'node-2',
          source: 'nft -j list ruleset',
          text: 'chains mangle_PREROUTING, mangle_PREROUTING_POLICIES_pre, mangle_PREROUTING_ZONES, nat_PREROUTING, nat_PREROUTING_POLICIES_pre, nat_PREROUTING_ZONES, nat_POSTROUTING, nat_POSTROUTING_ZONES …',
        },
        running,
      ],
    },
  ]);
});

test('ufw with SSH and the kubelet opened: its policy still drops the tunnel', () => {
  const policy = '-P INPUT DROP (iptables-nft, filter table, policy)';
  expect(findingsOf(foreignFirewall, 'ufw')).toEqual([
    {
      ...culprit,
      ...stop('ufw', 'iptables-nft'),
      at: [{ place: 'node/node-2', point: 'input', iif: 'eth0' }],
      harms: [{ state: 'new', proto: 'udp' }],
      summary: `ufw on node-2 drops VXLAN packets (UDP 8472) from other nodes to the node itself, by the policy of INPUT: ${policy}`,
      evidence: [{ where: 'node-2', source: 'iptables-nft-save -c', text: `${policy}, 0 packets so far` }],
    },
  ]);
});

test('the empty chains that ufw leaves behind when it is disabled are nothing', () => {
  expect(findingsOf(foreignFirewall, 'ufw-disabled')).toEqual([]);
});

test('a chain that nothing known makes, and that eats packets', () => {
  const rule = '-A QAX_FORWARD -s 172.27.0.0/16 -p tcp -m tcp --dport 8080 -j DROP';
  expect(findingsOf(foreignFirewall, 'unidentified-chain')).toEqual([
    {
      ...culprit,
      at: forwarded.slice(0, 3),
      harms: [{ proto: 'tcp', dport: 8080, src: '172.27.0.0/16' }],
      summary: `An unidentified firewall (chain QAX_FORWARD) on node-2 drops TCP to port 8080 between its pods, between its pods and pods on other nodes and 1 more way, in chain QAX_FORWARD: ${rule} (iptables-nft, filter table, rule 1)`,
      advice:
        'Find out which program keeps these chains, and stop it or let it accept what the cluster needs: a rule that is only deleted comes back.',
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `reached through FORWARD → QAX_FORWARD: ${rule} (iptables-nft, filter table, rule 1), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'iptables-nft', table: 'filter', chain: 'QAX_FORWARD', rule, number: '1' },
      },
    },
  ]);
});

test('a chain that nothing known makes, and that drops only what the cluster does not need', () => {
  expect(findingsOf(foreignFirewall, 'unidentified-chain-harmless')).toEqual([
    {
      ...risk,
      summary:
        'An unidentified firewall (chain QAX_INPUT) is active on node-2; its rules let pass everything that the cluster needs',
      advice: CARE,
      evidence: [{ where: 'node-2', source: 'iptables-nft-save -c', text: 'chains QAX_INPUT' }],
    },
  ]);
});

test.for([
  'firewalld',
  'firewalld-iptables',
  'firewalld-trusted',
  'ufw',
  'ufw-disabled',
  'unidentified-chain',
  'unidentified-chain-harmless',
])('nobody is accused twice: %s', (name) => {
  expect(findingsOf(filterRuleDrops, name)).toEqual([]);
});

test('the rules decide; that processes cannot be listed changes nothing but the evidence', () => {
  const given = filterEvidence(fixtures, 'firewalld-trusted', 'node-2');
  const listed = foreignFirewall.parse(given);
  const hidden = foreignFirewall.parse({ ...given, processes: evidence(['ps'], '', { exitCode: null, fault: 'not-found' }) });
  expect([listed, hidden]).toMatchObject([
    { outcome: 'ok', facts: { running: ['firewalld'] } },
    { outcome: 'ok', facts: { running: null } },
  ]);
});

test('rules that cannot be read are unknown; a kernel without a packet filter has no firewall', () => {
  const given = filterEvidence(fixtures, 'healthy', 'node-2');
  const none = evidence(['nft', '-j', 'list', 'ruleset'], '', { exitCode: 1, stderr: 'Protocol not supported' });
  expect([
    foreignFirewall.parse({ ...given, nft: { ...given.nft, truncated: true, exitCode: null } }),
    foreignFirewall.parse({ ...given, legacy: evidence(['iptables-legacy-save', '-c'], 'Segmentation fault') }),
    foreignFirewall.parse({ ...given, nft: none, iptablesNft: none }),
  ]).toEqual([
    { outcome: 'unknown', reason: `nft -j list ruleset: output was cut at ${given.nft.stdout.length} bytes` },
    { outcome: 'unknown', reason: 'iptables-legacy-save -c: unreadable output (line 1 is outside every table)' },
    { outcome: 'unsupported', reason: 'this kernel has no packet filter' },
  ]);
});
