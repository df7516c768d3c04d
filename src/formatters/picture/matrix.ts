import type { Mesh, MeshCell, MeshPlane } from '../../model/mesh.ts';
import { shorten } from '../../model/text.ts';
import { box, COLOURS, label, type Panel } from './svg.ts';

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

const ROOM = 500;
const NAME = 22;

/** What a cell shows: its shade, and the mark on it. */
export type CellLook = { readonly fill: string; readonly mark: string; readonly ink: string };

/** How a cell looks. What is lost or unknown has a mark as well as a colour. */
export function lookOf(cell: MeshCell): CellLook {
  if (cell === null) return { fill: COLOURS.nothing, mark: '', ink: COLOURS.ink };
  const [ms, loss, unknown] = cell;
  const known = ms !== null || loss !== null;
  if (loss !== null && loss >= 100) return { fill: COLOURS.lost, mark: '×', ink: '#ffffff' };
  if (loss !== null && loss > 0) return { fill: COLOURS.lossy, mark: '%', ink: COLOURS.ink };
  if (unknown > 0) return { fill: 'url(#unknown)', mark: '?', ink: COLOURS.ink };
  if (!known) return { fill: COLOURS.untimed, mark: '·', ink: COLOURS.ink };
  const shade = SHADES.findIndex(({ below }) => (ms ?? 0) < below);
  return { fill: COLOURS.times[shade] ?? COLOURS.untimed, mark: '', ink: shade >= 4 ? '#ffffff' : COLOURS.ink };
}

/** The matrix of a mesh: from each row to each column. */
export function matrixPanel(mesh: Mesh, plane: MeshPlane): Panel {
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
    label(0, 32, planeSentence(plane), { colour: COLOURS.faint }),
    label(0, 48, 'from each row to each column', { size: 10, colour: COLOURS.faint }),
    ...names.flatMap((name, index) => [
      label(left - 6, top + size * (index + 0.5) + font * 0.36, name, { size: font, anchor: 'end', limit: NAME }),
      label(left + size * (index + 0.5) + (turned === -90 ? font * 0.36 : 0), top - 6, name, { size: font, turned, limit: NAME }),
    ]),
    ...plane.cells.map((cell, index) =>
      cellOf(cell, left + size * (index % count), top + size * Math.floor(index / count), size),
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
export function legendPanel(): Panel {
  let x = 0;
  const parts: string[] = [];
  const entry = (fill: string, mark: string, ink: string, name: string): void => {
    parts.push(box(x, 0, 18, 18, fill, COLOURS.edge), label(x + 9, 13.5, mark, { anchor: 'middle', colour: ink, bold: true }));
    parts.push(label(x + 23, 13.5, name));
    x += 35 + Math.round(name.length * 6.7);
  };
  for (const [index, { name }] of SHADES.entries()) entry(COLOURS.times[index] ?? '', '', COLOURS.ink, name);
  entry(COLOURS.lossy, '%', COLOURS.ink, 'loses packets');
  entry(COLOURS.lost, '×', '#ffffff', 'loses all');
  entry('url(#unknown)', '?', COLOURS.ink, 'not known');
  entry(COLOURS.untimed, '·', COLOURS.ink, 'reached, no time');
  return { width: x, height: 18, content: parts.join('') };
}

function cellOf(cell: MeshCell, x: number, y: number, size: number): string {
  const { fill, mark, ink } = lookOf(cell);
  const [ms = null, loss = null] = cell ?? [];
  const number = loss !== null && loss > 0 ? (loss < 100 ? `${loss < 10 ? loss : Math.round(loss)}%` : mark) : timeOf(ms);
  const hasRoom = size >= 30;
  const text = hasRoom && number !== '' ? number : mark;
  const font = hasRoom ? Math.min(11, Math.floor((size * 1.5) / Math.max(3, text.length))) : Math.max(8, size - 4);
  return (
    box(x, y, size, size, fill, COLOURS.grid) +
    (text === '' ? '' : label(x + size / 2, y + size / 2 + font * 0.36, text, { size: font, colour: ink, anchor: 'middle' }))
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
