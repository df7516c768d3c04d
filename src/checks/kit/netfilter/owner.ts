import { FIREWALLS } from '../../../model/firewalls.ts';
import type { Chain, RuleRef, System, Table } from './ast.ts';
import { calledBy, canEat, reachOf } from './reach.ts';

/**
 * Who keeps a chain: `built-in` chains and hand-made nft tables belong to whoever writes into them; `cluster` to
 * Kubernetes, a CNI or a container engine; `firewall` to a firewall of the host, by its name; `unidentified` is a chain
 * of an iptables system that nothing known makes.
 */
export type Owner =
  | { readonly kind: 'built-in' | 'cluster' | 'unidentified' }
  | { readonly kind: 'firewall'; readonly name: string };

/** Chains of iptables that Kubernetes, CNIs, container engines and other plumbing keep. */
const CLUSTER_CHAINS =
  /^(KUBE-|CNI-|DOCKER|FLANNEL|CILIUM|OLD_CILIUM|cali-|felix-|WEAVE|ANTREA|AWS-|IP-MASQ|ISTIO|CANAL|OVN-|AZURE|NETAVARK|PODMAN|LIBVIRT_|ts-|sshuttle|nm-)/i;

const CLUSTER_TABLES =
  /^(kube-proxy|kube-|cni_|cni-|flannel|docker|cilium|calico|cali-|antrea|kindnet|istio|netavark|podman|libvirt|nm-|hostport|lxd|incus|tailscale)/i;

/** Tells who keeps a chain of a table. */
export function ownerOf(table: Pick<Table, 'system' | 'name'>, chain: Pick<Chain, 'name' | 'base'>): Owner {
  if (table.system === 'nft') {
    const firewall = FIREWALLS.find(({ tables }) => tables.test(table.name));
    if (firewall !== undefined) return { kind: 'firewall', name: firewall.name };
    return { kind: CLUSTER_TABLES.test(table.name) || CLUSTER_CHAINS.test(chain.name) ? 'cluster' : 'built-in' };
  }
  if (chain.base !== null) return { kind: 'built-in' };
  const firewall = FIREWALLS.find(({ chains }) => chains.test(chain.name));
  if (firewall !== undefined) return { kind: 'firewall', name: firewall.name };
  return { kind: CLUSTER_CHAINS.test(chain.name) ? 'cluster' : 'unidentified' };
}

/**
 * The firewall that wrote the rule, or set the policy, of a built-in chain: one that hangs its own chains into it ends it
 * with its own verdict as well (ufw by the policy, firewalld's iptables backend by rules behind its jumps). A rule that
 * stands before those jumps is somebody else's. `ruleNumber` null asks for the policy.
 */
export function firewallOfBuiltIn(table: Table, chain: Chain, ruleNumber: number | null): string | null {
  if (chain.base === null || table.system === 'nft') return null;
  for (const rule of chain.rules) {
    if (ruleNumber !== null && rule.number >= ruleNumber) return null;
    for (const target of rule.steps.flatMap(calledBy)) {
      const called = table.chains.find(({ name }) => name === target);
      if (called === undefined) continue;
      const owner = ownerOf(table, called);
      if (owner.kind !== 'firewall') continue;
      const mine = table.chains.filter((other) => isOf(table, other, owner.name));
      // the empty chains that ufw leaves behind when it is disabled decide nothing
      if (endsChains(owner.name) && mine.some((other) => other.rules.length > 0)) return owner.name;
    }
  }
  return null;
}

/** Firewalls that decide what becomes of everything, not only of what they ban. */
function endsChains(firewall: string): boolean {
  return firewall === 'ufw' || firewall === 'firewalld';
}

function isOf(table: Table, chain: Chain, firewall: string): boolean {
  const owner = ownerOf(table, chain);
  return owner.kind === 'firewall' && owner.name === firewall;
}

/** A firewall of the host whose rules are loaded: its name, or `unidentified`; where, and its chains that hold rules. */
export type Firewall = { readonly name: string; readonly system: System; readonly chains: readonly string[] };

/**
 * The firewalls that are active on a node, one entry for each. Chains without rules, as ufw leaves them behind, are
 * nothing; chains that nothing known makes count when a packet can come to them and they can eat it.
 */
export function firewallsOf(tables: readonly Table[]): Firewall[] {
  const found = new Map<string, { system: System; chains: string[] }>();
  for (const table of tables) {
    const reach = reachOf(table);
    const reached = new Set(table.chains.flatMap((chain) => (chain.base === null ? [] : [...reach.from(chain)])));
    for (const chain of table.chains) {
      const owner = ownerOf(table, chain);
      const name = owner.kind === 'firewall' ? owner.name : owner.kind === 'unidentified' ? UNIDENTIFIED : null;
      if (
        name === null ||
        chain.rules.length === 0 ||
        (name === UNIDENTIFIED && !(reached.has(chain) && chain.rules.some(({ steps }) => steps.some(canEat))))
      )
        continue;
      const known = found.get(name) ?? { system: table.system, chains: [] };
      found.set(name, known);
      if (!known.chains.includes(chain.name)) known.chains.push(chain.name);
    }
  }
  return [...found].map(([name, { system, chains }]) => ({ name, system, chains }));
}

/** The name of the firewall that keeps a rule or policy (`unidentified` for chains that nothing known makes), or null. */
export function keeperOf(tables: readonly Table[], ref: RuleRef): string | null {
  const found = findChain(tables, ref);
  if (found === null) return null;
  const owner = ownerOf(found.table, found.chain);
  if (owner.kind === 'firewall') return owner.name;
  if (owner.kind === 'unidentified') return UNIDENTIFIED;
  return firewallOfBuiltIn(found.table, found.chain, ref.number ?? null);
}

/** Whether a rule is in a chain of Kubernetes, a CNI or a container engine. */
export function isClusterOwned(tables: readonly Table[], ref: RuleRef): boolean {
  const found = findChain(tables, ref);
  return found !== null && ownerOf(found.table, found.chain).kind === 'cluster';
}

/** What a firewall is called whose chains nobody is known to make. */
export const UNIDENTIFIED = 'unidentified';

function findChain(tables: readonly Table[], ref: RuleRef): { readonly table: Table; readonly chain: Chain } | null {
  const table = tables.find(({ system, family, name }) => system === ref.system && family === ref.family && name === ref.table);
  const chain = table?.chains.find(({ name }) => name === ref.chain);
  return table === undefined || chain === undefined ? null : { table, chain };
}
