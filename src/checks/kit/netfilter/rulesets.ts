import type { Evidence } from '../../../model/evidence.ts';
import { allParsed, type EvidenceOf, incomplete, ok, type Parsed, parseComplete, unsupported } from '../check.ts';
import { NFT_NETDEV_CHAINS, RULES_IPTABLES_NFT, RULES_LEGACY, RULES_NFT } from '../readings.ts';
import type { System, Table } from './ast.ts';
import { type IptablesSave, parseIptablesSave } from './iptables-save.ts';
import { parseNft } from './nft.ts';

/** The rules of all three systems; a check that looks at packet filters collects these. */
export const FILTER_READINGS = {
  legacy: RULES_LEGACY,
  iptablesNft: RULES_IPTABLES_NFT,
  nft: RULES_NFT,
  netdevChains: NFT_NETDEV_CHAINS,
} as const;

/** The command that a rule of each system was read by, for citing it. */
export const READ_BY: Readonly<Record<System, string>> = {
  legacy: RULES_LEGACY.argv.join(' '),
  'iptables-nft': RULES_IPTABLES_NFT.argv.join(' '),
  nft: RULES_NFT.argv.join(' '),
};

/** What the tools say on a kernel without the system that they ask for. Source: iptables nft.c, nftables mnl.c. */
const NOT_IN_KERNEL = /(Protocol|Operation) not supported|Address family not supported/;

/**
 * All tables of a node. A system that the kernel does not have holds no rules; without any of them the node has no packet
 * filter (`unsupported`). If one of the three cannot be read, nothing can be said of a packet, and the outcome is `unknown`.
 */
export function parseRulesets(evidence: EvidenceOf<typeof FILTER_READINGS>): Parsed<readonly Table[]> {
  const none: IptablesSave = { tables: [], incompatible: [] };
  const read = allParsed({
    legacy: readSystem(evidence.legacy, (stdout) => parseIptablesSave(stdout, 'legacy'), none),
    iptablesNft: readSystem(evidence.iptablesNft, (stdout) => parseIptablesSave(stdout, 'iptables-nft'), none),
    nft: readSystem(evidence.nft, parseNft, []),
  });
  if (read.outcome !== 'ok') return read;
  const { legacy, iptablesNft, nft } = read.facts;
  if (legacy.tables.length === 0 && isAbsent(evidence.nft) && isAbsent(evidence.iptablesNft)) {
    return unsupported('this kernel has no packet filter');
  }
  // without the names of the devices, what hangs on them stays in doubt
  const devices =
    incomplete(evidence.netdevChains) === null ? parseNetdevChains(evidence.netdevChains.stdout) : new Map<string, string[]>();
  return ok([...legacy.tables, ...joinTables(iptablesNft, withDevices(nft, devices))]);
}

/** The devices of chains, by `TABLE CHAIN`, from `nft list chains netdev`. */
export function parseNetdevChains(stdout: string): ReadonlyMap<string, readonly string[]> {
  const devices = new Map<string, string[]>();
  let [table, chain] = ['', ''];
  for (const line of stdout.split('\n')) {
    table = /^table netdev (\S+) \{/.exec(line)?.[1] ?? table;
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain;
    const names = / devices? (?:= \{ )?(.*?)(?: \})? priority /.exec(line)?.[1];
    if (names !== undefined) devices.set(`${table} ${chain}`, names.replaceAll('"', '').split(', '));
  }
  return devices;
}

function withDevices(tables: readonly Table[], devices: ReadonlyMap<string, readonly string[]>): Table[] {
  return tables.map((table) =>
    table.family !== 'netdev'
      ? table
      : {
          ...table,
          chains: table.chains.map(({ base, ...chain }) => ({
            ...chain,
            base: base && { ...base, devices: base.devices ?? devices.get(`${table.name} ${chain.name}`) ?? null },
          })),
        },
  );
}

function readSystem<F>(evidence: Evidence, read: (stdout: string) => F, none: F): Parsed<F> {
  return isAbsent(evidence) ? ok(none) : parseComplete(evidence, read);
}

export function isAbsent(evidence: Evidence): boolean {
  return (
    incomplete(evidence) !== null &&
    evidence.fault === undefined &&
    !evidence.truncated &&
    evidence.stdout === '' &&
    NOT_IN_KERNEL.test(evidence.stderr)
  );
}

/**
 * The tables of iptables-nft and of nft. Both tools show iptables-nft's tables; its own tool shows what their matches
 * compare, so that its version is taken, except for tables that it refuses to print.
 */
export function joinTables(iptablesNft: IptablesSave, nft: readonly Table[]): Table[] {
  const own = new Set(iptablesNft.tables.map((table) => table.name));
  return [...iptablesNft.tables, ...nft.filter((table) => table.family !== 'ip' || !own.has(table.name))];
}
