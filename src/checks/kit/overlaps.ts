import ipaddr from 'ipaddr.js';

/** Two blocks of addresses that overlap: `inner` is the whole of the addresses that both have. */
export type Overlap<T> = { readonly outer: T; readonly inner: T };

/**
 * The pairs of CIDR blocks that overlap. Of two of them one always holds the other whole; of equal ones the later in the
 * list is taken for the inner one.
 */
export function overlaps<T>(items: readonly T[], blockOf: (item: T) => string): readonly Overlap<T>[] {
  const sorted = items
    .map((item) => ({ item, ...extentOf(blockOf(item)) }))
    .toSorted((a, b) => a.family - b.family || compare(a.first, b.first) || compare(b.last, a.last));
  const open: (typeof sorted)[number][] = [];
  return sorted.flatMap((inner) => {
    while (open.length > 0 && (open.at(-1)?.family !== inner.family || (open.at(-1)?.last ?? 0n) < inner.first)) open.pop();
    const found = open.map(({ item }) => ({ outer: item, inner: inner.item }));
    open.push(inner);
    return found;
  });
}

function extentOf(block: string): { readonly family: 4 | 6; readonly first: bigint; readonly last: bigint } {
  const [address, prefix] = ipaddr.parseCIDR(block);
  const bytes = address.toByteArray();
  const size = 1n << BigInt(bytes.length * 8 - prefix);
  const value = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const first = value - (value % size);
  return { family: bytes.length === 4 ? 4 : 6, first, last: first + size - 1n };
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : Number(a > b);
}
