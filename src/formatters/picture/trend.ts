import type { TrendPoint } from '../../model/digest.ts';
import { milliseconds } from './matrix.ts';
import { box, type Panel, type Pen } from './svg.ts';

const WIDTH = 760;
const LEFT = 60;
const CHART = 70;
const SIGNS = { healthy: '●', degraded: '▲', failed: '✕', inconclusive: '?' } as const;

/** How the digests went: failed probes as bars under a sign for each status, and times between the nodes as lines. */
export function trendPanel({ palette, label }: Pen, points: readonly TrendPoint[], timezone: string): Panel {
  const slot = Math.min(46, (WIDTH - LEFT) / points.length);
  const x = (index: number): number => LEFT + slot * (index + 0.5);
  const most = Math.max(1, ...points.map(({ failed }) => failed ?? 0));
  const slowest = Math.max(0.1, ...points.map(({ p95Ms }) => p95Ms ?? 0));
  const bars = 54;
  const times = bars + CHART + 46;
  const day = new Intl.DateTimeFormat('en-GB', {
    timeZone: timezone,
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
  });
  const [first, last] = [points[0], points.at(-1)].map((point) => (point === undefined ? '' : day.format(point.at)));
  const end = LEFT + slot * points.length;
  const ends = (x: number, text: string | undefined, anchor: 'start' | 'end'): string =>
    label(x, times + CHART + 18, text ?? '', { size: 10, anchor, colour: palette.faint });
  // A few digests leave no room for both ends side by side.
  const edges =
    end - LEFT < 220 ? [ends(LEFT, `${first} – ${last}`, 'start')] : [ends(LEFT, first, 'start'), ends(end, last, 'end')];
  const parts = [
    label(0, 14, `The last ${points.length} digests`, { size: 14, bold: true }),
    label(0, 32, '● healthy  ▲ degraded  ✕ failed  ? inconclusive or no verdict', { colour: palette.faint }),
    label(LEFT - 8, bars + 10, `${most}`, { size: 10, anchor: 'end', colour: palette.faint }),
    label(LEFT - 8, bars + CHART, '0', { size: 10, anchor: 'end', colour: palette.faint }),
    label(LEFT, bars + CHART + 28, 'above: failed probes; below: time between the nodes, — median, - - 95 % within', {
      size: 10,
      colour: palette.faint,
    }),
    axis(bars, slot * points.length, palette.edge),
    ...points.flatMap(({ failed, status }, index) => {
      const height = ((failed ?? 0) / most) * (CHART - 16);
      const sign = status === null ? '?' : SIGNS[status];
      return [
        box(x(index) - slot * 0.35, bars + CHART - height, slot * 0.7, height, palette.lost.fill),
        label(x(index), bars + CHART - height - 4, sign, { size: Math.min(11, slot), anchor: 'middle' }),
      ];
    }),
    axis(times, slot * points.length, palette.edge),
    label(LEFT - 8, times + 10, milliseconds(slowest), { size: 10, anchor: 'end', colour: palette.faint }),
    label(LEFT - 8, times + CHART, '0', { size: 10, anchor: 'end', colour: palette.faint }),
    ...(['medianMs', 'p95Ms'] as const).map((which) => {
      const height = (ms: number): number => times + CHART - (ms / slowest) * (CHART - 6);
      return line(
        points.map((point, index) => (point[which] === null ? null : [x(index), height(point[which])])),
        palette.line,
        which === 'p95Ms',
      );
    }),
    ...edges,
  ];
  return { width: WIDTH, height: times + CHART + 24, content: parts.join('') };
}

function axis(top: number, width: number, colour: string): string {
  return `<path d="M${LEFT} ${top} V${top + CHART} H${LEFT + width}" fill="none" stroke="${colour}"/>`;
}

/** A line that is broken where there is no value; a value between two gaps is a dot. */
function line(points: readonly (readonly [number, number] | null)[], colour: string, dashed: boolean): string {
  const path = points
    .map((point, index) =>
      point === null ? '' : `${points[index - 1] == null ? 'M' : 'L'}${point[0].toFixed(1)} ${point[1].toFixed(1)}`,
    )
    .join(' ');
  const dots = points.map((point) =>
    point === null ? '' : `<circle cx="${point[0].toFixed(1)}" cy="${point[1].toFixed(1)}" r="2.2" fill="${colour}"/>`,
  );
  return `<path d="${path.trim() === '' ? 'M0 0' : path}" fill="none" stroke="${colour}" stroke-width="1.6"${dashed ? ' stroke-dasharray="5 4"' : ''}/>${dots.join('')}`;
}
