import type { Evidence } from '../../model/evidence.ts';
import { allParsed, ok, type Parsed, parseComplete } from './check.ts';

/** Ports that a rule translates source ports to; `rule` is how it is written, null for the kernel's own choice. */
export type PortRange = { readonly from: number; readonly to: number; readonly rule: string | null };

/** `--to-ports` of MASQUERADE and the ports in `--to-source` of SNAT. Source: iptables-extensions(8). */
const IPTABLES = /-j (?:MASQUERADE --to-ports |SNAT --to-source [^:\s]*:)(\d+)(?:-(\d+))?/;

/** `--to-destination` of DNAT, as kube-proxy writes one for each endpoint. */
const DESTINATION = / -j DNAT .*--to-destination (\S+)/;

/** The lines of the rules of the two kinds of iptables: `iptables-save`'s own or nothing at all. */
type Rules = { readonly legacy: Evidence; readonly iptablesNft: Evidence };

/** The ranges of ports that rules translate sources to. Parses the evidence of `RULES_LEGACY` and `RULES_IPTABLES_NFT`. */
export function parseNatPortRanges(rules: Rules): Parsed<readonly PortRange[]> {
  const lines = parseLines(rules);
  if (lines.outcome !== 'ok') return lines;
  return ok(
    lines.facts.flatMap((line) => {
      const [, from, to] = IPTABLES.exec(line) ?? [];
      return from === undefined ? [] : [{ from: Number(from), to: Number(to ?? from), rule: line }];
    }),
  );
}

/** What rules translate destinations to, as `IP:PORT`. Parses the same evidence. */
export function parseDestinations(rules: Rules): Parsed<ReadonlySet<string>> {
  const lines = parseLines(rules);
  return lines.outcome === 'ok' ? ok(new Set(lines.facts.flatMap((line) => DESTINATION.exec(line)?.[1] ?? []))) : lines;
}

function parseLines({ legacy, iptablesNft }: Rules): Parsed<readonly string[]> {
  const parsed = allParsed<Readonly<Record<keyof Rules, readonly string[]>>>({
    legacy: parseComplete(legacy, rulesIn),
    iptablesNft: parseComplete(iptablesNft, rulesIn),
  });
  return parsed.outcome === 'ok' ? ok([...parsed.facts.legacy, ...parsed.facts.iptablesNft]) : parsed;
}

function rulesIn(stdout: string): readonly string[] {
  if (stdout !== '' && !/^(?:# (?:Generated|Warning|Table)|\*)/.test(stdout)) throw new Error('not the rules of iptables');
  return stdout.split('\n').filter((line) => line.includes(' -j '));
}
