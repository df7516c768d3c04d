import type { Inventory } from '../../model/inventory.ts';
import { isWithin } from './cidr.ts';

/** The podCIDRs of a node that hold the addresses, or the addresses themselves where none does. */
export function podPrefixes(inventory: Inventory, name: string, addresses: readonly string[]): readonly string[] {
  const blocks = inventory.nodes.find((node) => node.name === name)?.podCIDRs ?? [];
  return [...new Set(addresses.map((ip) => blocks.find((block) => isWithin(ip, block)) ?? ip))];
}
