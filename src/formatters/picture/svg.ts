import { cleanText, shorten } from '../../model/text.ts';
import type { Palette } from './palette.ts';

/** The font that pictures are drawn with; its file comes with the program, see `png.ts`. */
export const FONT = 'DejaVu Sans';

/** Text for an element's content: cleaned, escaped and at most so many characters, shortened in the middle. */
function words(text: string, limit: number): string {
  const clean = cleanText(text);
  const cut =
    clean.length <= limit
      ? clean
      : `${shorten(clean, Math.ceil(limit / 2)).replace(/…$/, '')}…${clean.slice(clean.length - Math.floor(limit / 2) + 1)}`;
  return cut.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** How a line of text looks. `anchor` is where `x` is; `turned` turns it around its beginning, in degrees. */
type LabelOptions = {
  readonly size?: number;
  readonly colour?: string;
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly bold?: boolean;
  readonly turned?: number;
  readonly limit?: number;
};

/** Draws in the colours of a palette. */
export type Pen = {
  readonly palette: Palette;
  /** A line of text, in the palette's ink unless told otherwise. */
  readonly label: (x: number, y: number, text: string, options?: LabelOptions) => string;
};

/** Makes a pen. */
export function createPen(palette: Palette): Pen {
  return {
    palette,
    label: (x, y, text, options = {}) => {
      const { size = 11, colour = palette.ink, anchor = 'start', bold = false, turned = 0, limit = 120 } = options;
      const turn = turned === 0 ? '' : ` transform="rotate(${turned} ${x} ${y})"`;
      return `<text x="${x}" y="${y}" font-family="${FONT}" font-size="${size}" fill="${colour}" text-anchor="${anchor}"${bold ? ' font-weight="bold"' : ''}${turn}>${words(text, limit)}</text>`;
    },
  };
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
