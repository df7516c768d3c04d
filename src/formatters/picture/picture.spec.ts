import { expect, test } from 'vitest';
import type { Mesh, MeshCell } from '../../model/mesh.ts';
import { lookOf } from './matrix.ts';
import { PALETTES } from './palette.ts';
import { digestPicture } from './picture.ts';
import { renderPng } from './png.ts';

function meshOf(names: readonly string[], cell: (from: number, to: number) => MeshCell): Mesh {
  const count = names.length;
  const cells = Array.from({ length: count * count }, (_, index) => {
    const [from, to] = [Math.floor(index / count), index % count];
    return from === to ? null : cell(from, to);
  });
  const known = cells.filter((one) => one !== null);
  return {
    groups: names.map((name) => ({ name, nodes: 1 })),
    planes: [
      {
        of: 'pods',
        ways: known.filter(([ms, loss]) => ms !== null || loss !== null).length,
        lossy: known.filter(([, loss]) => (loss ?? 0) > 0).length,
        unknown: known.reduce((sum, [, , unknown]) => sum + unknown, 0),
        medianMs: 0.3,
        p95Ms: 1.25,
        cells,
      },
    ],
  };
}

const THREE = ['node-1', 'node-2', 'node-3'];
const broken = meshOf(THREE, (from, to) =>
  from === 1 ? [null, 100, 0] : from === 2 && to === 0 ? [null, null, 1] : [0.3, to === 2 ? 12.5 : 0, 0],
);
const when = { cluster: 'prod', when: 'Mon, 23 Nov 2026, 09:00 CET', timezone: 'Europe/Berlin', theme: 'light' as const };
const trend = [
  { at: Date.UTC(2026, 10, 20, 8), status: 'healthy' as const, failed: 0, medianMs: 0.3, p95Ms: 0.9 },
  { at: Date.UTC(2026, 10, 21, 8), status: null, failed: null, medianMs: null, p95Ms: null },
  { at: Date.UTC(2026, 10, 22, 8), status: 'failed' as const, failed: 4, medianMs: 0.3, p95Ms: 1.25 },
];

test('the words for whoever does not see the picture say what it shows', () => {
  expect(digestPicture({ ...when, mesh: broken, trend })?.alt).toBe(
    'Cluster prod, Mon, 23 Nov 2026, 09:00 CET. Pod to pod: 5 ways measured, 3 lose packets, 1 not known; median 0.30 ms, 95 % within 1.3 ms. node-2 to node-1 loses 100 %; node-2 to node-3 loses 100 %; node-1 to node-3 loses 12.5 %; node-3 to node-1 not known. The last 3 digests: 1 healthy; failed probes 0, ?, 4.',
  );
});

test('there is no picture of nothing, and one digest is no trend', () => {
  expect(digestPicture({ ...when, mesh: undefined, trend: trend.slice(0, 1) })).toBeNull();
  expect(digestPicture({ ...when, mesh: undefined, trend })?.svg).toContain('The last 3 digests');
});

test('what is lost, lossy, unknown, untimed and not asked for look different without their colour', () => {
  const looks = [[null, 100, 0], [2, 25, 0], [null, null, 2], [null, null, 0], null].map((cell) =>
    lookOf(cell as MeshCell, PALETTES.light),
  );
  expect(looks.map(({ mark }) => mark)).toEqual(['×', '%', '?', '–', '']);
  // Loss is told before time, and what is unknown about some ways of a cell before the time of the others.
  const mixed: MeshCell[] = [
    [0.1, 0, 0],
    [0.1, 0, 3],
    [0.1, 2, 3],
  ];
  expect(mixed.map((cell) => lookOf(cell, PALETTES.light).mark)).toEqual(['', '?', '%']);
});

