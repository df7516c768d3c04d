import ipaddr from 'ipaddr.js';
import type { Span } from './ast.ts';

/** An address as text that sorts: its bytes in hexadecimal. Throws for anything that is no IPv4 or IPv6 address. */
export function addressKey(address: string): string {
  const octets = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(address);
  if (octets !== null) {
    const value = octets.slice(1).map(Number);
    if (value.every((octet) => octet < 256)) return hex(value);
  }
  return hex(ipaddr.parse(address).toByteArray());
}

function hex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** All addresses of a prefix (`10.0.0.0/8`, `10.0.0.0/255.0.0.0`) or a single address; null for a mask with holes. */
export function prefixSpan(prefix: string): Span | null {
  const [address = '', length] = prefix.split('/', 2);
  const key = addressKey(address);
  const bits = length === undefined ? key.length * 4 : prefixLength(length, key.length * 4);
  return bits === null ? null : spanOf(key, bits);
}

/** All addresses that share the first `bits` bits with an address. */
export function spanOf(key: string, bits: number): Span {
  const total = key.length * 4;
  const host = (1n << BigInt(total - bits)) - 1n;
  const first = (BigInt(`0x${key}`) | host) ^ host;
  const text = (value: bigint): string => value.toString(16).padStart(key.length, '0');
  return [text(first), text(first | host)];
}

function prefixLength(text: string, total: number): number | null {
  if (/^\d+$/.test(text)) {
    const bits = Number(text);
    if (bits > total) throw new Error(`/${text} is no prefix length`);
    return bits;
  }
  const mask = BigInt(`0x${addressKey(text)}`);
  const zeros = ((1n << BigInt(total)) - 1n) ^ mask;
  return (zeros & (zeros + 1n)) === 0n ? total - zeros.toString(2).replace(/^0+/, '').length : null;
}

/** The CIDR prefix (or plain address) that covers exactly a span of IPv4 or IPv6 addresses, or null. */
export function spanPrefix(span: Span): string | null {
  const [from, to] = span;
  if (typeof from !== 'string' || typeof to !== 'string') return null;
  const hole = BigInt(`0x${from}`) ^ BigInt(`0x${to}`);
  const host = hole === 0n ? 0 : hole.toString(2).length;
  if (spanOf(from, from.length * 4 - host).join() !== `${from},${to}`) return null;
  return host === 0 ? addressText(from) : `${addressText(from)}/${from.length * 4 - host}`;
}

function addressText(key: string): string {
  return ipaddr.fromByteArray(key.match(/../g)?.map((byte) => Number.parseInt(byte, 16)) ?? []).toString();
}
