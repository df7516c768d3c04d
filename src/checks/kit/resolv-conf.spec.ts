import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { parseResolvConf, upstreamsOf } from './resolv-conf.ts';

// As systemd-resolved of Ubuntu 24.04 writes them.
const STUB = `==> /etc/resolv.conf <==
# This file is managed by man:systemd-resolved(8). Do not edit.
nameserver 127.0.0.53
options edns0 trust-ad
search example.internal
==> /run/systemd/resolve/resolv.conf <==
nameserver 192.0.2.10
nameserver 2001:db8::53
nameserver fe80::1%eth0
nameserver 192.0.2.11
`;

const read = (stdout: string) => parseResolvConf(evidence(['cat'], stdout));

test('reads the name servers of each file, three at most, and leaves out stubs and IPv6', () => {
  const parsed = read(STUB);
  expect(parsed).toEqual({
    outcome: 'ok',
    facts: [
      { file: '/etc/resolv.conf', nameservers: ['127.0.0.53'] },
      { file: '/run/systemd/resolve/resolv.conf', nameservers: ['192.0.2.10', '2001:db8::53', 'fe80::1'] },
    ],
  });
  expect(upstreamsOf(parsed.outcome === 'ok' ? parsed.facts : [])).toEqual(['192.0.2.10']);
});

test('a server that both files name is one', () => {
  const both = '==> /etc/resolv.conf <==\nnameserver 192.0.2.1\n==> /run/systemd/resolve/resolv.conf <==\nnameserver 192.0.2.1\n';
  const parsed = read(both);
  expect(upstreamsOf(parsed.outcome === 'ok' ? parsed.facts : [])).toEqual(['192.0.2.1']);
});

test('a node without any such file has no resolvers', () => {
  expect(read('')).toEqual({ outcome: 'ok', facts: [] });
});

test('anything else is unreadable', () => {
  expect(read('null')).toEqual({ outcome: 'unknown', reason: 'cat: unreadable output (not a file of resolvers: null)' });
});
