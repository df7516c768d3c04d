import { displayWidth, type Look, layoutBlocks, type Span } from '../src/formatters/blocks-terminal.ts';

/** What is drawn, from top to bottom: somebody's command, or a message of netcheck's. */
export type Drawn =
  | { readonly who: string; readonly says: string }
  | { readonly blocks: readonly unknown[]; readonly isReply: boolean };

type Line = readonly Span[];

const WIDTH = 860;
const PADDING = 22;
const AVATAR = 34;
/** From the left edge of a message to its text. */
const GUTTER = AVATAR + 12;
const REPLY_INDENT = 24;
/** The width of one character, the height of one line, and the gaps between blocks and between messages, in pixels. */
const COLUMN = 7.8;
const LINE = 20;
const BLOCK_GAP = 5;
const MESSAGE_GAP = 16;
/** Quoted output that is longer is cut: it is a picture. */
const MOST_LITERAL = 6;

const STYLE = `
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; white-space: pre; fill: #1d1c1d; }
.back { fill: #ffffff; stroke: #d0cfd4; }
.thread { fill: #e4e2e7; }
.person { fill: #7c3085; }
.app { fill: #1264a3; }
.initial { font-size: 17px; font-weight: bold; fill: #ffffff; text-anchor: middle; }
.badge { fill: #e8e7ea; }
.badge-text { font-size: 9px; font-weight: bold; fill: #616061; }
.bold, .button { font-weight: bold; }
.italic { font-style: italic; }
.code { fill: #a1260d; }
.code-back { fill: #f7f5f8; stroke: #e2e0e5; }
.literal { fill: #f7f5f8; }
.quote { fill: #c9c6cd; }
.dim { fill: #616061; }
.mention { fill: #1264a3; }
.primary, .danger { font-weight: bold; fill: #ffffff; }
.primary-back { fill: #007a5a; }
.danger-back { fill: #c01343; }
.button-back { fill: none; stroke: #616061; }
.red { fill: #d72b3f; }
.green { fill: #2a9d4a; }
.orange { fill: #e8912d; }
.grey { fill: #9a979d; }
.blue { fill: #1e74c8; }
.mark { fill: none; stroke: #ffffff; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.cross { fill: none; stroke: #d72b3f; stroke-width: 3; stroke-linecap: round; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8e8e8; }
  .back { fill: #1a1d21; stroke: #3b3f44; }
  .thread { fill: #34383d; }
  .badge { fill: #34383d; }
  .badge-text { fill: #ababad; }
  .code { fill: #e8a15d; }
  .code-back { fill: #22262b; stroke: #3b3f44; }
  .literal { fill: #22262b; }
  .quote { fill: #565a60; }
  .dim { fill: #ababad; }
  .mention { fill: #6cb4ff; }
  .button-back { stroke: #ababad; }
}`;

/** Shapes for the emoji that netcheck uses: not every font has them. Drawn in a square of 14 pixels. */
const EMOJI: Readonly<Record<string, string>> = {
  '🔴': '<circle class="red" cx="7" cy="7" r="6"/>',
  '🟠': '<circle class="orange" cx="7" cy="7" r="6"/>',
  '🟢': '<circle class="green" cx="7" cy="7" r="6"/>',
  '⚪': '<circle class="grey" cx="7" cy="7" r="6"/>',
  '✅': '<rect class="green" width="14" height="14" rx="3"/><path class="mark" d="M3.5 7.5l2.5 2.5 4.5-5.5"/>',
  '☑️': '<rect class="blue" width="14" height="14" rx="3"/><path class="mark" d="M3.5 7.5l2.5 2.5 4.5-5.5"/>',
  '❌': '<path class="cross" d="M2.5 2.5l9 9M11.5 2.5l-9 9"/>',
};
const EMOJI_PATTERN = new RegExp(`(${Object.keys(EMOJI).join('|')})`, 'u');

