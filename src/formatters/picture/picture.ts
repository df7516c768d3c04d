import type { Theme, TrendPoint } from '../../model/digest.ts';
import type { Mesh } from '../../model/mesh.ts';
import { shorten } from '../../model/text.ts';
import { count } from '../slack/words.ts';
import { legendPanel, matrixPanel, planeSentence, worstWays } from './matrix.ts';
import { PALETTES } from './palette.ts';
import { createPen, type Panel, placed } from './svg.ts';
import { trendPanel } from './trend.ts';

const EDGE = 22;
const GAP = 34;
/** What Slack takes as a description of a picture. */
const ALT_LIMIT = 1_000;

/** A picture: SVG, and the words for whoever does not see it. */
export type Picture = { readonly svg: string; readonly alt: string; readonly width: number; readonly height: number };

/**
 * The picture of a digest: the matrix of each plane of the mesh, and how the last digests went. Null when there is neither.
 * Pure. `timezone` is the schedule's, `theme` that of the Slack it is made for.
 */
export function digestPicture(content: {
  readonly cluster: string;
  readonly when: string;
  readonly timezone: string;
  readonly theme: Theme;
  readonly mesh: Mesh | undefined;
  readonly trend: readonly TrendPoint[];
}): Picture | null {
  const { cluster, when, timezone, theme, mesh } = content;
  const pen = createPen(PALETTES[theme]);
  const { palette, label } = pen;
  const trend = content.trend.length < 2 ? [] : content.trend;
  if (mesh === undefined && trend.length === 0) return null;
  const matrices = mesh?.planes.map((plane) => matrixPanel(pen, mesh, plane)) ?? [];
  const rows: Panel[][] = [
    matrices,
    ...(matrices.length > 0 ? [[legendPanel(pen)]] : []),
    ...(trend.length > 0 ? [[trendPanel(pen, trend, timezone)]] : []),
  ];
  let y = EDGE + 34;
  let width = 0;
  const parts: string[] = [];
  for (const row of rows.filter((panels) => panels.length > 0)) {
    let x = EDGE;
    for (const panel of row) {
      parts.push(placed(panel, x, y));
      x += panel.width + GAP;
    }
    width = Math.max(width, x - GAP + EDGE);
    y += Math.max(...row.map((panel) => panel.height)) + GAP;
  }
  const height = y - GAP + EDGE;
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<defs><pattern id="unknown" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="${palette.unknown.fill}"/><rect width="2.4" height="6" fill="${palette.hatch}"/></pattern></defs>`,
    `<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="${palette.background}" stroke="${palette.edge}"/>`,
    label(EDGE, EDGE + 14, `Cluster ${cluster}`, { size: 16, bold: true }),
    label(width - EDGE, EDGE + 14, when, { size: 11, anchor: 'end', colour: palette.faint }),
    ...parts,
    '</svg>',
  ].join('');
  return { svg, alt: shorten(altOf(cluster, when, mesh, trend), ALT_LIMIT), width, height };
}

function altOf(cluster: string, when: string, mesh: Mesh | undefined, trend: readonly TrendPoint[]): string {
  const sentences = [
    `Cluster ${cluster}, ${when}.`,
    ...(mesh?.planes ?? []).map((plane) => {
      const worst = mesh === undefined ? [] : worstWays(mesh, plane, 5);
      const what = plane.of === 'nodes' ? 'Node to node' : 'Pod to pod';
      return `${what}: ${planeSentence(plane)}.${worst.length === 0 ? '' : ` ${worst.join('; ')}.`}`;
    }),
  ];
  if (trend.length > 0) {
    const healthy = trend.filter(({ status }) => status === 'healthy').length;
    sentences.push(
      `The last ${count(trend.length, 'digest')}: ${healthy} healthy; failed probes ${trend
        .map(({ failed }) => failed ?? '?')
        .slice(-12)
        .join(', ')}.`,
    );
  }
  return sentences.join(' ');
}
