import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import { allParsed, type Draft, defineCheck, ok } from '../../kit/check.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { IN_USE, type Neighbour, parseNeighbours } from '../../kit/neighbours.ts';
import { parseOwnAddress } from '../../kit/own-address.ts';
import { ADDRESSES, NEIGHBOURS, OWN_ADDRESS } from '../../kit/readings.ts';

/** `neighbours` as they were before the sweep, `later` after it; `claims` are MAC addresses that answer for the node's address. */
type Facts = {
  readonly links: readonly Link[];
  readonly neighbours: readonly Neighbour[];
  readonly later: readonly Neighbour[];
  readonly claims: readonly string[];
};
type Owner = { readonly node: string; readonly dev: string; readonly mac: string; readonly others: ReadonlySet<string> };

/** N10. Source: "Node not ready because of stale ARP entries", Google Distributed Cloud network troubleshooting. */
export const staleNeighbour = defineCheck({
  id: 'stale-neighbour',
  row: 'N10',
  layer: 'L2',
  scope: 'cluster',
  title: 'Neighbour entry with the wrong MAC address',
  why: 'The node sends to a machine that is not there any more; only it and its pods cannot reach the other.',
  codes: {
    'stale-neighbour': "A node's neighbour entry for another node has a MAC address that the other's interface does not have.",
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES, neighbours: NEIGHBOURS, conflict: OWN_ADDRESS },
  parse: ({ addresses, neighbours: { before, after }, conflict }) => {
    const claims = parseOwnAddress(conflict);
    return allParsed<Facts>({
      links: parseLinks(addresses),
      neighbours: parseNeighbours(before),
      later: parseNeighbours(after),
      claims: ok(claims.outcome === 'ok' ? claims.facts.map(({ mac }) => mac) : []),
    });
  },
  acquits: (facts: ReadonlyMap<string, Facts>) => {
    const owners = ownersOf(facts);
    return [...facts].flatMap(([node, { later }]) =>
      later
        .filter(({ ip, mac, state }) => IN_USE.has(state) && owners.get(ip)?.mac === mac)
        .map(({ ip, dev }) => ({ place: nodePlace(node), point: 'neigh' as const, dev, via: ip })),
    );
  },
  evaluate: (facts: ReadonlyMap<string, Facts>) => {
    const owners = ownersOf(facts);
    const ours = new Set([...owners.values()].map(({ mac }) => mac));
    // A machine that answers for the address is there: two that hold one address are another fault.
    const isClaimed = (owner: string, mac: string | null): boolean => facts.get(owner)?.claims.includes(mac ?? '') ?? false;
    return [...facts].flatMap(([node, own]) => {
      const entries = onLinks(own).filter(({ ip, mac }) => !isClaimed(owners.get(ip)?.node ?? '', mac));
      return staleOn(node, entries, owners, ours);
    });
  },
});

/** An entry as it was met, and what became of it: it is there still, was learnt anew, or the kernel gave it up. */
type Met = Neighbour & { readonly fate: 'stays' | 'mended' | 'gone' };

/** Entries of real links, as they were before the sweep or have come since; a tunnel's are its own software's business. */
function onLinks({ links, neighbours, later }: Facts): readonly Met[] {
  const tunnels = new Set(links.filter(({ vxlan }) => vxlan !== null).map(({ name }) => name));
  const key = ({ dev, ip }: Neighbour): string => `${dev} ${ip}`;
  const now = new Map(later.map((entry) => [key(entry), entry]));
  const before = neighbours.map((entry) => ({ ...entry, fate: fateOf(entry, now.get(key(entry))) }));
  const known = new Set(neighbours.map(key));
  const since = later.filter((entry) => !known.has(key(entry))).map((entry) => ({ ...entry, fate: 'stays' as const }));
  return [...before, ...since].filter(({ dev }) => !tunnels.has(dev));
}

function fateOf({ mac }: Neighbour, later: Neighbour | undefined): Met['fate'] {
  if (later?.mac == null) return 'gone';
  return later.mac === mac ? 'stays' : 'mended';
}

/** Who holds each address; an address that two nodes hold is another fault and left out. */
function ownersOf(facts: ReadonlyMap<string, Facts>): ReadonlyMap<string, Owner> {
  const owners = new Map<string, Owner | null>();
  for (const [node, { links }] of facts) {
    for (const { name, kind, mac, addresses } of links) {
      // A host answers ARP for the address of a bridge of its own on its other devices too, with theirs: pod networks without a
      // tunnel are reached so.
      const others = new Set(kind === 'bridge' ? links.flatMap((link) => link.mac ?? []) : []);
      for (const { ip } of mac === null ? [] : addresses)
        owners.set(ip, owners.has(ip) ? null : { node, dev: name, mac: mac ?? '', others });
    }
  }
  return new Map([...owners].flatMap(([ip, owner]) => (owner === null ? [] : [[ip, owner] as const])));
}

function staleOn(
  node: string,
  neighbours: readonly Met[],
  owners: ReadonlyMap<string, Owner>,
  ours: ReadonlySet<string>,
): readonly Draft[] {
  const candidates = neighbours.flatMap((entry) => {
    const owner = owners.get(entry.ip);
    return owner === undefined || owner.node === node || entry.mac === null || !IN_USE.has(entry.state) ? [] : [{ entry, owner }];
  });
  // A foreign MAC that answers for several nodes is a router or a cloud's virtual switch, not a stale entry.
  const byMac = Map.groupBy(candidates, ({ entry }) => entry.mac ?? '');
  const isRouter = (mac: string): boolean => !ours.has(mac) && (byMac.get(mac)?.length ?? 0) > 1;
  return candidates
    .filter(({ entry, owner }) => entry.mac !== owner.mac && !owner.others.has(entry.mac ?? '') && !isRouter(entry.mac ?? ''))
    .map(({ entry, owner }) => stale(node, entry, owner));
}

const FATE: Readonly<Record<Met['fate'], string>> = {
  stays: '',
  mended: '; the entry was learnt anew while this check ran',
  gone: '; the kernel gave the entry up while this check ran',
};

function stale(node: string, { ip, dev, mac, state, fate }: Met, owner: Owner): Draft {
  const isPermanent = state === 'PERMANENT';
  const isThere = fate === 'stays';
  return {
    code: 'stale-neighbour',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'neigh', dev, via: ip }],
    harms: [{}],
    // Packets were lost until the entry went away, some time during the sweep.
    partial: !isThere,
    summary: `${node} ${isThere ? 'sends' : 'sent'} to ${owner.node} (${ip}) at the MAC address ${mac}, but ${owner.node}'s ${owner.dev} has ${owner.mac}${FATE[fate]}${isPermanent ? '; somebody has set the entry permanently' : ''}`,
    ...(isPermanent
      ? {
          advice: `The entry was set by somebody, it does not go away by itself: find out by whom before it is deleted (ip neigh del ${ip} dev ${dev}).`,
        }
      : {}),
    evidence: [
      { where: node, source: NEIGHBOURS.argv.join(' '), text: `${ip} dev ${dev} lladdr ${mac} ${state}` },
      { where: owner.node, source: ADDRESSES.argv.join(' '), text: `${owner.dev} ${ip} link/ether ${owner.mac}` },
    ],
    ...(isThere
      ? { remedy: { id: isPermanent ? 'delete-neighbour' : 'flush-neighbour', node, params: { dev, ip, mac: mac ?? '' } } }
      : {}),
  };
}
