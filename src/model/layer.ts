import { z } from 'zod';

/** The network layers of a verdict, lowest first. `L2` < `L3` < `L4` < `DNS` < `L7`. */
export const LAYERS = ['L2', 'L3', 'L4', 'DNS', 'L7'] as const;

/** The layer of the mechanism that is at fault, not of the probe that showed it. */
export const Layer = z.enum(LAYERS);
export type Layer = z.infer<typeof Layer>;

/** The lowest of the given layers, or null for none. */
export function lowestLayer(layers: Iterable<Layer>): Layer | null {
  const present = new Set(layers);
  return LAYERS.find((layer) => present.has(layer)) ?? null;
}
