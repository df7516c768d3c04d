import { z } from 'zod';
import { type Entity, nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { type HopPattern, hostPlace, nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { type Draft, defineCheck, type Probed } from '../../kit/check.ts';
import { corefileOf, forwardsIn } from '../../kit/corefile.ts';
import { namesText } from '../../kit/dns-servers.ts';
import { RESOLV_CONF } from '../../kit/readings.ts';
import { parseResolvConf, type ResolvConf, upstreamsOf } from '../../kit/resolv-conf.ts';

/** D4. Source: "K8S troubleshooting guide", section DNS: ask each name server by itself, compare them between nodes. */
export const upstreamDnsFails = defineCheck({
  id: 'upstream-dns-fails',
  row: 'D4',
  layer: 'DNS',
  scope: 'cluster',
  title: 'A DNS server outside the cluster fails, or nodes ask different ones',
  why: 'Names outside the cluster resolve slowly, or now and then, or on some nodes only.',
  codes: {
    'upstream-dns-silent': 'A DNS server outside that the nodes ask answers nobody.',
    'upstream-dns-servfail': 'A DNS server outside answers SERVFAIL or REFUSED where others like it answer the same question.',
    'node-resolvers-differ': 'A node asks other DNS servers than the rest of the nodes of its zone.',
  },
  params: z.strictObject({}),
  collect: { resolvers: RESOLV_CONF },
  parse: ({ resolvers }) => parseResolvConf(resolvers),
  evaluate: (facts: ReadonlyMap<string, readonly ResolvConf[]>, { inventory, probed }) => [
    ...failing(facts, inventory, probed),
    ...differing(facts, inventory),
  ],
});

/** A server with everything that was asked of it, from nodes and from netcheck's pods. */
type Server = { readonly ip: string; readonly group: string; readonly asked: readonly Probed[] };

function serversIn(probed: readonly Probed[]): readonly Server[] {
  const asked = probed.filter(
    ({ probe, result }) => probe.group !== undefined && probe.expect === 'reach' && result.status !== 'unknown',
  );
  return [...Map.groupBy(asked, ({ probe }) => probe.to.ip)]
    .map(([ip, own]) => ({ ip, group: own[0]?.probe.group ?? '', asked: own.toSorted(byAsker) }))
    .toSorted((a, b) => byName(a.ip, b.ip));
}

function failing(
  facts: ReadonlyMap<string, readonly ResolvConf[]>,
  inventory: Inventory,
  probed: readonly Probed[],
): readonly Draft[] {
  const servers = serversIn(probed);
  return servers.flatMap((server) => {
    const fromNodes = server.asked.filter(({ probe }) => probe.from.pod === null);
    const others = servers.filter(({ ip, group }) => ip !== server.ip && group === server.group);
    const good = others.filter(({ asked }) => asked.some(({ result }) => result.status === 'pass'));
    if (fromNodes.length > 0 && server.asked.every(isSilent)) return [silent(server, fromNodes, good, facts, inventory)];
    const errors = fromNodes.filter(({ result }) => result.how === 'servfail' || result.how === 'refused-by-server');
    return errors.length === 0 || good.length === 0 ? [] : [erring(server, errors, fromNodes, good, facts, inventory)];
  });
}

function isSilent({ result }: Probed): boolean {
  return result.status === 'fail' && result.delivered === 0;
}

function silent(
  server: Server,
  fromNodes: readonly Probed[],
  good: readonly Server[],
  facts: ReadonlyMap<string, readonly ResolvConf[]>,
  inventory: Inventory,
): Draft {
  const nodes = fromNodes.map(({ probe }) => probe.from.node);
  const isClosed = fromNodes.every(({ result }) => result.how === 'refused');
  const rest =
    good.length === 0
      ? 'no other one answers either'
      : `${namesText(good.map(({ ip }) => ip))} ${good.length > 1 ? 'answer' : 'answers'}`;
  return {
    ...placed(server, inventory),
    code: 'upstream-dns-silent',
    certainty: 'inferred',
    summary: `the DNS server ${server.ip}, ${sourceText(server.ip, nodes, facts, inventory)}, ${isClosed ? 'refuses every question (nothing listens there), put' : 'gives no answer'} to ${askersText(nodes, 'any of the')}; ${rest}`,
    advice: `Bring ${server.ip} back, or take it out of the configuration of the nodes (netplan, NetworkManager, DHCP; not resolv.conf itself where a program writes it). Until then a resolver on a node or in a hostNetwork pod waits 5 s for it whenever it is the next to be asked, and CoreDNS asks it again and again until its health check takes it out.`,
    evidence: cited(fromNodes),
  };
}

function erring(
  server: Server,
  errors: readonly Probed[],
  fromNodes: readonly Probed[],
  good: readonly Server[],
  facts: ReadonlyMap<string, readonly ResolvConf[]>,
  inventory: Inventory,
): Draft {
  const nodes = errors.map(({ probe }) => probe.from.node);
  const rcode = errors.some(({ result }) => result.how === 'servfail') ? 'SERVFAIL' : 'REFUSED';
  const question = errors[0]?.probe.name ?? '.';
  return {
    ...placed(server, inventory),
    code: 'upstream-dns-servfail',
    severity: rcode === 'SERVFAIL' ? 'critical' : 'warning',
    certainty: 'certain',
    partial: errors.length < fromNodes.length,
    summary: `the DNS server ${server.ip}, ${sourceText(server.ip, nodes, facts, inventory)}, answers ${rcode} for the name servers of "${question}" to ${askersText(nodes, errors.length === fromNodes.length ? 'all' : `${errors.length} of the`, fromNodes.length)}; ${namesText(good.map(({ ip }) => ip))} ${good.length > 1 ? 'answer' : 'answers'} it`,
    advice: `The packets arrive: this is the server's own trouble with the servers that it asks, not the cluster's network. CoreDNS hands such an answer on without asking another server, so lookups of outside names fail now and then: mend ${server.ip}, or take it out.`,
    evidence: cited(errors),
  };
}

/** Where a server is: a host outside, or a node that runs one. */
function placed({ ip, asked }: Server, inventory: Inventory): Pick<Draft, 'entity' | 'at' | 'harms'> {
  const node = inventory.nodes.find((candidate) => candidate.ip === ip);
  const entity: Entity = node === undefined ? { kind: 'Address', name: ip } : nodeEntity(node.name);
  const at: HopPattern = { place: node === undefined ? hostPlace(ip) : nodePlace(node.name), point: 'socket' };
  return { entity, at: [at], harms: [{ proto: 'udp', dport: asked[0]?.probe.to.port ?? 53 }] };
}

/** Where a server is named: in the Corefile, and in which file of which nodes. */
function sourceText(
  ip: string,
  nodes: readonly string[],
  facts: ReadonlyMap<string, readonly ResolvConf[]>,
  inventory: Inventory,
): string {
  const isForwarded = forwardsIn(corefileOf(inventory) ?? '').some(({ servers }) => servers.some((server) => server.ip === ip));
  const files = new Set(
    nodes.flatMap((node) => (facts.get(node) ?? []).flatMap(({ file, nameservers }) => (nameservers.includes(ip) ? [file] : []))),
  );
  const places = [...(isForwarded ? ['the Corefile'] : []), ...files];
  return places.length === 0 ? 'which nodes ask' : `named in ${namesText(places)}`;
}

function askersText(nodes: readonly string[], share: string, count = nodes.length): string {
  return count === 1 ? `${nodes[0]}, the only node that asks it` : `${share} ${count} nodes that ask it`;
}

function cited(probed: readonly Probed[]): Citation[] {
  return probed.slice(0, 4).map(({ probe, result }) => ({
    where: probe.from.node,
    source: probe.id,
    text: result.detail ?? result.how ?? '',
  }));
}

/** A node is compared with the nodes of its zone: other zones may have other servers by design. */
function differing(facts: ReadonlyMap<string, readonly ResolvConf[]>, inventory: Inventory): readonly Draft[] {
  const zoneOf = (name: string): string =>
    inventory.nodes.find((node) => node.name === name)?.labels['topology.kubernetes.io/zone'] ?? '';
  const nodes = [...facts].map(([node, files]) => ({
    node,
    zone: zoneOf(node),
    files,
    servers: upstreamsOf(files).toSorted(byName),
  }));
  return [...Map.groupBy(nodes, ({ zone }) => zone).values()].flatMap((zone) => {
    const sets = [...Map.groupBy(zone, ({ servers }) => servers.join(' ')).values()].toSorted((a, b) => b.length - a.length);
    const [usual, ...rest] = sets;
    // Without a majority nobody can say which of them is the odd one.
    if (usual === undefined || 2 * usual.length <= zone.length) return [];
    return rest.flat().map(({ node, servers, files }): Draft => {
      const expected = usual[0]?.servers ?? [];
      return {
        code: 'node-resolvers-differ',
        entity: nodeEntity(node),
        severity: 'warning',
        at: [{ place: nodePlace(node), point: 'socket' }],
        harms: [],
        summary: `${node} asks ${serversText(servers)} for outside names, where ${usual.length} other ${usual.length > 1 ? 'nodes ask' : 'node asks'} ${serversText(expected)}: names can resolve differently on it, and in a CoreDNS pod that runs there`,
        advice: `Compare the resolver configuration of ${node} with that of ${usual[0]?.node ?? 'another node'}; pods keep what they were started with, so restart CoreDNS pods there afterwards.`,
        evidence: files.map(({ file, nameservers }) => ({
          where: node,
          source: file,
          text: nameservers.map((server) => `nameserver ${server}`).join(', ') || 'no nameserver',
        })),
      };
    });
  });
}

function serversText(servers: readonly string[]): string {
  return servers.length === 0 ? 'no server' : namesText(servers);
}

function byAsker(a: Probed, b: Probed): number {
  return byName(a.probe.from.node, b.probe.from.node) || byName(a.probe.from.pod ?? '', b.probe.from.pod ?? '');
}

function byName(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
