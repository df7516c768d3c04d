import { expect, test } from 'vitest';
import { capturedInventory, evidence, filterEvidence, NODES } from '../../../../test/filter-evidence.ts';
import type { Evidence } from '../../../model/evidence.ts';
import type { Inventory, NetworkPolicy } from '../../../model/inventory.ts';
import type { Draft, Probed } from '../../kit/check.ts';
import type { FilterFacts } from '../../kit/netfilter/facts.ts';
import { filterRuleDrops } from './index.ts';

const fixtures = new URL('./fixtures/', import.meta.url);

type Given = {
  readonly inventory?: Inventory;
  readonly probed?: readonly Probed[];
  readonly over?: Partial<ReturnType<typeof filterEvidence>>;
};

/** What the check finds on the captured cluster, with one node as in the case. */
function findingsIn(name: string, { inventory = capturedInventory(), probed = [], over = {} }: Given = {}): readonly Draft[] {
  const facts = new Map<string, FilterFacts>();
  for (const node of NODES) {
    const parsed = filterRuleDrops.parse({ ...filterEvidence(fixtures, name, node), ...(node === 'node-2' ? over : {}) });
    if (parsed.outcome !== 'ok') throw new Error(`${node}: ${parsed.outcome}`);
    facts.set(node, parsed.facts);
  }
  return filterRuleDrops.evaluate(facts, { inventory, probed }, {});
}

/** Something that node-2 was sent got no answer. */
const MISSED = {
  probe: {
    expect: 'reach',
    method: 'ping',
    packet: { proto: 'icmp', src: '10.28.87.59', dst: '10.28.87.60', state: 'new' },
    from: { node: 'node-1', pod: null, ip: '10.28.87.59' },
    to: { node: 'node-2', ip: '10.28.87.60' },
  } as unknown as Probed['probe'],
  result: { status: 'fail' } as Probed['result'],
};

/** The evidence of a node in which every rule has counted packets. */
const counting = (item: Evidence): Evidence => ({
  ...item,
  stdout: item.stdout.replaceAll(/^\[0:0\]/gm, '[7:420]').replaceAll(/"packets": ?0/g, '"packets": 7'),
});

const node2 = { kind: 'Node', name: 'node-2' } as const;
const certain = { code: 'filter-rule-drops', entity: node2, severity: 'critical', certainty: 'certain', partial: false } as const;
const DELETE =
  'Delete the rule, and find what put it there (a script, configuration management, rules that are loaded at boot): it comes back with the next run of that.';

test.for(['healthy', 'docker-beside', 'kube-proxy-nftables'])('nothing is wrong: %s', (name) => {
  expect(findingsIn(name)).toEqual([]);
});

test('a REJECT ahead of everything in FORWARD of iptables-nft', () => {
  const rule = '-A FORWARD -j REJECT --reject-with icmp-host-prohibited';
  expect(findingsIn('reject-in-forward-iptables-nft')).toEqual([
    {
      ...certain,
      at: [{ place: 'node/node-2', point: 'forward' }],
      harms: [{}],
      summary: `FORWARD on node-2 rejects every packet that it forwards: ${rule} (iptables-nft, filter table, rule 1)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `${rule} (iptables-nft, filter table, rule 1), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'iptables-nft', table: 'filter', chain: 'FORWARD', rule, number: '1' },
      },
    },
  ]);
});

