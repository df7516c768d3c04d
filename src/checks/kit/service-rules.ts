import { z } from 'zod';
import type { Evidence } from '../../model/evidence.ts';
import { allParsed, type EvidenceOf, ok, type Parsed, parseComplete } from './check.ts';
import { type Portal, parsePortals } from './kube-rules.ts';
import { isAbsent } from './netfilter/rulesets.ts';
import { type PROXY_COLLECT, type ProxyMode, parseProxyModes } from './proxy-mode.ts';

/** Where kube-proxy wrote a Service port; the names are those of the readings in `PROXY_COLLECT`. */
export type RuleSystem = 'legacy' | 'iptablesNft' | 'nft';

/**
 * What kube-proxy wrote on a node: the Service ports that lead to endpoints, and the keys (`IP:PORT/PROTO`) of those that it
 * rejects or drops, for want of endpoints.
 */
export type ServiceRules = {
  readonly modes: readonly ProxyMode[];
  readonly portals: readonly (Portal & { readonly system: RuleSystem })[];
  readonly refused: ReadonlySet<string>;
};

/** Reads kube-proxy's Services out of all three rule systems. Parses the evidence of `PROXY_COLLECT`. */
export function parseServiceRules(evidence: EvidenceOf<typeof PROXY_COLLECT>): Parsed<ServiceRules> {
  const read = allParsed<{
    readonly modes: readonly ProxyMode[];
    readonly legacy: readonly Portal[];
    readonly iptablesNft: readonly Portal[];
    readonly nft: NftServices;
  }>({
    modes: parseProxyModes(evidence),
    legacy: parsePortals(evidence.legacy),
    iptablesNft: parsePortals(evidence.iptablesNft),
    nft: isAbsent(evidence.nft) ? ok(NO_SERVICES) : parseComplete(evidence.nft, nftServices),
  });
  if (read.outcome !== 'ok') return read;
  const { modes, legacy, iptablesNft, nft } = read.facts;
  return ok({
    modes,
    portals: [
      ...legacy.map((portal) => ({ ...portal, system: 'legacy' as const })),
      ...iptablesNft.map((portal) => ({ ...portal, system: 'iptablesNft' as const })),
      ...nft.portals.map((portal) => ({ ...portal, system: 'nft' as const })),
    ],
    refused: new Set([...refusals(evidence.legacy), ...refusals(evidence.iptablesNft), ...nft.refused]),
  });
}

const REFUSAL = /-A KUBE-SERVICES .*?-d ([\d.]+)\/32 .*?-p (\w+) .*?--dport (\d+) .*?-j (?:REJECT|DROP)/;

/** Ports without endpoints, or without one on this node, in kube-proxy's iptables mode. Source: proxier.go. */
function refusals({ stdout }: Evidence): readonly string[] {
  return stdout.split('\n').flatMap((line) => {
    const [, ip, proto, port] = REFUSAL.exec(line) ?? [];
    return ip === undefined ? [] : [`${ip}:${port}/${proto}`];
  });
}

type NftServices = { readonly portals: readonly Portal[]; readonly refused: readonly string[] };

const NO_SERVICES: NftServices = { portals: [], refused: [] };

const Inside = z.object({ family: z.literal('ip'), table: z.literal('kube-proxy') });
const Concatenated = z.object({ concat: z.tuple([z.string(), z.string(), z.union([z.int(), z.string()])]) });
const Jump = z.object({ target: z.string() });
const NftObject = z.object({
  map: Inside.extend({ name: z.string(), elem: z.array(z.tuple([z.unknown(), z.unknown()])).default([]) }).optional(),
  rule: Inside.extend({ chain: z.string(), expr: z.array(z.unknown()) }).optional(),
});
const Ruleset = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });

/**
 * The table `kube-proxy` of nftables mode: a map from address, protocol and port to the chain of a Service port, which goes
 * to the chains of its endpoints, each with one translation; and a map of those without endpoints. Source:
 * pkg/proxy/nftables/proxier.go; libnftables-json(5).
 */
function nftServices(stdout: string): NftServices {
  const objects = Ruleset.parse(JSON.parse(stdout)).nftables.flatMap((object) => {
    const kinds = [object['map'], object['rule']];
    return kinds.some((kind) => Inside.safeParse(kind).success) ? [NftObject.parse(object)] : [];
  });
  const rules = Map.groupBy(
    objects.flatMap(({ rule }) => rule ?? []),
    ({ chain }) => chain,
  );
  const reached = (chain: string, seen: ReadonlySet<string>): readonly string[] =>
    seen.has(chain)
      ? []
      : (rules.get(chain) ?? []).flatMap(({ expr }) => [
          ...translations(expr),
          ...targets(expr).flatMap((target) => reached(target, new Set([...seen, chain]))),
        ]);
  const elements = (name: string): readonly (readonly [unknown, unknown])[] =>
    objects.flatMap(({ map }) => (map?.name === name ? map.elem : []));
  return {
    portals: elements('service-ips').flatMap(([key, verdict]) => {
      const [ip, proto, port] = concatenated(key);
      const endpoints = targets(verdict).flatMap((chain) => reached(chain, new Set()));
      return [{ ip, key: `${ip}:${port}/${proto}`, endpoints: [...new Set(endpoints)] }];
    }),
    refused: elements('no-endpoint-services').map(([key]) => {
      const [ip, proto, port] = concatenated(key);
      return `${ip}:${port}/${proto}`;
    }),
  };
}

/** A key of a map; with a comment or a timeout it stands one level deeper. */
function concatenated(key: unknown): readonly [string, string, string | number] {
  const wrapped = z.object({ elem: z.object({ val: z.unknown() }) }).safeParse(key);
  return Concatenated.parse(wrapped.success ? wrapped.data.elem.val : key).concat;
}

/** All chains that a piece of a rule jumps or goes to, however deep in a map they stand. */
function targets(part: unknown): readonly string[] {
  return inside(part, (key, value) => {
    const jump = key === 'goto' || key === 'jump' ? Jump.safeParse(value) : null;
    return jump?.success === true ? [jump.data.target] : [];
  });
}

const Translation = z.object({ addr: z.string(), port: z.int() });

function translations(part: unknown): readonly string[] {
  return inside(part, (key, value) => {
    const to = key === 'dnat' ? Translation.safeParse(value) : null;
    return to?.success === true ? [`${to.data.addr}:${to.data.port}`] : [];
  });
}

function inside(part: unknown, of: (key: string, value: unknown) => readonly string[]): readonly string[] {
  if (typeof part !== 'object' || part === null) return [];
  return Object.entries(part).flatMap(([key, value]) => [...of(key, value), ...inside(value, of)]);
}
