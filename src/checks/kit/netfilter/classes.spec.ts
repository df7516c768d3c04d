import { expect, test } from 'vitest';
import { addressKey } from './address.ts';
import { createClasses } from './classes.ts';
import { parseIptablesSave } from './iptables-save.ts';

const classesOf = (text: string) => createClasses(parseIptablesSave(text, 'legacy').tables);

test('addresses and ports that no rule tells apart are of one class', () => {
  const classes = classesOf(`*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -s 10.0.0.0/8 -j ACCEPT
-A FORWARD ! -d 10.1.0.5/32 -p tcp -m multiport --dports 80,8000:8100 -j DROP
COMMIT
`);
  const of = (ip: string): number => classes.address(addressKey(ip));
  const [outside, inside, special] = ['192.168.0.1', '10.2.0.1', '10.1.0.5'].map(of);
  expect(new Set([outside, inside, special]).size).toBe(3);
  expect(['1.1.1.1', '9.255.255.255', '11.0.0.0', 'fd00::1'].map(of)).toEqual([outside, outside, outside, outside]);
  expect(['10.0.0.0', '10.1.0.4', '10.1.0.6', '10.255.255.255'].map(of)).toEqual([inside, inside, inside, inside]);
  const ports = [79, 80, 81, 8000, 8050, 8100, 8101].map(classes.port);
  expect(ports.map((port) => ports.indexOf(port))).toEqual([0, 1, 0, 3, 3, 3, 0]);
});

test('translation tells nobody apart, except where it drops', () => {
  const nat = (target: string) => `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SEP - [0:0]
-A PREROUTING -d 172.26.0.1/32 -j KUBE-SEP
-A KUBE-SEP -s 10.0.0.5/32 ${target}
COMMIT
`;
  const same = (text: string): boolean => {
    const classes = classesOf(text);
    return classes.address(addressKey('10.0.0.5')) === classes.address(addressKey('10.0.0.6'));
  };
  expect([same(nat('-j DNAT --to-destination 10.0.0.9')), same(nat('-j DROP'))]).toEqual([true, false]);
});

test('only hooks that decide something are looked at', () => {
  const text = `*mangle
:PREROUTING ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -j MARK --set-xmark 0x1/0x1
-A POSTROUTING -j MARK --set-xmark 0x1/0x1
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -j ACCEPT
-A FORWARD -m mark --mark 0x1/0x1 -j DROP
COMMIT
`;
  expect([...classesOf(text).hooks].toSorted()).toEqual(['forward', 'prerouting']);
});
