import { styleText } from 'node:util';
import { z } from 'zod';
import { cleanText } from '../model/text.ts';

/** How a piece of a message looks. */
export type Look = 'plain' | 'bold' | 'italic' | 'code' | 'dim' | 'mention' | 'primary' | 'danger' | 'button';

/** A piece of text on one line. */
export type Span = { readonly text: string; readonly look: Look };

export type BlocksStyle = {
  /** At how many columns lines are folded. */
  readonly columns: number;
  /** The name behind the id of a user, a user group or a channel. */
  readonly nameOf: (id: string) => string;
};

const Text = z.object({ text: z.string() });
const Block = z.discriminatedUnion('type', [
  z.object({ type: z.literal('section'), text: Text }),
  z.object({ type: z.literal('context'), elements: z.array(Text) }),
  z.object({
    type: z.literal('rich_text'),
    elements: z.array(z.object({ type: z.literal('rich_text_preformatted'), elements: z.array(Text) })),
  }),
  z.object({
    type: z.literal('actions'),
    elements: z.array(z.object({ type: z.literal('button'), text: Text, style: z.enum(['primary', 'danger']).optional() })),
  }),
]);

/**
 * The lines of a Slack message as a terminal shows them. It knows the blocks that netcheck sends; of any other it shows
 * the type. Pure; the text may come from anywhere.
 */
export function layoutBlocks(blocks: readonly unknown[], style: BlocksStyle): readonly (readonly Span[])[] {
  return blocks.flatMap((block) => {
    const read = Block.safeParse(block);
    return read.success ? layoutBlock(read.data, style) : [[{ text: '[a block that a terminal cannot show]', look: 'dim' }]];
  });
}

/** The lines as text, with colours or without. */
export function paintLines(lines: readonly (readonly Span[])[], color: boolean): readonly string[] {
  return lines.map((line) =>
    line
      .map(({ text, look }) => (color ? styleText(FORMATS[look], text, { validateStream: false }) : text))
      .join('')
      .trimEnd(),
  );
}

type Format = Parameters<typeof styleText>[0];

const FORMATS: Readonly<Record<Look, Format>> = {
  plain: [],
  bold: 'bold',
  italic: 'italic',
  code: 'cyan',
  dim: 'gray',
  mention: 'blue',
  primary: ['bold', 'white', 'bgGreen'],
  danger: ['bold', 'white', 'bgRed'],
  button: ['bold', 'inverse'],
};

function layoutBlock(block: z.infer<typeof Block>, style: BlocksStyle): readonly (readonly Span[])[] {
  switch (block.type) {
    case 'section':
      return layoutMrkdwn(block.text.text, 'plain', style);
    case 'context':
      return layoutMrkdwn(block.elements.map(({ text }) => text).join('  '), 'dim', style);
    case 'rich_text':
      return block.elements.flatMap(({ elements }) => layoutLiteral(elements.map(({ text }) => text).join(''), style.columns));
    case 'actions':
      return [
        block.elements.flatMap(({ text, style: kind }, index): readonly Span[] => {
          const button: Span = { text: `[ ${cleanText(text.text)} ]`, look: kind ?? 'button' };
          return index === 0 ? [button] : [{ text: '  ', look: 'plain' }, button];
        }),
      ];
  }
}

/** Text as it stands, behind a bar. */
function layoutLiteral(text: string, columns: number): readonly (readonly Span[])[] {
  const bar: Span = { text: '│ ', look: 'dim' };
  return cleanText(text)
    .split('\n')
    .flatMap((line) => fold([{ text: line, look: 'plain' }], columns - 2).map((spans) => [bar, ...spans]));
}

function layoutMrkdwn(text: string, base: Look, { columns, nameOf }: BlocksStyle): readonly (readonly Span[])[] {
  return text.split('\n').flatMap((line) => {
    const quoted = /^(?:>|&gt;) ?(.*)$/s.exec(line);
    const spans = parseMrkdwn(quoted?.[1] ?? line, base, nameOf);
    if (quoted === null) return fold(spans, columns);
    return fold(spans, columns - 2).map((folded) => [{ text: '▏ ', look: 'dim' as const }, ...folded]);
  });
}

