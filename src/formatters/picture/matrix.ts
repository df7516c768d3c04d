import type { Mesh, MeshCell, MeshPlane } from '../../model/mesh.ts';
import { shorten } from '../../model/text.ts';
import type { Palette, Shade } from './palette.ts';
import { box, type Panel, type Pen } from './svg.ts';

/** Up to which time each shade stands, in milliseconds: the same in every picture, so that days can be compared. */
const SHADES: readonly { readonly below: number; readonly name: string }[] = [
  { below: 0.25, name: '< 0.25 ms' },
  { below: 0.5, name: '< 0.5' },
  { below: 1, name: '< 1' },
  { below: 2, name: '< 2' },
  { below: 10, name: '< 10' },
  { below: 50, name: '< 50' },
  { below: Infinity, name: '≥ 50 ms' },
];

/** How what is not known is filled: with the pattern that every picture defines. */
const HATCHED = 'url(#unknown)';

const ROOM = 500;
const NAME = 22;

/** What a cell shows: its shade, and the mark on it. */
export type CellLook = Shade & { readonly mark: string };

/** How a cell looks. What is lost or unknown has a mark as well as a colour. */
export function lookOf(cell: MeshCell, palette: Palette): CellLook {
  if (cell === null) return { ...palette.nothing, mark: '' };
  const [ms, loss, unknown] = cell;
  const known = ms !== null || loss !== null;
  if (loss !== null && loss >= 100) return { ...palette.lost, mark: '×' };
  if (loss !== null && loss > 0) return { ...palette.lossy, mark: '%' };
  if (unknown > 0) return { ...palette.unknown, fill: HATCHED, mark: '?' };
  if (!known) return { ...palette.untimed, mark: '–' };
  const shade = SHADES.findIndex(({ below }) => (ms ?? 0) < below);
  return { ...(palette.times[shade] ?? palette.untimed), mark: '' };
}

/** The matrix of a mesh: from each row to each column. */
export function matrixPanel(pen: Pen, mesh: Mesh, plane: MeshPlane): Panel {
  const { label, palette } = pen;
  const count = mesh.groups.length;
  const size = Math.max(11, Math.min(44, Math.floor(ROOM / count)));
  const names = mesh.groups.map(({ name }) => name);
  const longest = Math.min(NAME, Math.max(...names.map((name) => name.length)));
  const font = Math.min(12, size);
  const left = Math.round(longest * font * 0.62) + 14;
  // Names that stand side by side would lie on one another when they lean.
  const turned = size < 20 ? -90 : -45;
  const lean = turned === -45 ? 0.46 : 0.62;
  const top = 66 + Math.round(longest * font * lean);
  const parts = [
    label(0, 14, plane.of === 'nodes' ? 'Node to node' : 'Pod to pod', { size: 14, bold: true }),
    label(0, 32, planeSentence(plane), { colour: palette.faint }),
    label(0, 48, 'from each row to each column', { size: 10, colour: palette.faint }),
    ...names.flatMap((name, index) => [
      label(left - 6, top + size * (index + 0.5) + font * 0.36, name, { size: font, anchor: 'end', limit: NAME }),
      label(left + size * (index + 0.5) + (turned === -90 ? font * 0.36 : 0), top - 6, name, { size: font, turned, limit: NAME }),
    ]),
    ...plane.cells.map((cell, index) =>
      cellOf(pen, cell, left + size * (index % count), top + size * Math.floor(index / count), size),
    ),
  ];
  // The last name above the matrix leans out to the right.
  const sentence = planeSentence(plane);
  const width = Math.max(
    left + size * count + (turned === -45 ? Math.round(longest * font * lean) : 0),
    Math.round(sentence.length * 6.3),
  );
  return { width, height: top + size * count, content: parts.join('') };
}

/** What the shades and marks mean. */
export function legendPanel({ palette, label }: Pen): Panel {
  let x = 0;
  const parts: string[] = [];
  const entry = ({ fill, ink }: Shade, mark: string, name: string): void => {
    parts.push(box(x, 0, 18, 18, fill, palette.edge), label(x + 9, 13.5, mark, { anchor: 'middle', colour: ink, bold: true }));
    parts.push(label(x + 23, 13.5, name));
    x += 35 + Math.round(name.length * 6.7);
  };
  for (const [index, { name }] of SHADES.entries()) entry(palette.times[index] ?? palette.untimed, '', name);
  entry(palette.lossy, '%', 'loses packets');
  entry(palette.lost, '×', 'loses all');
  entry({ ...palette.unknown, fill: HATCHED }, '?', 'not known');
  entry(palette.untimed, '–', 'reached, no time');
  return { width: x, height: 18, content: parts.join('') };
}

function cellOf({ palette, label }: Pen, cell: MeshCell, x: number, y: number, size: number): string {
  const { fill, mark, ink } = lookOf(cell, palette);
  const [ms = null, loss = null] = cell ?? [];
  const hasRoom = size >= 30;
  const number = mark === '%' && loss !== null ? `${loss < 10 ? loss : Math.round(loss)}%` : mark === '' ? timeOf(ms) : mark;
  const text = hasRoom ? number : mark;
  const isMark = text === mark;
  const font = !hasRoom ? Math.max(8, size - 4) : isMark ? 15 : Math.min(11, Math.floor((size * 1.5) / Math.max(3, text.length)));
  return (
    box(x, y, size, size, fill, palette.grid) +
    (text === ''
      ? ''
      : label(x + size / 2, y + size / 2 + font * 0.36, text, { size: font, colour: ink, anchor: 'middle', bold: isMark }))
  );
}

function timeOf(ms: number | null): string {
  if (ms === null) return '';
  if (ms >= 10) return String(Math.round(ms));
  return ms >= 1 ? ms.toFixed(1) : ms.toFixed(2);
}

/** A time with its unit, as it is told in sentences. */
export function milliseconds(ms: number): string {
  return `${timeOf(ms)} ms`;
}

/** `30 ways measured, 2 lose packets, 1 not known; median 0.04 ms, 95 % within 0.1 ms`. */
export function planeSentence({ ways, lossy, unknown, medianMs, p95Ms }: MeshPlane): string {
  const parts = [
    `${ways} ${ways === 1 ? 'way' : 'ways'} measured, ${lossy === 0 ? 'none loses packets' : lossy === 1 ? '1 loses packets' : `${lossy} lose packets`}`,
    ...(unknown === 0 ? [] : [`${unknown} not known`]),
  ];
  const times =
    medianMs === null || p95Ms === null ? '' : `; median ${milliseconds(medianMs)}, 95 % within ${milliseconds(p95Ms)}`;
  return `${parts.join(', ')}${times}`;
}

/** The ways that a sentence names first: those that lose most, then those not known. */
export function worstWays(mesh: Mesh, plane: MeshPlane, most: number): string[] {
  const count = mesh.groups.length;
  const name = (index: number): string => shorten(mesh.groups[index]?.name ?? '', 40);
  const bad = plane.cells
    .map((cell, index) => ({ cell, from: Math.floor(index / count), to: index % count }))
    .filter(({ cell }) => cell !== null && ((cell[1] ?? 0) > 0 || cell[2] > 0))
    .sort((a, b) => (b.cell?.[1] ?? -1) - (a.cell?.[1] ?? -1));
  const shown = bad.slice(0, most).map(({ cell, from, to }) => {
    const loss = cell?.[1] ?? 0;
    return `${name(from)} to ${name(to)} ${loss > 0 ? `loses ${loss} %` : 'not known'}`;
  });
  return bad.length > most ? [...shown, `and ${bad.length - most} more`] : shown;
}
