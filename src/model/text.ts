/**
 * What text from outside must not bring into a terminal, a log or a message: control characters other than newline and
 * tab, bidirectional overrides and isolates, zero-width and other invisible formatting characters, the tag block,
 * variation selectors' supplement, noncharacters and lone surrogates.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\u2028\u2029\u115F\u1160\u3164\uFFA0]/gu;

/** The text without invisible, reordering and control characters. Newlines and tabs stay; carriage returns go. */
export function cleanText(text: string): string {
  return text.replace(UNSAFE, (character) => (character === '\n' || character === '\t' ? character : ''));
}

/** The text on one line: cleaned, every run of white space one space, trimmed. */
export function oneLine(text: string): string {
  return cleanText(text.replace(/[\r\n\t\u2028\u2029]+/g, ' '))
    .replace(/\s+/g, ' ')
    .trim();
}

/** At most `limit` UTF-16 units of the text, never half a character, with an ellipsis where something was cut. */
export function shorten(text: string, limit: number): string {
  if (text.length <= limit) return text;
  if (limit < 1) return '';
  const cut = text.slice(0, limit - 1);
  return `${/[\uD800-\uDBFF]$/.test(cut) ? cut.slice(0, -1) : cut}…`;
}

/** What an error says; whatever else was thrown, as text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
