import { cleanText, oneLine, shorten } from '../../model/text.ts';

/**
 * Text in Slack's mrkdwn in which everything from outside is cleaned and escaped. It is only made here, so a plain
 * string cannot slip into a message unescaped.
 */
export type Mrkdwn = string & { readonly mrkdwn: unique symbol };

/** Vouches for text that this room has escaped, or wrote itself. */
function trusted(text: string): Mrkdwn {
  return text as Mrkdwn;
}

/** A template whose constant parts are mrkdwn and whose values are escaped, unless they are `Mrkdwn` made here. */
export function md(parts: TemplateStringsArray, ...values: readonly (Mrkdwn | Plain)[]): Mrkdwn {
  const text = parts.map((part, index) => {
    const value = values[index];
    if (value === undefined) return part;
    return typeof value === 'object' ? part + escaped(oneLine(head(value.plain, value.limit)), value.limit) : part + value;
  });
  return trusted(text.join(''));
}

/** Text from outside on its way into a message: shown on one line, within a limit counted after escaping. */
export type Plain = { readonly plain: string; readonly limit: number };

/** Text from outside. The limit is in UTF-16 units after escaping, as Slack counts. */
export function plain(text: string | number, limit = 300): Plain {
  return { plain: String(text), limit };
}

/** Text from outside in code style, on one line. */
export function code(text: string, limit = 120): Mrkdwn {
  const inner = escaped(oneLine(head(text, limit)).replaceAll('`', 'ˋ'), limit);
  return trusted(inner === '' ? '``' : `\`${inner}\``);
}

/** A person, as a mention that notifies them. What is no user id is shown as text. */
export function mention(user: string): Mrkdwn {
  return /^[UW][A-Z0-9]{1,30}$/.test(user) ? trusted(`<@${user}>`) : code(user);
}

/** A user group, as a mention. */
export function groupMention(group: string): Mrkdwn {
  return /^S[A-Z0-9]{1,30}$/.test(group) ? trusted(`<!subteam^${group}>`) : code(group);
}

/** A channel, as a link. */
export function channelLink(channel: string): Mrkdwn {
  return /^[CDG][A-Z0-9]{1,30}$/.test(channel) ? trusted(`<#${channel}>`) : code(channel);
}

/** A time of day in the reader's own time zone. `ms` is milliseconds since the epoch. */
export function clockTime(ms: number): Mrkdwn {
  return trusted(`<!date^${Math.floor(ms / 1000)}^{time}|${new Date(ms).toISOString().slice(11, 16)} UTC>`);
}

/** A day and a time in the reader's own time zone. `ms` is milliseconds since the epoch. */
export function dateTime(ms: number): Mrkdwn {
  const fallback = new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
  return trusted(`<!date^${Math.floor(ms / 1000)}^{date_short_pretty} {time}|${fallback} UTC>`);
}

/** A link to a message of ours. */
export function link(url: string, label: Mrkdwn): Mrkdwn {
  return /^https:\/\/[\w./-]+$/.test(url) ? trusted(`<${url}|${label}>`) : label;
}

/** Pieces of mrkdwn in a row. */
export function joined(pieces: readonly Mrkdwn[], separator: ' ' | '\n' | ' · ' | ', ' | '  '): Mrkdwn {
  return trusted(pieces.join(separator));
}

/** As many whole lines as fit into the limit; when some do not, a last line says how many are left. */
export function lines<T>(items: readonly T[], line: (item: T) => Mrkdwn, limit: number): Mrkdwn {
  const room = limit - 24;
  const kept: Mrkdwn[] = [];
  let used = 0;
  for (const item of items) {
    const next = line(item);
    if (used + next.length + 1 > room) break;
    kept.push(next);
    used += next.length + 1;
  }
  const left = items.length - kept.length;
  return trusted([...kept, ...(left > 0 ? [`… and ${left} more`] : [])].join('\n'));
}

/**
 * Cleaned text for places that Slack shows literally (`plain_text`, `rich_text`), within the limit. Lines stay; Slack
 * refuses texts without anything to see, so those become a dash.
 */
export function literal(text: string, limit: number): string {
  const shown = shorten(cleanText(head(text, limit)), limit);
  return shown.trim() === '' ? '–' : shown;
}

/** As much of a long text as can matter for that limit, so that 64 KiB of evidence cost no more than a line of it. */
function head(text: string, limit: number): string {
  return text.slice(0, 4 * limit + 100);
}

/** Escapes `&`, `<` and `>`, the three that Slack reads, and stops before the limit without cutting an escape. */
function escaped(text: string, limit: number): string {
  let out = '';
  for (const character of text) {
    const piece = character === '&' ? '&amp;' : character === '<' ? '&lt;' : character === '>' ? '&gt;' : character;
    if (out.length + piece.length > limit - 1) return `${out}…`;
    out += piece;
  }
  return out;
}
