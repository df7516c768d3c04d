import { cleanText, shorten } from '../../model/text.ts';

/** The font that pictures are drawn with; its file comes with the program, see `png.ts`. */
export const FONT = 'DejaVu Sans';

/**
 * The colours. A picture brings its own background, so that it looks the same in a light and in a dark Slack. Times go
 * from light to dark in one hue, and what is wrong is orange: people who see colours differently can tell those apart
 * (Okabe and Ito, ColorBrewer). Nothing is told by colour alone.
 */
export const COLOURS = {
  background: '#ffffff',
  edge: '#8a8f98',
  ink: '#1d2129',
  faint: '#565c66',
  grid: '#d5d9df',
  nothing: '#eef0f3',
  hatch: '#c9ced6',
  untimed: '#f7fbff',
  lossy: '#f5a65b',
  lost: '#b84a00',
  line: '#2171b5',
  times: ['#f7fbff', '#deebf7', '#b5d3ea', '#7fb5d9', '#2c70a8', '#17518a', '#08306b'],
} as const;

/** Text for an element's content: cleaned, escaped and at most so many characters, shortened in the middle. */
export function words(text: string, limit: number): string {
  const clean = cleanText(text);
  const cut =
    clean.length <= limit
      ? clean
      : `${shorten(clean, Math.ceil(limit / 2)).replace(/…$/, '')}…${clean.slice(clean.length - Math.floor(limit / 2) + 1)}`;
  return cut.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** A line of text. `anchor` is where `x` is; `turned` turns it around its beginning, in degrees. */
export function label(
  x: number,
  y: number,
  text: string,
  options: {
    readonly size?: number;
    readonly colour?: string;
    readonly anchor?: 'start' | 'middle' | 'end';
    readonly bold?: boolean;
    readonly turned?: number;
    readonly limit?: number;
  } = {},
): string {
  const { size = 11, colour = COLOURS.ink, anchor = 'start', bold = false, turned = 0, limit = 120 } = options;
  const turn = turned === 0 ? '' : ` transform="rotate(${turned} ${x} ${y})"`;
  return `<text x="${x}" y="${y}" font-family="${FONT}" font-size="${size}" fill="${colour}" text-anchor="${anchor}"${bold ? ' font-weight="bold"' : ''}${turn}>${words(text, limit)}</text>`;
}

/** A filled rectangle. */
export function box(x: number, y: number, width: number, height: number, fill: string, edge = 'none'): string {
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="${fill}" stroke="${edge}"/>`;
}

/** A part of a picture, with the room that it takes. */
export type Panel = { readonly width: number; readonly height: number; readonly content: string };

/** A panel moved to a place. */
export function placed(panel: Panel, x: number, y: number): string {
  return `<g transform="translate(${x} ${y})">${panel.content}</g>`;
}