/** One line of Slack's mrkdwn: code first, as nothing in it counts, then references, then bold and italic. */
const MRKDWN =
  /`(?<code>[^`]+)`|<(?<tag>[^<>]+)>|(?<=^|[\s(·])\*(?<bold>[^*]+)\*(?=$|[\s).,:;·])|(?<=^|[\s(])_(?<italic>[^_]+)_(?=$|[\s).,:;])/g;

function parseMrkdwn(text: string, base: Look, nameOf: (id: string) => string): readonly Span[] {
  const spans: Span[] = [];
  let from = 0;
  for (const match of text.matchAll(MRKDWN)) {
    if (match.index > from) spans.push({ text: plainOf(text.slice(from, match.index)), look: base });
    from = match.index + match[0].length;
    const { code, tag, bold, italic } = match.groups ?? {};
    if (code !== undefined) spans.push({ text: plainOf(code), look: 'code' });
    else if (tag !== undefined) spans.push(reference(tag, base, nameOf));
    else if (bold !== undefined) {
      const inner = parseMrkdwn(bold, base, nameOf);
      spans.push(...inner.map((span): Span => (span.look === base ? { ...span, look: 'bold' } : span)));
    } else if (italic !== undefined) spans.push({ text: plainOf(italic), look: 'italic' });
  }
  if (from < text.length) spans.push({ text: plainOf(text.slice(from)), look: base });
  return spans;
}

/** What stands between angle brackets: a person, a group, a channel, a time, a link. */
function reference(tag: string, base: Look, nameOf: (id: string) => string): Span {
  const date = /^!date\^(\d+)\^/.exec(tag);
  if (date !== null) {
    const time = new Date(Number(date[1]) * 1000);
    return { text: time.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' }), look: base };
  }
  const id = /^(?:@|#|!subteam\^)([A-Z0-9]+)$/.exec(tag)?.[1];
  if (id !== undefined) return { text: `${tag.startsWith('#') ? '#' : '@'}${cleanText(nameOf(id))}`, look: 'mention' };
  const [url = '', label = url] = tag.split('|');
  return { text: plainOf(label), look: base };
}

function plainOf(text: string): string {
  return cleanText(text).replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}

/** Folds a line at the given width: between words, and within those that are longer than a line. */
function fold(spans: readonly Span[], columns: number): readonly (readonly Span[])[] {
  const pieces = spans.flatMap(({ text, look }) =>
    text
      .split(/(?<= )/)
      .flatMap((word) => shortened(word, columns))
      .map((piece) => ({ text: piece, look })),
  );
  const lines: Span[][] = [[]];
  let width = 0;
  for (const piece of pieces) {
    const own = displayWidth(piece.text.trimEnd());
    if (width > 0 && width + own > columns) {
      lines.push([]);
      width = 0;
    }
    const line = lines.at(-1) ?? [];
    const last = line.at(-1);
    if (last?.look === piece.look) line[line.length - 1] = { text: last.text + piece.text, look: piece.look };
    else line.push(piece);
    width += displayWidth(piece.text);
  }
  return lines;
}

/** A word that is longer than a line, in pieces that are not. */
function shortened(word: string, columns: number): readonly string[] {
  if (displayWidth(word.trimEnd()) <= columns) return [word];
  const characters = Array.from(segmenter.segment(word), ({ segment }) => segment);
  return Array.from({ length: Math.ceil(characters.length / columns) }, (_, index) =>
    characters.slice(index * columns, (index + 1) * columns).join(''),
  );
}

const WIDE = /\p{Emoji_Presentation}|\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\uFE0F/u;
const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** How many columns a text takes in a terminal: emoji and East Asian characters take two. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += WIDE.test(segment) ? 2 : 1;
  return width;
}
