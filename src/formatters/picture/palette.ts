import type { Theme } from '../../model/digest.ts';

/** A colour that something is filled with, and the colour of what is written on it. */
export type Shade = { readonly fill: string; readonly ink: string };

/**
 * The colours of a picture. `background` is the picture's own ground and `edge` the line around it; `times` are the shades
 * from the shortest time to the longest; `untimed`, `lossy`, `lost`, `unknown` (hatched with `hatch`) and `nothing` are the
 * other looks of a cell.
 */
export type Palette = {
  readonly background: string;
  readonly edge: string;
  readonly ink: string;
  readonly faint: string;
  readonly grid: string;
  readonly line: string;
  readonly hatch: string;
  readonly nothing: Shade;
  readonly untimed: Shade;
  readonly unknown: Shade;
  readonly lossy: Shade;
  readonly lost: Shade;
  readonly times: readonly Shade[];
};

const BLACK = '#1d2129';
const WHITE = '#ffffff';
const PALE = '#f2f3f5';

/**
 * Slack shows an uploaded picture in a light window and in a dark one, and does not tell which: every picture brings its own
 * ground and an edge that stands out from both. Times move away from the ground in one hue the longer they take, and what
 * is wrong is orange: eyes that lack one kind of cone tell those apart (Okabe and Ito, ColorBrewer), and the spec simulates
 * them. Nothing is told by colour alone.
 */
export const PALETTES: Readonly<Record<Theme, Palette>> = {
  light: {
    background: '#ffffff',
    edge: '#8a8f98',
    ink: BLACK,
    faint: '#565c66',
    grid: '#d5d9df',
    line: '#2171b5',
    hatch: '#c9ced6',
    nothing: { fill: '#eef0f3', ink: BLACK },
    untimed: { fill: '#f7fbff', ink: BLACK },
    unknown: { fill: '#ffffff', ink: BLACK },
    lossy: { fill: '#d9790b', ink: BLACK },
    lost: { fill: '#9c3600', ink: WHITE },
    times: [
      { fill: '#f7fbff', ink: BLACK },
      { fill: '#deebf7', ink: BLACK },
      { fill: '#b5d3ea', ink: BLACK },
      { fill: '#7fb5d9', ink: BLACK },
      { fill: '#2c70a8', ink: WHITE },
      { fill: '#17518a', ink: WHITE },
      { fill: '#08306b', ink: WHITE },
    ],
  },
  dark: {
    background: '#1a1d21',
    edge: '#8a8f98',
    ink: PALE,
    faint: '#b4bac4',
    grid: '#3a4049',
    line: '#6cb3ea',
    hatch: '#4b535e',
    nothing: { fill: '#262a30', ink: PALE },
    untimed: { fill: '#17293d', ink: PALE },
    unknown: { fill: '#1a1d21', ink: PALE },
    lossy: { fill: '#ae571a', ink: WHITE },
    lost: { fill: '#ffa64d', ink: BLACK },
    times: [
      { fill: '#17293d', ink: PALE },
      { fill: '#1c3f61', ink: PALE },
      { fill: '#235786', ink: PALE },
      { fill: '#2f72ab', ink: WHITE },
      { fill: '#7fb5d9', ink: BLACK },
      { fill: '#b5d3ea', ink: BLACK },
      { fill: '#edf5fc', ink: BLACK },
    ],
  },
};
