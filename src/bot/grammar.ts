import { code, joined, type Mrkdwn, md, plain } from '../formatters/slack/markup.ts';
import { nearNames } from '../model/near-names.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { parseSchedule, type ScheduleDraft } from '../model/schedule.ts';
import { cleanText } from '../model/text.ts';

/** What somebody typed after `/netcheck`. */
export type Command =
  | { readonly word: 'cluster' }
  | { readonly word: 'node'; readonly node: string }
  | { readonly word: 'pod'; readonly namespace: string; readonly pod: string }
  | { readonly word: 'status' }
  | ({ readonly word: 'digest' } & ScheduleDraft)
  | { readonly word: 'digest-list' }
  | { readonly word: 'digest-run'; readonly number: number | null }
  | { readonly word: 'digest-remove'; readonly number: number }
  | { readonly word: 'history'; readonly page: number }
  | { readonly word: 'policy' }
  | { readonly word: 'help' };

const WORDS = ['cluster', 'node', 'pod', 'status', 'digest', 'history', 'policy', 'help'] as const;
const LONGEST = 300;

/**
 * Understands the text of a command, or says in a sentence what to type instead. The text is from outside: it is cut
 * into words, of which every one has to be known or to match the grammar of a node's name (RFC 1123 subdomain). Smart
 * quotes, invisible characters and Slack's own link markup around a name, which paste and phones add, are taken off.
 */
export function parseCommand(text: string): Result<Command, Mrkdwn> {
  if (text.length > LONGEST) return fail(md`That is too long for a command. ${usage()}`);
  const words = tokens(text);
  if (!words.ok) return words;
  const [first, ...rest] = words.value;
  if (first === undefined) return ok({ word: 'help' });
  const word = WORDS.find((known) => known === first.toLowerCase());
  switch (word) {
    case undefined:
      return fail(unknownWord(first, rest));
    case 'node':
      return node(rest);
    case 'pod':
      return pod(rest);
    case 'digest':
      return digest(rest);
    case 'history':
      return history(rest);
    default:
      return rest.length === 0
        ? ok({ word })
        : fail(md`${code(word)} takes nothing after it, but you typed ${code(rest.join(' '), 80)}. ${suggestNode(rest[0])}`);
  }
}

/** A command's text without the cluster that it names at its end, `… on CLUSTER`, and that name; null where it names none. */
export function splitCluster(text: string): Result<{ readonly rest: string; readonly cluster: string | null }, Mrkdwn> {
  const match = /^(.*?)(?:^|\s)on\s+(\S+)\s*$/is.exec(text);
  if (match === null) return ok({ rest: text, cluster: null });
  const [, rest = '', name = ''] = match;
  const cluster = cleanText(name).toLowerCase();
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(cluster)
    ? ok({ rest, cluster })
    : fail(
        md`${code(name, 80)} cannot be the name of a cluster: those are lower-case letters, digits and ${code('-')}, at most 63.`,
      );
}

/** The commands, for whoever typed something else. */
export function usage(): Mrkdwn {
  return md`Type ${code('/netcheck cluster')}, ${code('/netcheck node NAME')}, ${code('/netcheck pod NAMESPACE/NAME')}, ${code('/netcheck status')}, ${code('/netcheck digest')}, ${code('/netcheck history')} or ${code('/netcheck help')}.`;
}

function node(names: readonly string[]): Result<Command, Mrkdwn> {
  const [name, ...more] = names;
  if (name === undefined) return fail(md`Which node? Type ${code('/netcheck node NAME')}.`);
  if (more.length > 0)
    return fail(
      md`One node at a time, please: ${code('/netcheck node NAME')}. For several, ${code('/netcheck cluster')} checks all of them.`,
    );
  const lower = name.toLowerCase();
  return isNodeName(lower)
    ? ok({ word: 'node', node: lower })
    : fail(
        md`${code(name, 80)} cannot be the name of a node: those are lower-case letters, digits, ${code('-')} and ${code('.')}, at most 253.`,
      );
}

function pod(names: readonly string[]): Result<Command, Mrkdwn> {
  const [name, ...more] = names;
  if (name === undefined) return fail(md`Which pod? Type ${code('/netcheck pod NAMESPACE/NAME')}.`);
  if (more.length > 0) return fail(md`One pod at a time, please: ${code('/netcheck pod NAMESPACE/NAME')}.`);
  const [namespace = '', own, ...rest] = name.toLowerCase().split('/');
  if (own === undefined && isNodeName(namespace))
    return fail(md`In which namespace is it? Type ${code(`/netcheck pod NAMESPACE/${namespace}`, 280)}.`);
  return isNamespace(namespace) && own !== undefined && isNodeName(own) && rest.length === 0
    ? ok({ word: 'pod', namespace, pod: own })
    : fail(
        md`${code(name, 80)} cannot be a pod: that is ${code('NAMESPACE/NAME')}, both of lower-case letters, digits and ${code('-')}.`,
      );
}

/** Whether a text can be the name of a namespace: an RFC 1123 label. */
export function isNamespace(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}

