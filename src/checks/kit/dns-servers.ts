import { entityName } from '../../model/entity.ts';
import type { Probed } from './check.ts';

/** One server of the cluster's DNS, as everybody who asked it by itself saw it. */
export type DnsServer = {
  /** `NAMESPACE/NAME` of its pod. */
  readonly name: string;
  readonly namespace: string;
  readonly pod: string;
  readonly node: string | null;
  readonly ip: string;
  /** The name that was asked for. */
  readonly question: string;
  /** Who asked it, with complete evidence; what a NetworkPolicy forbids is left out. */
  readonly asked: readonly Probed[];
};

/** The DNS servers that were asked by themselves, each with every result, from the probes of `cluster-dns`; in order of name. */
export function dnsServers(probed: readonly Probed[]): readonly DnsServer[] {
  const direct = probed.filter(
    ({ probe, result }) =>
      probe.check === 'cluster-dns' && probe.target.kind === 'Pod' && probe.expect === 'reach' && result.status !== 'unknown',
  );
  // Probes are planned in the order in which nodes answered, and what is said should not depend on that.
  const ordered = direct.toSorted(
    (a, b) =>
      byName(entityName(a.probe.target), entityName(b.probe.target)) ||
      byName(a.probe.from.node, b.probe.from.node) ||
      byName(a.probe.from.pod ?? '', b.probe.from.pod ?? ''),
  );
  return [...Map.groupBy(ordered, ({ probe }) => entityName(probe.target))].flatMap(([name, asked]) => {
    const [first] = asked;
    if (first === undefined) return [];
    const { target, to, name: question = '' } = first.probe;
    return [{ name, namespace: target.namespace ?? '', pod: target.name, node: to.node, ip: to.ip, question, asked }];
  });
}

/** `kube-system/coredns-2 on node-2`. */
export function serverText({ name, node }: DnsServer): string {
  return node === null ? name : `${name} on ${node}`;
}

/** `node-1, node-2 and 3 more`: names in order, as far as anybody reads them. */
export function namesText(names: Iterable<string>): string {
  const sorted = [...new Set(names)].sort(byName);
  const shown = sorted.length > MAX_NAMES + 1 ? sorted.slice(0, MAX_NAMES) : sorted;
  const more = sorted.length - shown.length;
  const all = more > 0 ? [...shown, `${more} more`] : shown;
  const last = all.at(-1) ?? '';
  return all.length < 2 ? last : `${all.slice(0, -1).join(', ')} and ${last}`;
}

const MAX_NAMES = 5;

function byName(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
