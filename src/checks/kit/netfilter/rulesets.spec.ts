import { expect, test } from 'vitest';
import { parseIptablesSave } from './iptables-save.ts';
import { parseNft } from './nft.ts';
import { joinTables, parseNetdevChains } from './rulesets.ts';

test('the devices of chains, one or several; a chain without a hook has none', () => {
  const text = `table netdev e {
	chain c {
		type filter hook ingress device "eth0" priority filter; policy accept;
	}
	chain d {
		type filter hook ingress devices = { cni0, eth0 } priority filter; policy accept;
	}
	chain u {
	}
}
`;
  expect([...parseNetdevChains(text)]).toEqual([
    ['e c', ['eth0']],
    ['e d', ['cni0', 'eth0']],
  ]);
});

test('a table that both tools print is taken from iptables-nft, one that it refuses or does not know from nft', () => {
  const table = (family: string, name: string) => ({ table: { family, name, handle: 1 } });
  const nft = parseNft(
    JSON.stringify({ nftables: [table('ip', 'filter'), table('ip', 'nat'), table('ip6', 'filter'), table('inet', 'fw')] }),
  );
  const saved = parseIptablesSave(
    "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n# Table `nat' is incompatible, use 'nft' tool.\n",
    'iptables-nft',
  );
  expect(joinTables(saved, nft).map(({ system, family, name }) => `${system} ${family} ${name}`)).toEqual([
    'iptables-nft ip filter',
    'nft ip nat',
    'nft ip6 filter',
    'nft inet fw',
  ]);
});
