import { expect, test } from 'vitest';
import { readCase } from '../../../test/fixtures.ts';
import type { Evidence } from '../../model/evidence.ts';
import { parseProxyModes } from './proxy-mode.ts';
import { ADDRESSES, RULES_IPTABLES_NFT, RULES_LEGACY, RULES_NFT, readingKey } from './readings.ts';

const items: Readonly<Record<string, Evidence>> = readCase('cluster/nodes-disagree', 'healthy').evidence[0]?.items ?? {};
const read = (reading: Parameters<typeof readingKey>[0]): Evidence => {
  const item = items[readingKey(reading)];
  if (item === undefined) throw new Error(`no ${readingKey(reading)}`);
  return item;
};
const healthy = {
  addresses: read(ADDRESSES),
  legacy: read(RULES_LEGACY),
  iptablesNft: read(RULES_IPTABLES_NFT),
  nft: read(RULES_NFT),
};
const none = { ...healthy, iptablesNft: { ...healthy.iptablesNft, stdout: '' } };
const NFT = '{"nftables": [{"metainfo": {"version": "1.1.3"}}, {"table": {"family": "ip", "name": "kube-proxy", "handle": 3}}]}';
const IPVS =
  ',{"ifname":"kube-ipvs0","flags":["NOARP"],"mtu":1500,"operstate":"DOWN","addr_info":[{"family":"inet","local":"172.26.0.1"}]}]';

test('each mode is known by what it alone writes', () => {
  const links = (stdout: string): Evidence => ({ ...healthy.addresses, stdout });
  const { stdout } = healthy.addresses;
  expect([
    parseProxyModes(healthy),
    parseProxyModes(none),
    parseProxyModes({ ...none, nft: { ...healthy.nft, stdout: NFT } }),
    parseProxyModes({ ...none, addresses: links(stdout.replace(/\]\s*$/, IPVS)) }),
    parseProxyModes({ ...none, legacy: { ...healthy.legacy, stdout: healthy.iptablesNft.stdout } }),
  ]).toEqual([['iptables'], [], ['nftables'], ['ipvs'], ['iptables']].map((facts) => ({ outcome: 'ok', facts })));
});

test('a kernel without one of the systems has no rules in it', () => {
  const absent: Evidence = { ...healthy.nft, exitCode: 1, stdout: '', stderr: 'nft: Operation not supported\n' };
  expect(parseProxyModes({ ...healthy, nft: absent })).toEqual({ outcome: 'ok', facts: ['iptables'] });
  expect(parseProxyModes({ ...healthy, nft: { ...absent, stderr: 'nft: Operation not permitted' } }).outcome).toBe('unknown');
});
