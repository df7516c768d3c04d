import { z } from 'zod';
import { ruleText } from '../../model/nft-text.ts';
import { IptablesSystem, IptablesTable, iptables, rulesIn, ruleWords } from '../kit/iptables.ts';
import { defineRemedy, type Host } from '../remedy.ts';

const Rule = z.string().min(1).max(1500);

/** `number` is the rule's place in the chain, from 1. */
const InIptables = z
  .strictObject({
    system: IptablesSystem,
    table: IptablesTable,
    chain: z.string().regex(/^[A-Za-z0-9_][\w.:-]{0,27}$/, 'not the name of a chain'),
    rule: Rule,
    number: z.string().regex(/^[1-9]\d{0,5}$/, 'not the number of a rule'),
  })
  .refine(({ chain, rule }) => ruleWords(chain, rule) !== null, 'not a rule of that chain');

const InNft = z.strictObject({
  system: z.literal('nft'),
  table: z.string().regex(/^(?:ip|ip6|inet|arp|bridge|netdev) [A-Za-z_][\w./-]{0,127}$/, 'not a family and the name of a table'),
  chain: z.string().regex(/^[A-Za-z_][\w./-]{0,127}$/, 'not the name of a chain'),
  rule: Rule,
  handle: z.string().regex(/^[1-9]\d{0,18}$/, 'not the handle of a rule'),
});

const Params = z.union([InIptables, InNft]);
type Params = z.infer<typeof Params>;

/** Every rule of the chain, in order, as its own tool writes it without counters; `at` is where the one is, from 1. */
const State = z.strictObject({ rules: z.array(z.string()), at: z.int().nullable() });
type State = z.infer<typeof State>;

/**
 * N2, N3: deletes exactly one rule of a packet filter. iptables deletes by the rule's own words, so that a chain which is
 * changed at the same moment loses no other rule; nft knows rules by handles, which it gives out only once per table.
 */
export const deleteFilterRule = defineRemedy<Params, State>({
  id: 'delete-filter-rule',
  place: 'node',
  title: 'Delete the packet filter rule',
  risk: 'Everything that the rule kept out gets through from then on, unless another rule keeps it out. Whatever put it there (a script, configuration management, rules loaded at boot) may put it there again.',
  riskClass: 'medium',
  undo: 'The same rule goes back to the same place of its chain, with counters at zero, unless the chain has been changed since.',
  params: Params,
  state: State,
  commands: (params) =>
    params.system === 'nft'
      ? [['nft', 'delete', 'rule', ...params.table.split(' '), params.chain, 'handle', params.handle]]
      : [[...iptables(params.system, params.table), '-D', params.chain, ...wordsOf(params)]],
  read: (params, host) => (params.system === 'nft' ? readNft(params, host) : readIptables(params, host)),
  obsolete(params, { at }) {
    if (at === null) return `${chainText(params)} has no such rule any more: ${params.rule}`;
    if (params.system === 'nft' || at === Number(params.number)) return null;
    return `it is rule ${at} of ${chainText(params)} by now, not rule ${params.number}`;
  },
  describe: (params, { rules, at }) => [
    {
      source: listing(params).join(' '),
      text:
        at === null
          ? `none of the ${rules.length} rules is ${params.rule}`
          : `rule ${at} of ${rules.length} is ${rules[at - 1] ?? params.rule}`,
    },
  ],
  undoCommands(params, prior, after) {
    const { rules, at } = prior;
    const rule = at === null ? undefined : rules[at - 1];
    if (at === null || rule === undefined || JSON.stringify(rules.toSpliced(at - 1, 1)) !== JSON.stringify(after.rules))
      return [];
    if (params.system !== 'nft')
      return [[...iptables(params.system, params.table), '-I', params.chain, String(at), ...wordsOf(params)]];
    const where = [...params.table.split(' '), params.chain];
    // An index is that of the rule which the new one is put before.
    return at > after.rules.length
      ? [['nft', 'add', 'rule', ...where, rule]]
      : [['nft', 'insert', 'rule', ...where, 'index', String(at - 1), rule]];
  },
});

function wordsOf({ chain, rule }: z.infer<typeof InIptables>): readonly string[] {
  const words = ruleWords(chain, rule);
  if (words === null) throw new Error(`not a rule of ${chain}: ${rule}`);
  return words;
}

function chainText({ table, chain }: Params): string {
  return `${chain} of table ${table}`;
}

/** The command that shows the chain. */
function listing(params: Params): readonly string[] {
  return params.system === 'nft'
    ? ['nft', '-s', '-a', 'list', 'chain', ...params.table.split(' '), params.chain]
    : [...iptables(params.system, params.table), '-S', params.chain];
}

async function readIptables(params: z.infer<typeof InIptables>, host: Host): Promise<State> {
  const rules = rulesIn(await host.run(listing(params)));
  const at = rules.indexOf(params.rule);
  return { rules, at: at < 0 ? null : at + 1 };
}

const Chain = z.object({
  nftables: z.array(
    z.object({
      rule: z.object({ handle: z.int(), comment: z.string().optional(), expr: z.array(z.unknown()).default([]) }).optional(),
    }),
  ),
});

/**
 * The chain as nft lists it, to be written back, and as JSON, which findings are made of. A rule that was put back has
 * another handle than before, and counts as the one that it was by its text.
 */
async function readNft(params: z.infer<typeof InNft>, host: Host): Promise<State> {
  const [family = '', table = ''] = params.table.split(' ');
  const json = await host.run(['nft', '-j', 'list', 'chain', family, table, params.chain]);
  const lines = new Map(
    [...(await host.run(listing(params))).matchAll(/^\t\t(.+) # handle (\d+)$/gm)].map(([, text = '', handle]) => [
      Number(handle),
      text,
    ]),
  );
  const known = Chain.parse(JSON.parse(json)).nftables.flatMap(({ rule }) => rule ?? []);
  const rules = known.map(({ handle, expr, comment }) => {
    const text = lines.get(handle);
    if (text === undefined || lines.size !== known.length) throw new Error('the chain was changed while it was read');
    return { handle, text, told: ruleText(expr, comment), isWritable: isWritable(text, { expr, comment }) };
  });
  const byHandle = rules.findIndex(({ handle }) => handle === Number(params.handle));
  const byText = rules.findIndex(({ told }) => told === params.rule);
  const at = byHandle < 0 ? byText : rules[byHandle]?.told === params.rule ? byHandle : -1;
  if (rules[at]?.isWritable === false) throw new Error(`nft could not write it back as it is: ${rules[at].text}`);
  return { rules: rules.map(({ text }) => text), at: at < 0 ? null : at + 1 };
}

/**
 * Whether nft takes its own text of a rule for one rule. It prints strings as they are, and matches of iptables as notes;
 * neither a command nor a comment may come of that.
 */
function isWritable(text: string, rule: unknown): boolean {
  const isPlain = !JSON.stringify(rule).includes('\\');
  return isPlain && !/["#;]|\bxt\b/.test(text.replaceAll(/"[^"]*"/g, ''));
}
