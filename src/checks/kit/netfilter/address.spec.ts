import { expect, test } from 'vitest';
import { addressKey, prefixSpan, spanPrefix } from './address.ts';

test('addresses become text that sorts as they do', () => {
  expect(['9.255.0.1', '10.0.0.0', '2001:db8::1'].map(addressKey)).toEqual([
    '09ff0001',
    '0a000000',
    '20010db8000000000000000000000001',
  ]);
});

test('a prefix is one span, whatever way its mask is written; a mask with holes is none', () => {
  expect(
    ['10.0.0.0/8', '10.1.2.3/255.0.0.0', '10.1.2.3', '0.0.0.0/0', '10.1.2.3/32', 'fe80::/10', '10.0.1.0/255.0.255.0'].map(
      prefixSpan,
    ),
  ).toEqual([
    ['0a000000', '0affffff'],
    ['0a000000', '0affffff'],
    ['0a010203', '0a010203'],
    ['00000000', 'ffffffff'],
    ['0a010203', '0a010203'],
    ['fe800000000000000000000000000000', 'febfffffffffffffffffffffffffffff'],
    null,
  ]);
});

test('a span is told as a prefix where it is one', () => {
  expect([
    spanPrefix(['0a000000', '0affffff']),
    spanPrefix(['0a010203', '0a010203']),
    spanPrefix(['0a000001', '0a000002']),
    spanPrefix(['00000000', 'ffffffff']),
    spanPrefix(['fe800000000000000000000000000000', 'febfffffffffffffffffffffffffffff']),
    spanPrefix([1, 2]),
  ]).toEqual(['10.0.0.0/8', '10.1.2.3', null, '0.0.0.0/0', 'fe80::/10', null]);
});

test('what is no address is refused', () => {
  expect(() => addressKey('10.0.0.256')).toThrow('neither IPv6 nor IPv4');
  expect(() => prefixSpan('10.0.0.0/33')).toThrow('/33 is no prefix length');
});