function digest(words: readonly string[]): Result<Command, Mrkdwn> {
  const [first, second, ...more] = words;
  const verb = first?.toLowerCase();
  if (verb === undefined || (verb === 'list' && second === undefined)) return ok({ word: 'digest-list' });
  if (verb !== 'list' && verb !== 'run' && verb !== 'remove') {
    const read = parseSchedule(words);
    return read.ok
      ? ok({ word: 'digest', ...read.value })
      : fail(
          md`Nothing was saved. ${plain(read.error, 600)} Also: ${code('/netcheck digest list')}, ${code('/netcheck digest run N')}, ${code('/netcheck digest remove N')}.`,
        );
  }
  const number = numberOf(second);
  if (verb === 'list' || more.length > 0 || (second !== undefined && number === null))
    return fail(
      md`${code(`digest ${verb}`)} takes ${verb === 'list' ? md`nothing` : md`the number of a digest and nothing else`} after it. The numbers: ${code('/netcheck digest list')}`,
    );
  if (verb === 'run') return ok({ word: 'digest-run', number });
  return number === null
    ? fail(md`Which digest? Type ${code('/netcheck digest remove N')}; ${code('/netcheck digest list')} shows the numbers.`)
    : ok({ word: 'digest-remove', number });
}

function history(words: readonly string[]): Result<Command, Mrkdwn> {
  const [first, ...more] = words;
  const page = first === undefined ? 1 : numberOf(first);
  return page === null || more.length > 0
    ? fail(md`${code('history')} takes the number of a page after it, or nothing: ${code('/netcheck history 2')}`)
    : ok({ word: 'history', page });
}

function numberOf(word: string | undefined): number | null {
  return word !== undefined && /^[1-9]\d{0,5}$/.test(word) ? Number(word) : null;
}

/** Whether a text can be the name of a node: an RFC 1123 subdomain. */
export function isNodeName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/.test(text);
}

function unknownWord(word: string, rest: readonly string[]): Mrkdwn {
  const near = nearNames(word, WORDS);
  const start = md`netcheck does not know ${code(word, 60)}.`;
  if (near.length > 0) {
    const meant = near.map((name) => code(`/netcheck ${withName(name, rest[0])}`, 350));
    return md`${start} Did you mean ${joined(meant, ', ')}? ${usage()}`;
  }
  const asPod = rest.length === 0 && word.includes('/') ? pod([word]) : null;
  if (asPod?.ok === true)
    return md`${start} If it is a pod, type ${code(`/netcheck pod ${word.toLowerCase()}`, 350)}. ${usage()}`;
  const name = rest.length === 0 ? safeName(word) : null;
  return name === null
    ? md`${start} ${usage()}`
    : md`${start} If it is a node, type ${code(`/netcheck node ${name}`, 280)}. ${usage()}`;
}

/** A command with the name that was typed after it, or with what has to be. */
function withName(word: string, name: string | undefined): string {
  if (word === 'node') return `node ${safeName(name) ?? 'NAME'}`;
  if (word !== 'pod') return word;
  return `pod ${pod([name ?? '']).ok ? name?.toLowerCase() : 'NAMESPACE/NAME'}`;
}

function suggestNode(name: string | undefined): Mrkdwn {
  const safe = safeName(name);
  return safe === null ? usage() : md`For one node, type ${code(`/netcheck node ${safe}`, 280)}.`;
}

function safeName(word: string | undefined): string | null {
  const lower = word?.toLowerCase() ?? '';
  return isNodeName(lower) ? lower : null;
}

/** Cuts a text into words. Quotes hold a word together; a quote that is not closed is said. */
function tokens(text: string): Result<string[], Mrkdwn> {
  const plainText = cleanText(
    text
      .replace(/[\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\r\n\t]/g, ' ')
      .replace(/[\u2018\u2019\u201A\u201B]/g, "'")
      .replace(/[\u201C\u201D\u201E\u201F\u00AB\u00BB]/g, '"')
      // With escaping switched on, Slack sends a name that looks like a host as <http://name|name>.
      .replace(/<https?:\/\/[^|<>\s]{1,260}\|([^<>|\s]{1,260})>/g, '$1'),
  );
  const found: string[] = [];
  const pattern = /\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+)|(["']))/y;
  while (pattern.lastIndex < plainText.length) {
    const match = pattern.exec(plainText);
    if (match === null) break;
    if (match[4] !== undefined) return fail(md`A quotation mark is not closed. ${usage()}`);
    const word = (match[1] ?? match[2] ?? match[3] ?? '').trim();
    if (word !== '') found.push(word);
  }
  return ok(found);
}

/** That a cluster has no node of that name, with the names that come close. `ageMs` is the age of the list of names. */
export function unknownNode(name: string, cluster: string, names: readonly string[], ageMs: number): Mrkdwn {
  const near = nearNames(name, names);
  const start = md`Cluster ${code(cluster, 70)} has no node ${code(name, 260)} (as of ${plain(Math.max(1, Math.round(ageMs / 1000)))} s ago), so nothing was started.`;
  if (near.length > 0)
    return md`${start} Did you mean ${joined(
      near.map((one) => code(`/netcheck node ${one}`, 280)),
      ', ',
    )}?`;
  const some = names.slice(0, 5).map((one) => code(one, 260));
  return md`${start} It has ${plain(names.length)} nodes: ${joined(some, ', ')}${names.length > 5 ? md`, …` : md``}`;
}