/** What eyes that lack one kind of cone make of linear red, green and blue (Machado, Oliveira and Fernandes 2009). */
const EYES: Readonly<Record<string, readonly number[][]>> = {
  'eyes with all cones': [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  'eyes with protanopia': [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  'eyes with deuteranopia': [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  'eyes with tritanopia': [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

const THEMES = Object.entries(PALETTES);

test.each(THEMES)('%s: times have seven shades that move away from the ground', (_theme, palette) => {
  const shades = [0.1, 0.3, 0.7, 1.5, 5, 20, 300].map((ms) => lookOf([ms, 0, 0], palette).fill);
  const distances = shades.map((fill) => contrast(fill, palette.background));
  expect(distances).toEqual(distances.toSorted((a, b) => a - b));
  expect(new Set(distances).size).toBe(7);
});

test.each(THEMES)('%s: text has a contrast of 4.5, what carries a meaning one of 3, to what it stands on', (_theme, palette) => {
  const { background, ink, faint, line, lossy, lost, edge } = palette;
  const written = [
    ...[...palette.times, lossy, lost, palette.nothing, palette.untimed, palette.unknown].map((shade) => [shade.fill, shade.ink]),
    // What is not known is hatched in two colours.
    [palette.hatch, palette.unknown.ink],
    [background, ink],
    [background, faint],
  ] as const;
  expect(written.filter(([ground, on]) => contrast(ground, on) < 4.5)).toEqual([]);
  const marks = [lossy.fill, lost.fill, line, edge];
  expect(marks.filter((colour) => contrast(colour, background) < 3)).toEqual([]);
  // The picture stands out from a light and from a dark Slack by its edge.
  expect(['#ffffff', '#1a1d21'].filter((around) => contrast(edge, around) < 3)).toEqual([]);
});

test.each(THEMES.flatMap(([theme, palette]) => Object.keys(EYES).map((eyes) => [theme, eyes, palette] as const)))(
  '%s: %s see what is wrong, and each shade from the next',
  (_theme, eyes, palette) => {
    const seen = (colour: string): number[] => perceived(linear(colour), EYES[eyes] ?? []);
    const [lossy, lost, times] = [seen(palette.lossy.fill), seen(palette.lost.fill), palette.times.map(({ fill }) => seen(fill))];
    // 0.02 is about what can just be told apart, side by side.
    expect(Math.min(...times.flatMap((time) => [distance(time, lossy), distance(time, lost)]))).toBeGreaterThan(0.15);
    expect(distance(lossy, lost)).toBeGreaterThan(0.15);
    expect(Math.min(...times.slice(1).map((time, index) => distance(time, times[index] ?? [])))).toBeGreaterThan(0.045);
  },
);

test('a dark picture has the same parts and words as a light one, and none of its colours', () => {
  const [light, dark] = (['light', 'dark'] as const).map((theme) => digestPicture({ ...when, theme, mesh: broken, trend }));
  const shape = (svg = ''): string => svg.replaceAll(/#[0-9a-f]{6}/g, '#');
  expect({ ...dark, svg: shape(dark?.svg) }).toEqual({ ...light, svg: shape(light?.svg) });
  const { faint, times, lost } = PALETTES.light;
  expect([faint, times[0]?.fill, lost.fill].map((colour) => light?.svg.includes(`"${colour}"`))).toEqual([true, true, true]);
  expect([faint, times[0]?.fill, lost.fill].map((colour) => dark?.svg.includes(`"${colour}"`))).toEqual([false, false, false]);
});

test('names from outside are text in the picture, whatever they contain', () => {
  const hostile = '</text><image href="file:///etc/passwd"/>\u202E';
  const svg = digestPicture({ ...when, cluster: hostile, mesh: meshOf([hostile, '&', 'c'], () => [1, 0, 0]), trend })?.svg ?? '';
  expect(svg).not.toMatch(/<image|\u202E/);
  expect(svg).toContain('&lt;/text&gt;');
});

test('it is drawn as PNG with its own font, also for a large cluster', async () => {
  const large = meshOf(
    Array.from({ length: 48 }, (_, index) => `ip-10-0-${index}-17.eu-central-1.compute.internal`),
    (from, to) => [0.1 * (from + to), 0, 0],
  );
  const sizes: { readonly width: number; readonly height: number }[] = [];
  for (const mesh of [broken, { ...large, planes: [...large.planes, ...large.planes] }]) {
    const picture = digestPicture({ ...when, mesh, trend });
    if (picture === null) throw new Error('no picture');
    const png = await renderPng(picture);
    expect(png.subarray(0, 8).toString('latin1')).toBe('\u0089PNG\r\n\u001A\n');
    sizes.push({
      width: png.readUInt32BE(16) / picture.width,
      height: Math.round((10 * png.readUInt32BE(20)) / picture.height) / 10,
    });
    // Without a font all letters would be missing without a word.
    const mute = await renderPng({ ...picture, svg: picture.svg.replaceAll(/<text.*?<\/text>/g, '') });
    expect(png.byteLength).toBeGreaterThan(1.3 * mute.byteLength);
    expect(png.byteLength).toBeLessThan(500_000);
  }
  expect(sizes).toEqual([
    { width: 2, height: 2 },
    { width: 1, height: 1 },
  ]);
});

test('what cannot be drawn is an error, not a picture', async () => {
  await expect(renderPng({ svg: '<svg', width: 10 })).rejects.toThrow(/./);
});

/** Red, green and blue of a colour as parts of the light that a screen gives: sRGB without its gamma. */
function linear(colour: string): number[] {
  return [1, 3, 5].map((start) => {
    const value = Number.parseInt(colour.slice(start, start + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
}

/** Relative luminance and contrast as WCAG 2 defines them. */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = linear(colour);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: string, b: string): number {
  const [dark = 0, light = 0] = [luminance(a), luminance(b)].sort((one, other) => one - other);
  return (light + 0.05) / (dark + 0.05);
}

/** A colour as those eyes see it, in OKLab (Ottosson 2020), where distances are alike to distances seen. */
function perceived(rgb: readonly number[], eyes: readonly number[][]): number[] {
  const light = times(eyes, rgb).map((part) => Math.min(1, Math.max(0, part)));
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766],
    ],
    times(
      [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
      ],
      light,
    ).map(Math.cbrt),
  );
}

function times(matrix: readonly number[][], vector: readonly number[]): number[] {
  return matrix.map((row) => row.reduce((sum, part, index) => sum + part * (vector[index] ?? 0), 0));
}

function distance(a: readonly number[], b: readonly number[]): number {
  return Math.hypot(...a.map((part, index) => part - (b[index] ?? 0)));
}
