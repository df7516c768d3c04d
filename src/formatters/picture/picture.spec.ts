import { expect, test } from 'vitest';
import type { Mesh, MeshCell } from '../../model/mesh.ts';
import { lookOf } from './matrix.ts';
import { digestPicture } from './picture.ts';
import { renderPng } from './png.ts';
import { COLOURS } from './svg.ts';

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
const when = { cluster: 'prod', when: 'Mon, 23 Nov 2026, 09:00 CET', timezone: 'Europe/Berlin' };
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
  const looks = [[null, 100, 0], [2, 25, 0], [null, null, 2], [null, null, 0], null].map((cell) => lookOf(cell as MeshCell));
  expect(looks.map(({ mark }) => mark)).toEqual(['×', '%', '?', '·', '']);
  // Loss is told before time, and what is unknown about some ways of a cell before the time of the others.
  expect([lookOf([0.1, 0, 0]).mark, lookOf([0.1, 0, 3]).mark, lookOf([0.1, 2, 3]).mark]).toEqual(['', '?', '%']);
});

test('times have seven shades that grow darker, and everything can be read on what it stands on', () => {
  const shades = [0.1, 0.3, 0.7, 1.5, 5, 20, 300].map((ms) => lookOf([ms, 0, 0]));
  const lightness = shades.map(({ fill }) => luminance(fill));
  expect(lightness).toEqual(lightness.toSorted((a, b) => b - a));
  expect(new Set(lightness).size).toBe(7);
  const lossy = lookOf([1, 10, 0]);
  const lost = lookOf([null, 100, 0]);
  for (const { fill, ink } of [...shades, lossy, lost]) expect(contrast(fill, ink)).toBeGreaterThan(4.5);
  for (const ink of [COLOURS.ink, COLOURS.faint]) expect(contrast(COLOURS.background, ink)).toBeGreaterThan(4.5);
  expect(contrast(COLOURS.hatch, COLOURS.ink)).toBeGreaterThan(4.5);
  // The card stands out against a light and against a dark Slack by its edge.
  for (const around of ['#ffffff', '#1a1d21']) expect(contrast(COLOURS.edge, around)).toBeGreaterThan(3);
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

/** Relative luminance and contrast as WCAG 2 defines them. */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((start) => {
    const value = Number.parseInt(colour.slice(start, start + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: string, b: string): number {
  const [dark = 0, light = 0] = [luminance(a), luminance(b)].sort((one, other) => one - other);
  return (light + 0.05) / (dark + 0.05);
}
