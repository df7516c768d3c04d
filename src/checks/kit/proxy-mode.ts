import type { Evidence } from '../../model/evidence.ts';
import { type EvidenceOf, incomplete, ok, type Parsed, unknown } from './check.ts';
import { type Link, parseLinks } from './links.ts';
import { ADDRESSES, RULES_IPTABLES_NFT, RULES_LEGACY, RULES_NFT } from './readings.ts';

/** How kube-proxy puts Services into the kernel. */
export type ProxyMode = 'iptables' | 'nftables' | 'ipvs';

/** What shows the mode of kube-proxy on a node. */
export const PROXY_COLLECT = {
  addresses: ADDRESSES,
  legacy: RULES_LEGACY,
  iptablesNft: RULES_IPTABLES_NFT,
  nft: RULES_NFT,
} as const;

/**
 * The modes whose traces are on a node, usually one; none where kube-proxy does not run, as with Cilium's replacement. A
 * mode is known by what it alone writes: chains KUBE-SVC-… and KUBE-SEP-… (iptables; IPVS mode writes other KUBE chains), a
 * table `kube-proxy` of nftables, the device kube-ipvs0 with the addresses of the Services. Source: kubernetes,
 * pkg/proxy/{iptables,nftables,ipvs}/proxier.go.
 */
export function parseProxyModes(evidence: EvidenceOf<typeof PROXY_COLLECT>): Parsed<readonly ProxyMode[]> {
  const links = parseLinks(evidence.addresses);
  if (links.outcome !== 'ok') return links;
  const { legacy, iptablesNft, nft } = evidence;
  for (const [item, isReadable] of [
    [legacy, SAVE],
    [iptablesNft, SAVE],
    [nft, NFT],
  ] as const) {
    const gap = isAbsent(item) ? null : incomplete(item);
    if (gap !== null) return unknown(gap);
    if (!isAbsent(item) && !isReadable(item.stdout)) return unknown(`${item.argv.join(' ')}: unreadable output`);
  }
  const modes: ProxyMode[] = [];
  if ([legacy, iptablesNft].some(({ stdout }) => stdout.includes('\n:KUBE-SVC-'))) modes.push('iptables');
  if (NFT_TABLE.test(nft.stdout)) modes.push('nftables');
  if (hasServiceAddresses(links.facts)) modes.push('ipvs');
  return ok(modes);
}

const SAVE = (text: string): boolean => text === '' || (/^\*\w+$/m.test(text) && /^COMMIT$/m.test(text));
const NFT = (text: string): boolean => /^\{"nftables":\s*\[/.test(text);
const NFT_TABLE = /"table":\s*\{\s*"family":\s*"ip6?",\s*"name":\s*"kube-proxy"/;

function hasServiceAddresses(links: readonly Link[]): boolean {
  return links.some(({ name, addresses }) => name === 'kube-ipvs0' && addresses.length > 0);
}

/** A kernel without the system that is asked for has no rules in it. */
function isAbsent({ fault, truncated, exitCode, stdout, stderr }: Evidence): boolean {
  return (
    fault === undefined &&
    !truncated &&
    exitCode !== 0 &&
    stdout === '' &&
    /(Protocol|Operation) not supported|Address family not supported/.test(stderr)
  );
}
