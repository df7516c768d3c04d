import { expect, test } from 'vitest';
import { vendorOf } from './vendor.ts';

test('a card is told by the longest prefix that the IEEE has assigned', () => {
  expect(vendorOf('00:50:56:9a:3f:01')).toBe('VMware, Inc.');
  expect(vendorOf('00:1b:c5:00:10:01')).toBe('OpenRB.com, Direct SIA');
});

test('an address that software made up is told by who makes such, or that nobody can tell', () => {
  expect(vendorOf('02:42:ac:11:00:02')).toBe('as Docker makes them');
  expect(vendorOf('0a:58:0a:1c:00:02')).toBe('as CNI plugins make them for pods');
  expect(vendorOf('52:54:00:12:34:56')).toBe('as QEMU/KVM makes them');
  expect(vendorOf('02:00:0a:1c:57:3d')).toBe('locally administered, no vendor');
});

test('nothing is said of a prefix that nobody has', () => {
  expect(vendorOf('fc:ff:ff:ff:ff:ff')).toBeNull();
  // The authority keeps the prefix that it divides into smaller blocks.
  expect(vendorOf('70:b3:d5:00:00:01')).toBeNull();
});
