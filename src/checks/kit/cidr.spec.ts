import { expect, test } from 'vitest';
import { addressAt, complementOf, createIsWithin, familyOf, firstIPv4, isWithin } from './cidr.ts';

test.for<[string, string, boolean]>([
  ['172.27.2.0', '172.27.2.0/24', true],
  ['172.27.2.255', '172.27.2.0/24', true],
  ['172.27.3.0', '172.27.2.0/24', false],
  ['172.27.1.255', '172.27.2.0/24', false],
  ['172.27.2.77', '172.27.2.99/24', true],
  ['10.0.0.1', '10.0.0.1', true],
  ['10.0.0.2', '10.0.0.1', false],
  ['10.0.0.1', '10.0.0.1/32', true],
  ['255.255.255.255', '0.0.0.0/0', true],
  ['fd00::1', 'fd00::/64', true],
  ['fd00:0:0:1::', 'fd00::/64', false],
  ['fd00::1', '0.0.0.0/0', false],
  ['10.0.0.1', '::/0', false],
])('%s in %s: %s', ([address, block, expected]) => {
  expect([isWithin(address, block), createIsWithin()(address, block)]).toEqual([expected, expected]);
});

test('one that remembers answers the same again', () => {
  const remembering = createIsWithin();
  const asked = (): boolean[] => ['10.0.0.1', '10.1.0.1'].map((address) => remembering(address, '10.0.0.0/16'));
  expect([asked(), asked()]).toEqual([
    [true, false],
    [true, false],
  ]);
});

test.for(['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/x', '10.0.0.0/', '10.0.0.0/1.5', 'fd00::/129', 'node-1'])(
  '%s is no prefix',
  (block) => {
    expect(() => isWithin('10.0.0.1', block)).toThrow(Error);
  },
);

test.for<[string, number, string]>([
  ['172.27.2.0/24', 0, '172.27.2.0'],
  ['172.27.2.77/24', 1, '172.27.2.1'],
  ['10.0.0.0/8', 256, '10.0.1.0'],
  ['10.0.0.255/32', 0, '10.0.0.255'],
  ['255.255.255.0/24', 255, '255.255.255.255'],
])('the address of %s at %i is %s', ([block, index, address]) => {
  expect(addressAt(block, index)).toBe(address);
});

test('IPv6 prefixes are not counted through', () => {
  expect(() => addressAt('fd00::/64', 1)).toThrow('fd00::/64 is not an IPv4 prefix');
});

test('families', () => {
  expect([
    familyOf('10.0.0.1'),
    familyOf('fd00::/64'),
    firstIPv4(['fd00::/64', '10.0.0.0/24']),
    firstIPv4(['fd00::/64']),
  ]).toEqual([4, 6, '10.0.0.0/24', null]);
});

test('what is outside a prefix, in as few prefixes as there are', () => {
  expect(complementOf('10.1.0.0/3')).toEqual(['128.0.0.0/1', '64.0.0.0/2', '32.0.0.0/3']);
  expect(complementOf('0.0.0.0/0')).toEqual([]);
  const outside = complementOf('172.27.2.0/24');
  const held = (ip: string): number => outside.filter((block) => isWithin(ip, block)).length;
  expect(['172.27.2.0', '172.27.2.255', '172.27.1.255', '172.27.3.0', '0.0.0.0', '255.255.255.255'].map(held)).toEqual([
    0, 0, 1, 1, 1, 1,
  ]);
});