test('a REJECT in iptables-legacy, where kube-proxy’s rules are in iptables-nft', () => {
  const rule = '-A FORWARD -j REJECT --reject-with icmp-host-prohibited';
  expect(findingsIn('reject-in-forward-legacy')).toEqual([
    {
      ...certain,
      at: [{ place: 'node/node-2', point: 'forward' }],
      harms: [{}],
      summary: `FORWARD on node-2 rejects every packet that it forwards: ${rule} (iptables-legacy, filter table, rule 1)`,
      advice: `${DELETE} kube-proxy's rules are in iptables-nft and this one is in iptables-legacy: \`iptables -L\` on the node shows only one of the two.`,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-legacy-save -c',
          text: `${rule} (iptables-legacy, filter table, rule 1), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'legacy', table: 'filter', chain: 'FORWARD', rule, number: '1' },
      },
    },
  ]);
});

test('a native table that lets established connections pass and drops what comes out of the tunnel', () => {
  const rule = 'iifname "flannel.1" oifname "cni0" counter drop';
  expect(findingsIn('drop-in-native-table')).toEqual([
    {
      ...certain,
      at: [{ place: 'node/node-2', point: 'forward', iif: 'flannel.1', oif: 'cni0' }],
      harms: [{ state: 'new' }],
      summary: `Chain forward of table inet hardening on node-2 drops packets to its pods: ${rule} (nft, table inet hardening, chain forward, handle 3)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'nft -j list ruleset',
          text: `${rule} (nft, table inet hardening, chain forward, handle 3), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'nft', table: 'inet hardening', chain: 'forward', rule, handle: '3' },
      },
    },
  ]);
});

test('the tunnel’s port in INPUT', () => {
  const rule = '-A INPUT -i eth0 -p udp -m udp --dport 8472 -j DROP';
  expect(findingsIn('drop-vxlan-in-input')).toEqual([
    {
      ...certain,
      at: [{ place: 'node/node-2', point: 'input', iif: 'eth0' }],
      harms: [{ proto: 'udp', dport: 8472 }],
      summary: `INPUT on node-2 drops VXLAN packets (UDP 8472) from other nodes to the node itself: ${rule} (iptables-nft, filter table, rule 1)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `${rule} (iptables-nft, filter table, rule 1), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'iptables-nft', table: 'filter', chain: 'INPUT', rule, number: '1' },
      },
    },
  ]);
});

test('filtered pings are told, but are no reason for alarm', () => {
  const rule = '-A INPUT -p icmp -m icmp --icmp-type 8 -j DROP';
  expect(findingsIn('drop-icmp-in-input')).toEqual([
    {
      ...certain,
      severity: 'info',
      at: [{ place: 'node/node-2', point: 'input' }],
      harms: [{ state: 'new', proto: 'icmp' }],
      summary: `INPUT on node-2 drops ICMP packets to the node itself: ${rule} (iptables-nft, filter table, rule 1)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `${rule} (iptables-nft, filter table, rule 1), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'iptables-nft', table: 'filter', chain: 'INPUT', rule, number: '1' },
      },
    },
  ]);
});

test('a policy that drops what no rule accepts; it is no rule to delete', () => {
  expect(findingsIn('drop-policy-of-input')).toEqual([
    {
      ...certain,
      at: [{ place: 'node/node-2', point: 'input', iif: 'eth0' }],
      harms: [{ state: 'new', proto: 'udp' }],
      summary:
        'The policy of INPUT on node-2 drops VXLAN packets (UDP 8472) from other nodes to the node itself: -P INPUT DROP (iptables-nft, filter table, policy)',
      advice: 'Let INPUT accept what the cluster needs, or set its policy to accept.',
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: '-P INPUT DROP (iptables-nft, filter table, policy), 0 packets so far',
        },
      ],
    },
  ]);
});

test('a rule that drops by chance loses some packets', () => {
  const rule = '-A FORWARD -p tcp -m statistic --mode random --probability 0.20000000019 -j DROP';
  expect(findingsIn('random-drop-in-forward')).toEqual([
    {
      ...certain,
      severity: 'warning',
      partial: true,
      at: [{ place: 'node/node-2', point: 'forward' }],
      harms: [{ proto: 'tcp' }],
      summary: `FORWARD on node-2 drops some of the TCP packets between its pods, between its pods and pods on other nodes and 2 more ways: ${rule} (iptables-nft, filter table, rule 1)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `${rule} (iptables-nft, filter table, rule 1), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'iptables-nft', table: 'filter', chain: 'FORWARD', rule, number: '1' },
      },
    },
  ]);
});

test('a list that no rule listing shows makes a suspect, not a culprit', () => {
  const rule = '-A FORWARD -m recent --rcheck --name blocked --mask 255.255.255.255 --rsource -j DROP';
  const iptablesNft = counting(filterEvidence(fixtures, 'blocklist-in-forward', 'node-2').iptablesNft);
  expect(findingsIn('blocklist-in-forward', { probed: [MISSED], over: { iptablesNft } })).toEqual([
    {
      ...certain,
      severity: 'info',
      certainty: 'suspect',
      at: [{ place: 'node/node-2', point: 'forward' }],
      harms: [{}],
      summary: `FORWARD on node-2 may drop every packet that it forwards: ${rule} (iptables-nft, filter table, rule 1)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `${rule} (iptables-nft, filter table, rule 1), 7 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'iptables-nft', table: 'filter', chain: 'FORWARD', rule, number: '1' },
      },
    },
  ]);
  // Where nothing is missed it does what it is for; what has never counted a packet has eaten none.
  expect(findingsIn('blocklist-in-forward', { over: { iptablesNft } })).toEqual([]);
  expect(findingsIn('blocklist-in-forward', { probed: [MISSED] })).toEqual([]);
});

test('one port of one pod, in the mangle table: nothing else is accused', () => {
  const rule = '-A FORWARD -d 172.27.1.5/32 -p udp -m udp --dport 53 -j DROP';
  expect(findingsIn('drop-dns-to-one-pod')).toEqual([
    {
      ...certain,
      at: [{ place: 'node/node-2', point: 'forward', iif: 'cni0', oif: 'flannel.1' }],
      harms: [{ proto: 'udp', dport: 53, dst: '172.27.1.5' }],
      summary: `FORWARD on node-2 drops UDP to port 53 from its pods to pods on other nodes: ${rule} (iptables-nft, mangle table, rule 1)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `${rule} (iptables-nft, mangle table, rule 1), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'iptables-nft', table: 'mangle', chain: 'FORWARD', rule, number: '1' },
      },
    },
  ]);
});

test('a native rule in a table of iptables, which iptables-nft-save then refuses to print', () => {
  const rule = 'ip saddr 172.27.2.0/24 tcp dport { 8080, 9153 } counter reject with tcp reset';
  expect(findingsIn('native-rule-in-iptables-table')).toEqual([
    {
      ...certain,
      at: [
        { place: 'node/node-2', point: 'forward', iif: 'cni0', oif: 'cni0' },
        { place: 'node/node-2', point: 'forward', iif: 'cni0', oif: 'flannel.1' },
      ],
      harms: [
        { proto: 'tcp', dport: 8080, src: '172.27.2.0/24' },
        { proto: 'tcp', dport: 9153, src: '172.27.2.0/24' },
      ],
      summary: `Chain FORWARD of table ip filter on node-2 rejects TCP packets from its pods: ${rule} (nft, table ip filter, chain FORWARD, handle 34)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'nft -j list ruleset',
          text: `${rule} (nft, table ip filter, chain FORWARD, handle 34), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'nft', table: 'ip filter', chain: 'FORWARD', rule, handle: '34' },
      },
    },
  ]);
});

test('kube-proxy in iptables-legacy accepts, the policy of iptables-nft drops all the same', () => {
  expect(findingsIn('kube-proxy-in-legacy')).toEqual([
    {
      ...certain,
      at: [{ place: 'node/node-2', point: 'forward' }],
      harms: [{}],
      summary:
        'The policy of FORWARD on node-2 drops every packet that it forwards: -P FORWARD DROP (iptables-nft, filter table, policy)',
      advice:
        "Let FORWARD accept what the cluster needs, or set its policy to accept. kube-proxy's rules are in iptables-legacy and this one is in iptables-nft: `iptables -L` on the node shows only one of the two.",
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: '-P FORWARD DROP (iptables-nft, filter table, policy), 0 packets so far',
        },
      ],
    },
  ]);
});

test('a bridge rule between pods of one node does not accuse what comes from elsewhere', () => {
  const rule = 'ip daddr 172.27.2.3 counter drop';
  expect(findingsIn('drop-in-bridge-table')).toEqual([
    {
      ...certain,
      at: [{ place: 'node/node-2', point: 'bridge', dev: 'cni0' }],
      harms: ['172.27.2.2', '172.27.2.4', '172.27.2.6'].map((src) => ({ dst: '172.27.2.3', src })),
      summary: `Chain forward of table bridge isolation on node-2 drops packets between its pods: ${rule} (nft, table bridge isolation, chain forward, handle 2)`,
      advice: DELETE,
      evidence: [
        {
          where: 'node-2',
          source: 'nft -j list ruleset',
          text: `${rule} (nft, table bridge isolation, chain forward, handle 2), 0 packets so far`,
        },
      ],
      remedy: {
        id: 'delete-filter-rule',
        node: 'node-2',
        params: { system: 'nft', table: 'bridge isolation', chain: 'forward', rule, handle: '2' },
      },
    },
  ]);
});

test('a rule on a device is certain where the device is known, and a suspect where it is not', () => {
  const rule = 'udp dport 8472 counter drop';
  const where = 'nft, table netdev edge, chain in';
  const found = {
    ...certain,
    at: [{ place: 'node/node-2', point: 'dev', dev: 'eth0', dir: 'in' }],
    harms: [{ proto: 'udp', dport: 8472 }],
    summary: `Chain in of table netdev edge on node-2 drops VXLAN packets (UDP 8472) from other nodes to the node itself: ${rule} (${where}, handle 2)`,
    advice: DELETE,
    evidence: [{ where: 'node-2', source: 'nft -j list ruleset', text: `${rule} (${where}, handle 2), 0 packets so far` }],
    remedy: {
      id: 'delete-filter-rule',
      node: 'node-2',
      params: { system: 'nft', table: 'netdev edge', chain: 'in', rule, handle: '2' },
    },
  };
  expect(findingsIn('drop-on-ingress')).toEqual([found]);
  const netdevChains = evidence(['nft', 'list', 'chains', 'netdev'], '', { exitCode: null, fault: 'timeout' });
  const nft = counting(filterEvidence(fixtures, 'drop-on-ingress', 'node-2').nft);
  expect(findingsIn('drop-on-ingress', { over: { netdevChains } })).toEqual([]);
  expect(findingsIn('drop-on-ingress', { probed: [MISSED], over: { nft, netdevChains } })).toEqual([
    {
      ...found,
      severity: 'info',
      certainty: 'suspect',
      summary: found.summary.replace('drops', 'may drop'),
      evidence: [
        ...found.evidence.map((item) => ({ ...item, text: item.text.replace('0 packets', '7 packets') })),
        { where: 'node-2', source: 'nft -j list ruleset', text: `cannot be judged from here: policy accept (${where}, policy)` },
      ],
    },
  ]);
});

test('rules that enforce a NetworkPolicy are as they should be; without the policy they are the CNI’s fault', () => {
  const inventory = capturedInventory();
  const policy: NetworkPolicy = { namespace: 'default', name: 'default-deny', podSelector: {}, ingress: [], egress: null };
  expect(findingsIn('network-policy', { inventory: { ...inventory, policies: [policy] } })).toEqual([]);
  const rule = '-A KUBE-POD-FW-AAAAAAAAAAAAAAAA -m mark ! --mark 0x10000/0x10000 -j REJECT --reject-with icmp-port-unreachable';
  expect(findingsIn('network-policy')).toEqual([
    {
      ...certain,
      at: [
        { place: 'node/node-2', point: 'forward', iif: 'cni0', oif: 'cni0' },
        { place: 'node/node-2', point: 'forward', iif: 'flannel.1', oif: 'cni0' },
      ],
      harms: [
        { state: 'new', dst: '172.27.2.2' },
        { state: 'new', dst: '172.27.2.3' },
      ],
      summary: `Chain KUBE-POD-FW-AAAAAAAAAAAAAAAA on node-2 rejects packets to its pods: ${rule} (iptables-nft, filter table, rule 4)`,
      advice:
        'Kubernetes or the CNI keeps this chain and would write the rule again: look at the component that does (kube-proxy, the CNI’s agent) on this node.',
      evidence: [
        {
          where: 'node-2',
          source: 'iptables-nft-save -c',
          text: `reached through FORWARD → KUBE-ROUTER-FORWARD → KUBE-POD-FW-AAAAAAAAAAAAAAAA: ${rule} (iptables-nft, filter table, rule 4), 0 packets so far`,
        },
      ],
    },
  ]);
});

test('without br_netfilter, pods of one node reach each other past FORWARD, and only what is routed is accused', () => {
  const missing = evidence(['cat', '/proc/sys/net/bridge/bridge-nf-call-iptables'], '', {
    exitCode: 1,
    stderr: 'cat: /proc/sys/net/bridge/bridge-nf-call-iptables: No such file or directory',
  });
  expect(findingsIn('reject-in-forward-legacy', { over: { bridgeCalls: missing } })).toMatchObject([
    {
      at: [
        { place: 'node/node-2', point: 'forward', iif: 'cni0', oif: 'flannel.1' },
        { place: 'node/node-2', point: 'forward', iif: 'flannel.1', oif: 'cni0' },
        { place: 'node/node-2', point: 'forward', iif: 'cni0', oif: 'eth0' },
        { place: 'node/node-2', point: 'forward', iif: 'eth0', oif: 'cni0' },
      ],
      harms: [{}],
    },
  ]);
});

test('what only the run itself expects to reach counts as must-work where an answer is missed', () => {
  const over = {
    iptablesNft: evidence(
      ['iptables-nft-save', '-c'],
      '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n[7:420] -A INPUT -p udp -m udp --dport 40123 -j DROP\nCOMMIT\n',
    ),
  };
  const packet = { proto: 'udp', src: '10.28.87.59', dst: '10.28.87.60', dport: 40123, state: 'new' } as const;
  const ways = { from: { node: 'node-1', pod: null, ip: packet.src }, to: { node: 'node-2', ip: packet.dst } };
  const sent = (method: 'udp' | 'ping', status: 'pass' | 'fail') => ({
    probe: { expect: 'reach', method, packet, ...ways } as Probed['probe'],
    result: { status } as Probed['result'],
  });
  const probed = [sent('udp', 'fail'), sent('ping', 'fail')];
  expect(findingsIn('healthy', { over })).toEqual([]);
  expect(findingsIn('healthy', { over, probed: [sent('udp', 'fail'), sent('ping', 'pass')] })).toEqual([]);
  expect(findingsIn('healthy', { over, probed })).toMatchObject([
    {
      severity: 'info',
      at: ['eth0', 'cni0'].map((iif) => ({ place: 'node/node-2', point: 'input', iif })),
      harms: [{ proto: 'udp', dport: 40123 }],
    },
  ]);
});

const parseNode2 = (over: Partial<Record<'legacy' | 'iptablesNft' | 'nft' | 'links' | 'bridgeCalls', Evidence>>) =>
  filterRuleDrops.parse({ ...filterEvidence(fixtures, 'healthy', 'node-2'), ...over });

test('a kernel without any packet filter', () => {
  const none = (argv: readonly string[], stderr: string): Evidence => evidence(argv, '', { exitCode: 1, stderr });
  expect(
    parseNode2({
      iptablesNft: none(['iptables-nft-save', '-c'], 'iptables-nft-save/1.8.9 Failed to initialize nft: Protocol not supported'),
      nft: none(['nft', '-j', 'list', 'ruleset'], 'netlink: Error: cache initialization failed: Protocol not supported'),
    }),
  ).toEqual({ outcome: 'unsupported', reason: 'this kernel has no packet filter' });
});

test('a kernel without nftables still has what iptables-legacy shows', () => {
  const stderr = 'netlink: Error: cache initialization failed: Protocol not supported';
  const absent = (argv: readonly string[]): Evidence => evidence(argv, '', { exitCode: 1, stderr });
  const over = { iptablesNft: absent(['iptables-nft-save', '-c']), nft: absent(['nft', '-j', 'list', 'ruleset']) };
  expect(findingsIn('reject-in-forward-legacy', { over }).map(({ summary }) => summary)).toEqual([
    'FORWARD on node-2 rejects every packet that it forwards: -A FORWARD -j REJECT --reject-with icmp-host-prohibited (iptables-legacy, filter table, rule 1)',
  ]);
});

test('what cannot be read is unknown, never healthy', () => {
  const { iptablesNft, nft } = filterEvidence(fixtures, 'healthy', 'node-2');
  const half = (whole: Evidence): Evidence => ({ ...whole, stdout: whole.stdout.slice(0, whole.stdout.length / 2) });
  expect([
    parseNode2({ iptablesNft: half(iptablesNft) }),
    parseNode2({ iptablesNft: { ...half(iptablesNft), truncated: true, exitCode: null } }),
    parseNode2({ nft: half(nft) }),
    parseNode2({ nft: evidence(nft.argv, '{"tables": []}') }),
    parseNode2({ legacy: evidence(['iptables-legacy-save', '-c'], 'iptables: command garbled\n') }),
    parseNode2({ legacy: evidence(['iptables-legacy-save', '-c'], '', { exitCode: null, fault: 'timeout', durationMs: 4000 }) }),
    parseNode2({ nft: evidence(nft.argv, '', { exitCode: 1, stderr: 'Operation not permitted (you must be root)\n' }) }),
    parseNode2({ iptablesNft: { ...half(iptablesNft), exitCode: 1, stderr: 'Operation not supported' } }),
    parseNode2({ links: evidence(['ip', 'address'], '[') }),
    parseNode2({ bridgeCalls: evidence(['cat', '/proc/x'], 'yes\n') }),
    parseNode2({
      bridgeCalls: evidence(['cat', '/proc/x'], '', { exitCode: null, fault: 'denied', stderr: 'Permission denied' }),
    }),
  ]).toEqual(
    [
      'iptables-nft-save -c: unreadable output (table nat has no COMMIT)',
      'iptables-nft-save -c: output was cut at 5379 bytes',
      expect.stringMatching(/^nft -j list ruleset: unreadable output \(.+\)$/),
      expect.stringMatching(/^nft -j list ruleset: unreadable output \(.+\)$/),
      'iptables-legacy-save -c: unreadable output (line 1 is outside every table)',
      'iptables-legacy-save -c: no end after 4000 ms',
      'nft -j list ruleset: exit status 1, Operation not permitted (you must be root)',
      'iptables-nft-save -c: exit status 1, Operation not supported',
      expect.stringMatching(/^ip address: unreadable output \(.+\)$/),
      'cat /proc/x: unreadable output',
      'cat /proc/x: permission denied',
    ].map((reason) => ({ outcome: 'unknown', reason })),
  );
});
