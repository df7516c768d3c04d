import { isIPv4 } from 'node:net';
import type { Inventory } from '../../model/inventory.ts';

/**
 * What CoreDNS forwards where: `zone` is `.` for everything that it does not serve itself; `servers` are plain DNS servers
 * with an IPv4 address; `files` are resolv.conf files of the node, read when CoreDNS starts.
 */
export type Forward = {
  readonly zone: string;
  readonly servers: readonly { readonly ip: string; readonly port: number }[];
  readonly files: readonly string[];
};

/** Every `forward` of a Corefile, in order. Source: CoreDNS's documentation of the plugin `forward`. */
export function forwardsIn(corefile: string): readonly Forward[] {
  const lines = corefile.replaceAll(/#.*$/gm, '').matchAll(/^\s*forward\s+(\S+)\s+([^\n{]+)/gm);
  return [...lines].map(([, zone = '.', targets = '']) => {
    const words = targets.trim().split(/\s+/);
    return {
      zone,
      servers: words.flatMap((word) => serverOf(word) ?? []),
      files: words.filter((word) => word.startsWith('/')),
    };
  });
}

/** The Corefile of the cluster, or null where there is none that could be read. */
export function corefileOf(inventory: Inventory): string | null {
  return inventory.configs['kube-system/coredns']?.['Corefile'] ?? null;
}

/** `10.0.0.10`, `10.0.0.10:5353`, `dns://10.0.0.10`; servers that are asked over TLS or gRPC are none. */
function serverOf(word: string): Forward['servers'][number] | null {
  const [ip = '', port = '53'] = word.replace(/^dns:\/\//, '').split(':');
  return isIPv4(ip) && /^\d+$/.test(port) ? { ip, port: Number(port) } : null;
}
