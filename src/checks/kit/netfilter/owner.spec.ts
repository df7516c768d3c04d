import { expect, test } from 'vitest';
import { parseIptablesSave } from './iptables-save.ts';
import { firewallsOf, keeperOf, ownerOf } from './owner.ts';

const iptables = (lines: string) => parseIptablesSave(`*filter\n${lines}\nCOMMIT\n`, 'legacy').tables;
const chain = (name: string) => ({ name, base: null });

test.for([
  [
    'cluster',
    [
      'KUBE-SERVICES',
      'KUBE-ROUTER-INPUT',
      'CNI-HOSTPORT-DNAT',
      'DOCKER-USER',
      'FLANNEL-FWD',
      'CILIUM_FORWARD',
      'cali-FORWARD',
      'WEAVE-NPC',
    ],
  ],
  ['unidentified', ['LOGDROP', 'QAX_INPUT']],
] as const)('iptables chains: %s', ([kind, names]) => {
  expect(names.map((name) => ownerOf({ system: 'legacy', name: 'filter' }, chain(name)))).toEqual(names.map(() => ({ kind })));
});

test.for([
  ['firewalld', ['FORWARD_IN_ZONES', 'FORWARD_IN_ZONES_SOURCE', 'INPUT_direct', 'FWDI_public_allow', 'IN_public', 'POST_docker']],
  ['ufw', ['ufw-before-input', 'ufw6-user-input']],
  ['fail2ban', ['f2b-sshd']],
] as const)('iptables chains of %s', ([name, names]) => {
  expect(names.map((of) => ownerOf({ system: 'iptables-nft', name: 'filter' }, chain(of)))).toEqual(
    names.map(() => ({ kind: 'firewall', name })),
  );
});

test('nft tables tell their keeper by the name of the table; a table that nobody is known to make is hand-made', () => {
  const names = ['firewalld', 'kube-proxy', 'flannel-ipv4', 'crowdsec', 'filter', 'hardening'];
  expect(names.map((name) => ownerOf({ system: 'nft', name }, chain('input')))).toEqual([
    { kind: 'firewall', name: 'firewalld' },
    { kind: 'cluster' },
    { kind: 'cluster' },
    { kind: 'firewall', name: 'CrowdSec' },
    { kind: 'built-in' },
    { kind: 'built-in' },
  ]);
});

const old = iptables(`:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:FORWARD_IN_ZONES - [0:0]
:FWDI_public - [0:0]
-A INPUT -j DROP
-A FORWARD -s 10.9.9.9/32 -j DROP
-A FORWARD -j FORWARD_IN_ZONES
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
-A FORWARD_IN_ZONES -g FWDI_public
-A FWDI_public -p icmp -j ACCEPT`);

function keeperOfRule(chainName: string, number: number | null): string | null {
  const rule = old[0]?.chains.find(({ name }) => name === chainName)?.rules[(number ?? 0) - 1];
  const ref = {
    system: 'legacy',
    family: 'ip',
    table: 'filter',
    chain: chainName,
    text: rule?.text ?? '',
    policy: number === null,
  } as const;
  return keeperOf(old, number === null ? ref : { ...ref, number });
}

test('a built-in chain’s verdict belongs to the firewall whose chains it calls before; what stands ahead of them is somebody else’s', () => {
  expect([
    keeperOfRule('FORWARD', 1),
    keeperOfRule('FORWARD', 3),
    keeperOfRule('FORWARD', null),
    keeperOfRule('INPUT', 1),
    keeperOfRule('FWDI_public', 1),
  ]).toEqual([null, 'firewalld', 'firewalld', null, 'firewalld']);
});

test('firewalls that are active: with rules, and, if unidentified, where a packet comes to them and can be eaten', () => {
  expect(firewallsOf(old)).toEqual([{ name: 'firewalld', system: 'legacy', chains: ['FORWARD_IN_ZONES', 'FWDI_public'] }]);
  const others = iptables(`:INPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:LOGDROP - [0:0]
:NEVER - [0:0]
:COUNT - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -p tcp -m tcp --dport 23 -j LOGDROP
-A INPUT -j COUNT
-A LOGDROP -j LOG
-A LOGDROP -j DROP
-A NEVER -j DROP
-A COUNT -j RETURN`);
  expect(firewallsOf(others)).toEqual([{ name: 'unidentified', system: 'legacy', chains: ['LOGDROP'] }]);
});
