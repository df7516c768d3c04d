import { z } from 'zod';

/** The two kinds of iptables, as findings name them. */
export const IptablesSystem = z.enum(['legacy', 'iptables-nft']);
export type IptablesSystem = z.infer<typeof IptablesSystem>;

export const IptablesTable = z.enum(['raw', 'mangle', 'nat', 'filter', 'security']);

/** How long iptables waits for another one that is changing rules, in seconds. */
const WAIT_S = '5';

/** The beginning of every command that reads or changes rules of IPv4. */
export function iptables(system: IptablesSystem, table: string): readonly string[] {
  return [system === 'legacy' ? 'iptables-legacy' : 'iptables-nft', '-w', WAIT_S, '-t', table];
}

/** The rules of a chain out of what `-S CHAIN` prints, each as iptables-save writes it, without its counters. */
export function rulesIn(stdout: string): string[] {
  const lines = stdout.split('\n').filter((line) => line !== '' && !/^-[PN] /.test(line));
  // A comment may hold a line break.
  if (lines.some((line) => !line.startsWith('-A '))) throw new Error('a rule of the chain is not one line');
  return lines;
}

/** Options whose argument is any text, even one that looks like an option. */
const FREE_TEXT = new Set(['--comment', '--log-prefix', '--nflog-prefix', '--ulog-prefix', '--string', '--hex-string']);

/** The options of one letter that iptables-save writes. Source: print_rule4 in iptables.c. */
const LETTERS = new Set(['-s', '-d', '-i', '-o', '-p', '-f', '-m', '-j', '-g']);

/** What is not part of a rule but tells iptables what to do; it takes the beginning of such a word for the word. */
const NOT_OF_A_RULE = (
  'append delete check insert replace list list-rules flush zero new-chain delete-chain policy rename-chain version help table ' +
  'numeric exact line-numbers modprobe set-counters verbose wait wait-interval ipv4 ipv6'
).split(' ');

/**
 * The words of a rule after `-A CHAIN`, as they go into an argument vector. Null unless the text is a rule of that chain as
 * iptables-save writes it, and nothing in it would be anything but part of a rule.
 */
export function ruleWords(chain: string, rule: string): readonly string[] | null {
  if (
    !/^-A (?:"(?:[^"\\\p{Cc}]|\\[^\p{Cc}])*"|[^\s"\p{Cc}]+)(?: (?:"(?:[^"\\\p{Cc}]|\\[^\p{Cc}])*"|[^\s"\p{Cc}]+))*$/u.test(rule)
  )
    return null;
  const words = [...rule.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '',
  );
  const [, of, ...rest] = words;
  if (of !== chain || !rest.every((word, index) => FREE_TEXT.has(rest[index - 1] ?? '') || isOfARule(word))) return null;
  return rest;
}

function isOfARule(word: string): boolean {
  if (/^-[A-Za-z]/.test(word)) return LETTERS.has(word);
  const name = /^--([^=]*)/.exec(word)?.[1];
  // `--set` is a whole option of -m recent.
  return name === undefined || name === 'set' || !NOT_OF_A_RULE.some((option) => option.startsWith(name));
}
