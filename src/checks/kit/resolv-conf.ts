import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

/** One resolv.conf of a node: the addresses of its name servers, in order, as far as a resolver reads them. */
export type ResolvConf = { readonly file: string; readonly nameservers: readonly string[] };

/** A resolver reads no more than three (MAXNS of resolv.h). */
const MAX_NAMESERVERS = 3;

/** Parses the evidence of `RESOLV_CONF`: one entry for each file that there is. Source: resolv.conf(5). */
export function parseResolvConf(evidence: Evidence): Parsed<readonly ResolvConf[]> {
  return parseComplete(evidence, (stdout) => {
    const files: { file: string; nameservers: string[] }[] = [];
    for (const line of stdout.split('\n')) {
      const file = /^==> (\/\S+) <==$/.exec(line)?.[1];
      if (file !== undefined) {
        files.push({ file, nameservers: [] });
        continue;
      }
      const current = files.at(-1);
      if (current === undefined) {
        if (line === '') continue;
        throw new TypeError(`not a file of resolvers: ${line}`);
      }
      const server = /^nameserver\s+([0-9a-fA-F.:]+)(?:%\S+)?\s*$/.exec(line)?.[1];
      if (server !== undefined && current.nameservers.length < MAX_NAMESERVERS) current.nameservers.push(server);
    }
    return files;
  });
}

/** Whether a name server is a stub on the node itself, as systemd-resolved's 127.0.0.53. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

/** The IPv4 name servers that a node's own resolvers ask in the end, each once: stubs on the node itself are left out. */
export function upstreamsOf(files: readonly ResolvConf[]): readonly string[] {
  const all = files.flatMap(({ nameservers }) => nameservers);
  return [...new Set(all.filter((address) => !isLoopback(address) && !address.includes(':')))];
}
