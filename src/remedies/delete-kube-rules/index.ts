import { z } from 'zod';
import { IptablesSystem, iptables, rulesIn, ruleWords } from '../kit/iptables.ts';
import { defineRemedy, type Host } from '../remedy.ts';

/** A way into kube-proxy's rules: a rule of a built-in chain that jumps to a chain of kube-proxy. */
type Jump = { readonly table: string; readonly chain: string; readonly rule: string; readonly words: readonly string[] };

const MAX_JUMPS = 40;

const LINE = /^(nat|filter|mangle) (-A (PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) .+)$/;
const TARGETS = /^KUBE-(?:SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|FORWARD|PROXY-FIREWALL)$/;

/** `jumps` are lines of a table and a rule as iptables-save writes it. */
const Params = z.strictObject({
  system: IptablesSystem,
  jumps: z
    .string()
    .max(300 * MAX_JUMPS)
    .refine((text) => jumpsIn(text) !== null, 'not jumps to chains of kube-proxy'),
});
type Params = z.infer<typeof Params>;

/**
 * The rules of the built-in chains that the jumps stand in, by table and chain; `others` is whether kube-proxy's rules in
 * the other kind of iptables are in use.
 */
const State = z.strictObject({ chains: z.record(z.string(), z.array(z.string())), others: z.boolean() });
type State = z.infer<typeof State>;

/**
 * N21: takes kube-proxy's rules in the kind of iptables that it no longer writes out of use, by deleting the jumps to them.
 * The chains stay: what no packet comes to does nothing, and a few jumps can be put back exactly, thousands of rules less so.
 */
export const deleteKubeRules = defineRemedy<Params, State>({
  id: 'delete-kube-rules',
  place: 'node',
  title: 'Take the rules that kube-proxy no longer keeps out of use',
  risk: 'Connections that these rules have already translated go on as they are; new ones are translated by the rules that kube-proxy keeps. Should kube-proxy be given this kind of iptables again, it writes the jumps again.',
  riskClass: 'medium',
  undo: 'Each jump goes back to its place, unless its chain has been changed since.',
  params: Params,
  state: State,
  commands: (params) =>
    jumpsOf(params).map(({ table, chain, words }) => [...iptables(params.system, table), '-D', chain, ...words]),
  async read(params, host) {
    const chains: Record<string, string[]> = {};
    for (const { table, chain } of jumpsOf(params)) {
      chains[`${table} ${chain}`] ??= rulesIn(await host.run([...iptables(params.system, table), '-S', chain]));
    }
    return { chains, others: await isInUse(otherThan(params.system), host) };
  },
  obsolete(params, { chains, others }) {
    if (!others) return `the rules of kube-proxy in ${nameOf(otherThan(params.system))} are not in use: these are the only ones`;
    const jumps = jumpsOf(params);
    const missing = jumps.find(
      ({ table, chain, rule }) =>
        countOf(chains[`${table} ${chain}`] ?? [], rule) <
        jumps.filter((jump) => jump.table === table && jump.rule === rule).length,
    );
    return missing === undefined ? null : `${missing.chain} of table ${missing.table} has no such rule any more: ${missing.rule}`;
  },
  describe: (params, { chains }) => {
    const jumps = jumpsOf(params);
    const left = jumps.filter(({ table, chain, rule }) => chains[`${table} ${chain}`]?.includes(rule) === true);
    return [
      {
        source: [...new Set(jumps.map(({ table, chain }) => [...iptables(params.system, table), '-S', chain].join(' ')))].join(
          '; ',
        ),
        text: `${left.length} of ${jumps.length} jumps to the rules of kube-proxy are there`,
      },
    ];
  },
  undoCommands(params, prior, after) {
    const jumps = jumpsOf(params);
    const commands = Object.entries(prior.chains).map(([name, rules]) => {
      const [table = '', chain = ''] = name.split(' ');
      const mine = new Map(
        jumps.filter((jump) => `${jump.table} ${jump.chain}` === name).map(({ rule, words }) => [rule, words]),
      );
      const now = [...(after.chains[name] ?? [])];
      const missing = rules.flatMap((rule, index) => {
        const words = mine.get(rule);
        if (now[index] === rule || words === undefined) return [];
        now.splice(index, 0, rule);
        return [[...iptables(params.system, table), '-I', chain, String(index + 1), ...words]];
      });
      return JSON.stringify(now) === JSON.stringify(rules) ? missing : null;
    });
    return commands.includes(null) ? [] : commands.flatMap((some) => some ?? []);
  },
});

/** The jumps that a text lists, or null where a line of it is none. */
function jumpsIn(text: string): readonly Jump[] | null {
  const lines = text.split('\n');
  const jumps = lines.flatMap((line) => {
    const [, table = '', rule = '', chain = ''] = LINE.exec(line) ?? [];
    const words = ruleWords(chain, rule);
    return words?.at(-2) === '-j' && TARGETS.test(words.at(-1) ?? '') ? [{ table, chain, rule, words }] : [];
  });
  return jumps.length === lines.length && jumps.length <= MAX_JUMPS ? jumps : null;
}

function jumpsOf({ jumps }: Params): readonly Jump[] {
  const all = jumpsIn(jumps);
  if (all === null) throw new Error('not jumps to chains of kube-proxy');
  return all;
}

function otherThan(system: IptablesSystem): IptablesSystem {
  return system === 'legacy' ? 'iptables-nft' : 'legacy';
}

function nameOf(system: IptablesSystem): string {
  return system === 'legacy' ? 'iptables-legacy' : system;
}

/** Whether packets that come in, and those of the node itself, are led to kube-proxy's Services. */
async function isInUse(system: IptablesSystem, host: Host): Promise<boolean> {
  for (const chain of ['PREROUTING', 'OUTPUT']) {
    const rules = rulesIn(await host.run([...iptables(system, 'nat'), '-S', chain]));
    if (!rules.some((rule) => rule.endsWith(' -j KUBE-SERVICES'))) return false;
  }
  return true;
}

function countOf(rules: readonly string[], rule: string): number {
  return rules.filter((other) => other === rule).length;
}
