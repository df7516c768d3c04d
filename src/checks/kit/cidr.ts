import ipaddr from 'ipaddr.js';

/** Whether an address is inside a CIDR prefix, or equal to a plain address. False for another address family. */
export function isWithin(address: string, block: string): boolean {
  return blockOf(block)(valueOf(address));
}

/**
 * `isWithin` for many questions about few addresses: every address and block is parsed once. What it remembers lives as
 * long as the function.
 */
export function createIsWithin(): typeof isWithin {
  const values = new Map<string, AddressValue>();
  const blocks = new Map<string, (value: AddressValue) => boolean>();
  return (address, block) => {
    let value = values.get(address);
    if (value === undefined) values.set(address, (value = valueOf(address)));
    let contains = blocks.get(block);
    if (contains === undefined) blocks.set(block, (contains = blockOf(block)));
    return contains(value);
  };
}

type AddressValue = { readonly family: 4 | 6; readonly bits: bigint };

function valueOf(address: string): AddressValue {
  const ip = ipaddr.parse(address);
  const bits = ip.toByteArray().reduce((value, octet) => value * 256n + BigInt(octet), 0n);
  return { family: ip.kind() === 'ipv4' ? 4 : 6, bits };
}

function blockOf(block: string): (value: AddressValue) => boolean {
  const [address = '', length] = block.split('/', 2);
  const network = valueOf(address);
  const width = network.family === 4 ? 32 : 128;
  const prefix = length === undefined ? width : /^\d+$/.test(length) ? Number(length) : Number.NaN;
  if (!(prefix <= width)) throw new TypeError(`${block} is not a CIDR prefix`);
  const shift = BigInt(width - prefix);
  const wanted = network.bits >> shift;
  return (value) => value.family === network.family && value.bits >> shift === wanted;
}

/** 4 or 6 for an address or a CIDR prefix. */
export function familyOf(addressOrBlock: string): 4 | 6 {
  return addressOrBlock.includes(':') ? 6 : 4;
}

/** The `index`-th address of an IPv4 CIDR prefix, counted from the network address (0). */
export function addressAt(block: string, index: number): string {
  const [network, bits] = ipaddr.parseCIDR(block);
  if (network.kind() !== 'ipv4') throw new TypeError(`${block} is not an IPv4 prefix`);
  const base = ipaddr.IPv4.networkAddressFromCIDR(`${network.toString()}/${bits}`).octets.reduce(
    (sum, octet) => sum * 256 + octet,
    0,
  );
  const value = base + index;
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

/** The first IPv4 prefix of a list, or null. */
export function firstIPv4(blocks: readonly string[]): string | null {
  return blocks.find((block) => familyOf(block) === 4) ?? null;
}

/** The prefixes that together hold every IPv4 address outside a CIDR prefix, the largest first. */
export function complementOf(block: string): readonly string[] {
  const [address = '', length = '32'] = block.split('/', 2);
  const { bits } = valueOf(address);
  return Array.from({ length: Number(length) }, (_, index) => {
    const shift = 31n - BigInt(index);
    const network = ((bits >> shift) ^ 1n) << shift;
    return `${[24n, 16n, 8n, 0n].map((by) => Number((network >> by) & 255n)).join('.')}/${index + 1}`;
  });
}