/** A thread as an SVG, from messages as Slack returned them. `nameOf` gives the name behind an id. */
export function drawThread(items: readonly Drawn[], nameOf: (id: string) => string): string {
  const parts: string[] = [];
  let y = PADDING;
  for (const item of items) {
    const isReply = 'isReply' in item && item.isReply;
    const left = PADDING + (isReply ? REPLY_INDENT : 0);
    const message = drawMessage(item, left, y, nameOf);
    const height = Math.max(AVATAR, message.bottom - y);
    if (isReply) {
      const bar = `<rect class="thread" x="${left - 16}" y="${y}" width="3" height="${height}" rx="1.5"/>`;
      parts.push(bar);
    }
    parts.push(...message.parts);
    y += height + MESSAGE_GAP;
  }
  const height = Math.round(y - MESSAGE_GAP + PADDING);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="A thread of netcheck in Slack">
<style>${STYLE}</style>
<rect class="back" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="10"/>
${parts.join('\n')}
</svg>
`;
}

/** One message: who it is from, then its blocks. `bottom` is where the next one may begin. */
function drawMessage(
  item: Drawn,
  left: number,
  top: number,
  nameOf: (id: string) => string,
): { readonly parts: readonly string[]; readonly bottom: number } {
  const isApp = 'blocks' in item;
  const name = isApp ? 'netcheck' : item.who;
  const textLeft = left + GUTTER;
  const columns = Math.floor((WIDTH - PADDING - textLeft) / COLUMN);
  const blocks: readonly (readonly Line[])[] = isApp
    ? item.blocks.map((block) => cut(layoutBlocks([block], { columns, nameOf })))
    : [[[{ text: item.says, look: 'plain' }]]];
  const badgeLeft = textLeft + (displayWidth(name) + 1) * COLUMN;
  const parts = [
    `<rect class="${isApp ? 'app' : 'person'}" x="${left}" y="${top}" width="${AVATAR}" height="${AVATAR}" rx="7"/>`,
    `<text class="initial" x="${left + AVATAR / 2}" y="${top + 23}">${name.slice(0, 1)}</text>`,
    `<text class="bold" x="${textLeft}" y="${top + 12}">${escaped(name)}</text>`,
    ...(isApp
      ? [
          `<rect class="badge" x="${fixed(badgeLeft)}" y="${top + 2}" width="25" height="13" rx="3"/>`,
          `<text class="badge-text" x="${fixed(badgeLeft + 4)}" y="${top + 12}">APP</text>`,
        ]
      : []),
  ];
  let y = top + 12;
  for (const lines of blocks) {
    for (const line of lines) {
      y += LINE;
      parts.push(...drawLine(line, textLeft, y));
    }
    y += BLOCK_GAP;
  }
  return { parts, bottom: y - BLOCK_GAP + 6 };
}

/** The bar that quoted output stands behind. */
const LITERAL = '│ ';
const QUOTE = '▏ ';

function cut(lines: readonly Line[]): readonly Line[] {
  const isLiteral = (line: Line): boolean => line[0]?.text === LITERAL;
  if (lines.filter(isLiteral).length <= MOST_LITERAL) return lines;
  const more: Line = [
    { text: LITERAL, look: 'dim' },
    { text: '…', look: 'dim' },
  ];
  return [...lines.slice(0, MOST_LITERAL), more];
}

/** Every piece at its own place: a renderer whose font is a little wider must not push the rest about. */
function drawLine(line: Line, left: number, y: number): readonly string[] {
  let x = left;
  return line.flatMap(({ text, look }, index) => {
    const from = x;
    const width = displayWidth(text) * COLUMN;
    x += width;
    if (index === 0 && text === LITERAL)
      return [`<rect class="literal" x="${left}" y="${y - 15}" width="${WIDTH - PADDING - left}" height="${LINE}"/>`];
    if (index === 0 && text === QUOTE) return [`<rect class="quote" x="${left}" y="${y - 14}" width="3" height="18" rx="1.5"/>`];
    if (text.trim() === '') return [];
    if (look === 'primary' || look === 'danger' || look === 'button') return drawButton(text, look, from, y);
    const back =
      look === 'code'
        ? [`<rect class="code-back" x="${fixed(from - 2)}" y="${y - 13}" width="${fixed(width + 4)}" height="17" rx="3"/>`]
        : [];
    return [...back, ...drawText(text, look, from, y)];
  });
}

function drawButton(text: string, look: Look, x: number, y: number): readonly string[] {
  const label = text.replace(/^\[ (.*) \]$/s, '$1');
  const width = (displayWidth(label) + 3) * COLUMN;
  return [
    `<rect class="${look}-back" x="${fixed(x)}" y="${y - 15}" width="${fixed(width)}" height="22" rx="4"/>`,
    `<text class="${look}" x="${fixed(x + 1.5 * COLUMN)}" y="${y}">${escaped(label)}</text>`,
  ];
}

/** Text with its emoji as shapes. */
function drawText(text: string, look: Look, left: number, y: number): readonly string[] {
  let x = left;
  return text.split(EMOJI_PATTERN).flatMap((piece) => {
    const from = x;
    x += displayWidth(piece) * COLUMN;
    const shape = EMOJI[piece];
    if (shape !== undefined) return [`<g transform="translate(${fixed(from)} ${y - 12})">${shape}</g>`];
    if (piece.trim() === '') return [];
    return [`<text class="${look}" x="${fixed(from)}" y="${y}">${escaped(piece)}</text>`];
  });
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
