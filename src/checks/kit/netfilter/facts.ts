import { z } from 'zod';
import type { Evidence } from '../../../model/evidence.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type EvidenceOf, incomplete, ok, type Parsed, type Probed, unknown } from '../check.ts';
import { createFlows } from '../flows.ts';
import { type Link, parseLinks } from '../links.ts';
import { nodeNetwork } from '../node-network.ts';
import { ADDRESSES, BRIDGE_CALLS_IPTABLES } from '../readings.ts';
import type { Table } from './ast.ts';
import { type Eater, eatersOf } from './eaten.ts';
import { FILTER_READINGS, parseRulesets } from './rulesets.ts';

/** What a check needs to send a node's must-work flows through its rules. */
export const FILTER_COLLECT = { ...FILTER_READINGS, links: ADDRESSES, bridgeCalls: BRIDGE_CALLS_IPTABLES } as const;

/** A node's rules and devices, and whether rules see frames that stay on a bridge. */
export type FilterFacts = { readonly tables: readonly Table[]; readonly links: readonly Link[]; readonly bridged: boolean };

/** Reduces the readings of `FILTER_COLLECT`; all of them have to be complete. */
export function parseFilter(evidence: EvidenceOf<typeof FILTER_COLLECT>): Parsed<FilterFacts> {
  return allParsed({
    tables: parseRulesets(evidence),
    links: parseLinks(evidence.links),
    bridged: parseBridged(evidence.bridgeCalls),
  });
}

const Switch = z.enum(['0', '1']);

/** Whether rules see bridged frames. Without br_netfilter there is no such file, and they do not. */
export function parseBridged(evidence: Evidence): Parsed<boolean> {
  if (evidence.exitCode === 1 && evidence.fault === undefined && /No such file/.test(evidence.stderr)) return ok(false);
  const gap = incomplete(evidence);
  if (gap !== null) return unknown(gap);
  const read = Switch.safeParse(evidence.stdout.trim());
  return read.success ? ok(read.data === '1') : unknown(`${evidence.argv.join(' ')}: unreadable output`);
}

/**
 * Finds, for each node by name, the rules that eat must-work packets there; nodes that the API server does not know are left
 * out. What only netcheck's own probes need is told only where one of them is missed: a firewall that drops the datagrams by
 * which directions are told, and lets everything through that the cluster needs, is as it should be. So is a rule that asks
 * what cannot be judged from here, a list of addresses say, unless something is missed, and the rule has eaten a packet if
 * it counts them.
 */
export function createEaters(inventory: Inventory, probed: readonly Probed[]): (name: string, facts: FilterFacts) => Eater[] {
  const nodes = new Map(inventory.nodes.map((node) => [node.name, node]));
  const flows = createFlows(
    inventory,
    probed.map(({ probe }) => probe),
  );
  const missed = new Set(
    probed
      .filter(
        ({ probe, result }) => result.status === 'fail' && probe.expect === 'reach' && !['udp', 'arp'].includes(probe.method),
      )
      .flatMap(({ probe }) => [probe.from.node, probe.to.node]),
  );
  return (name, { tables, links, bridged }) => {
    const node = nodes.get(name);
    if (node === undefined) return [];
    const eaters = eatersOf(tables, (classes) => flows({ node, network: nodeNetwork(node, links), bridged }, classes));
    return eaters.filter(({ eaten, doubt, rule }) =>
      missed.has(name) ? doubt === null || rule.packets !== 0 : doubt === null && !eaten.every(({ flow }) => flow.own),
    );
  };
}
