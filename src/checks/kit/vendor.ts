import { createRequire } from 'node:module';

/** What programs that make virtual cards put into addresses of their own choice. Source: their own documentation. */
const SOFTWARE: Readonly<Record<string, string>> = {
  '02:42': 'as Docker makes them',
  '0a:58': 'as CNI plugins make them for pods',
  '42:01:0a': 'as Google Compute Engine makes them',
  '52:54:00': 'as QEMU/KVM makes them',
};

/** The lengths of prefixes that the IEEE assigns, in hexadecimal digits, the longest first (MA-S, MA-M, MA-L). */
const LENGTHS = [9, 7, 6];

/** Who holds the prefixes that are given out in smaller blocks. */
const DIVIDED = 'IEEE Registration Authority';

/** The second lowest bit of the first octet: the address was chosen by whoever set it. Source: IEEE 802. */
const LOCAL = 0x02;

/**
 * Who made a network card, from the IEEE's register, or how its address was made; null where neither says. `mac` is
 * written with colons. The register is large and read only when it is first asked.
 */
export function vendorOf(mac: string): string | null {
  const software = Object.keys(SOFTWARE).find((prefix) => mac.startsWith(`${prefix}:`));
  if (software !== undefined) return SOFTWARE[software] ?? null;
  if ((Number.parseInt(mac.slice(0, 2), 16) & LOCAL) !== 0) return 'locally administered, no vendor';
  const digits = mac.replaceAll(':', '').toUpperCase();
  const entry = LENGTHS.flatMap((length) => register()[digits.slice(0, length)] ?? [])[0];
  const name = entry?.split('\n', 1)[0] ?? null;
  return name === DIVIDED ? null : name;
}

let known: Readonly<Record<string, string>> | null = null;

function register(): Readonly<Record<string, string>> {
  const require = createRequire(import.meta.url);
  known ??= require('oui-data') as Readonly<Record<string, string>>;
  return known;
}
