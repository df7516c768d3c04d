import { z } from 'zod';

/** A matrix has at most so many rows: in larger clusters neighbouring nodes share one. */
export const MESH_ROWS = 48;

/**
 * What was measured from one row to one column: `[milliseconds, loss in percent, ways that nothing is known of]`. Of
 * several ways it is the worst. Milliseconds are null where nothing came back; both are null where only an exchange showed
 * that the way is good (ping is filtered), or nothing is known of any. The whole cell is null where there is nothing to measure: on the diagonal, and where a
 * NetworkPolicy forbids it.
 */
export const MeshCell = z.tuple([z.number().nullable(), z.number().nullable(), z.int()]).nullable();
export type MeshCell = z.infer<typeof MeshCell>;

/**
 * All ways between the nodes' own addresses, or between pods on them. `cells` is the matrix row by row; `ways` counts the
 * ordered pairs of nodes that were measured, `lossy` those that lost packets and `unknown` those of which nothing is known.
 */
export const MeshPlane = z.strictObject({
  of: z.enum(['nodes', 'pods']),
  ways: z.int(),
  lossy: z.int(),
  unknown: z.int(),
  medianMs: z.number().nullable(),
  p95Ms: z.number().nullable(),
  cells: z.array(MeshCell),
});
export type MeshPlane = z.infer<typeof MeshPlane>;

/** How long packets take between the nodes, and how many are lost. Rows and columns are `groups`, mostly of one node. */
export const Mesh = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), nodes: z.int() })),
  planes: z.array(MeshPlane),
});
export type Mesh = z.infer<typeof Mesh>;
