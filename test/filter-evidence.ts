import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { FILTER_COLLECT } from '../src/checks/kit/netfilter/facts.ts';
import { PROCESS_NAMES } from '../src/checks/kit/readings.ts';
import type { Evidence } from '../src/model/evidence.ts';
import { Inventory } from '../src/model/inventory.ts';

/*
 * The captured output that the checks of packet filters are tested with: `fixtures/CASE/NODE/` of either check holds one
 * file for each reading; a reading that a case has no file for is as on the healthy cluster.
 */

const HEALTHY = new URL('../src/checks/linux/filter-rule-drops/fixtures/', import.meta.url);

/** The three nodes of the captured cluster. */
export const NODES = ['node-1', 'node-2', 'node-3'] as const;

/** A piece of complete evidence, unless the rest says otherwise. */
export function evidence(argv: readonly string[], stdout: string, rest: Partial<Evidence> = {}): Evidence {
  return { argv: [...argv], exitCode: 0, stdout, stderr: '', truncated: false, startedMs: 0, durationMs: 1, ...rest };
}

/** What the API server said of the captured cluster. */
export function capturedInventory(): Inventory {
  return Inventory.parse(JSON.parse(readFileSync(new URL('inventory.json', HEALTHY), 'utf8')));
}

/** The readings of one node in one case; `fixtures` is the folder of the check that has the case. */
export function filterEvidence(fixtures: URL, name: string, node: string) {
  const read = (file: string): string => {
    const own = new URL(`${name}/${node}/${file}`, fixtures);
    const path = fileURLToPath(existsSync(own) ? own : new URL(`healthy/${node}/${file}`, HEALTHY));
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  };
  return {
    legacy: evidence(FILTER_COLLECT.legacy.argv, read('iptables-legacy-save')),
    iptablesNft: evidence(FILTER_COLLECT.iptablesNft.argv, read('iptables-nft-save')),
    nft: evidence(FILTER_COLLECT.nft.argv, read('nft.json')),
    netdevChains: evidence(FILTER_COLLECT.netdevChains.argv, read('nft-netdev-chains')),
    links: evidence(FILTER_COLLECT.links.argv, read('addresses.json')),
    bridgeCalls: evidence(['cat', ...FILTER_COLLECT.bridgeCalls.files], read('bridge-nf-call-iptables')),
    processes: evidence(PROCESS_NAMES.argv, read('ps')),
  };
}
